"""Makes tests/fixtures/split with PyPI `gguf`: one file, and the same in three parts.

    pip install gguf==0.19.0 && python scripts/goldens/split_files.py
"""

import pathlib

import numpy as np
from gguf import GGUFWriter

OUT = pathlib.Path(__file__).parents[2] / "tests/fixtures/split"


def write(name, **options):
    writer = GGUFWriter(OUT / name, "llama", **options)
    writer.add_name("sample")
    writer.add_array("sample.array", ["a", "b"])
    for i, shape in enumerate([(2, 8), (3,), (40,), (8, 32), (5,)]):
        count = int(np.prod(shape))
        values = np.arange(count, dtype=np.float32) + 1000 * i
        writer.add_tensor(f"tensor.{i}", values.reshape(shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


OUT.mkdir(exist_ok=True)
write("whole.gguf")
write("sample.gguf", split_max_tensors=2)
