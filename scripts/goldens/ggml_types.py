"""Makes tests/formats/goldens/ggml_types.json with the reference code of PyPI `gguf`.

    pip install gguf==0.19.0 && python scripts/goldens/ggml_types.py

`types`: the number, weights per block and bytes per block of each type.
`dequantise`: random blocks of each type and the f32 weights they stand for.
`quantise`: f32 weights and their blocks, for the types that `gguf` quantises.
All arrays are base64 of little-endian bytes.
"""

import base64
import json
import pathlib

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

OUT = pathlib.Path(__file__).parents[2] / "tests/formats/goldens/ggml_types.json"

# Byte offsets of the f16 scales in a block of each type.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}

random = np.random.default_rng(20)


def encode(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def random_blocks(name):
    """Blocks with every bit random, but for scales: normal, subnormal, of both signs, none infinite."""
    _, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    count = 1 if name.endswith("_K") else 4
    blocks = random.integers(0, 256, (count, block_bytes), dtype=np.uint8)
    for block in range(count):
        for index, offset in enumerate(SCALES[name]):
            scale = np.float16(random.normal() * (1e-6 if block == 3 else 0.02 + index))
            blocks[block, offset:offset + 2] = np.frombuffer(scale.tobytes(), np.uint8)
    return blocks


def weights():
    """Blocks of 32: normal numbers, tiny, large, zeros, equal ones, halves (ties), one sign only."""
    normal = random.normal(size=(7, 32)).astype(np.float32)
    normal[1] *= 1e-7
    normal[2] *= 3000
    normal[3] = 0
    normal[4] = 0.3
    normal[5] = np.round(normal[5] * 8) / 2
    normal[6] = np.abs(normal[6]) + 1
    return normal


# Magnitudes around every border of f16 and bf16, with halves between neighbours (ties).
floats = np.array(
    [0, -0.0, 1, -1.5, 65504, 65519.996, 65520, 1e30, -1e30, 2**-14, 2**-15, 2**-24, 2**-25, 3 * 2**-25,
     1.5 * 2**-24, 1e-10, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, np.inf, -np.inf, 0.1, -0.3,
     1e-40, 3e38, 2047.5 / 2048, 1023.5 * 2**-24, 1023.49 * 2**-24, 1 / 3, np.pi, -2**-14 * (1 - 2**-12)],
    dtype=np.float32,
)

goldens = {"types": {}, "dequantise": {}, "quantise": {}}
for name in [*SCALES, "F32", "F16", "BF16"]:
    type = GGMLQuantizationType[name]
    block_size, block_bytes = GGML_QUANT_SIZES[type]
    goldens["types"][name] = {"id": int(type), "blockSize": block_size, "blockBytes": block_bytes}
for name in SCALES:
    blocks = random_blocks(name)
    values = dequantize(blocks, GGMLQuantizationType[name])
    goldens["dequantise"][name] = {"bytes": encode(blocks), "values": encode(values)}
for name, dtype in [("F32", np.float32), ("F16", np.float16)]:
    with np.errstate(over="ignore"):
        stored = floats.astype(dtype)
    goldens["dequantise"][name] = {"bytes": encode(stored), "values": encode(stored.astype(np.float32))}
    goldens["quantise"][name] = {"values": encode(floats), "bytes": encode(stored)}
stored = quantize(floats, GGMLQuantizationType.BF16)
values = dequantize(stored, GGMLQuantizationType.BF16)
goldens["dequantise"]["BF16"] = {"bytes": encode(stored), "values": encode(values)}
goldens["quantise"]["BF16"] = {"values": encode(floats), "bytes": encode(stored)}
for name in ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]:
    values = weights()
    goldens["quantise"][name] = {"values": encode(values), "bytes": encode(quantize(values, GGMLQuantizationType[name]))}

OUT.parent.mkdir(parents=True, exist_ok=True)
OUT.write_text(json.dumps(goldens, indent=2) + "\n")
