"""Makes tests/formats/goldens/ggml_types.json with the reference code of PyPI `gguf`.

    pip install gguf==0.19.0 && python scripts/goldens/ggml_types.py GGML

GGML is the `ggml` folder of llama.cpp's sources (of PyPI `llama-cpp-python`
0.3.36: `vendor/llama.cpp/ggml`): `gguf` has no code for Q1_0 and Q2_0, so what
reads them is cut out of `ggml-quants.c` and compiled with `cc`.

`types`: the number, weights per block and bytes per block of each type.
`dequantise`: random blocks of each type and the f32 weights they stand for.
`quantise`: f32 weights and their blocks, for the types that `gguf` quantises.
`digests`: SHA-256 of the weights of many blocks, whose bytes follow from a
generator that tests have too: they reach nearly every entry of a grid.
All arrays are base64 of little-endian bytes.
"""

import base64
import ctypes
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

OUT = pathlib.Path(__file__).parents[2] / "tests/formats/goldens/ggml_types.json"

# Byte offsets of the f16 scales in a block of each type.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
}

# The same of the types that are read and not written.
READ_SCALES = {
    "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [], "NVFP4": [], "TQ1_0": [52], "TQ2_0": [64], "Q1_0": [0], "Q2_0": [0],
    "IQ1_S": [0], "IQ1_M": [], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0],
}

# As ggml.h and ggml-common.h have them: number, weights and bytes of a block.
IN_C = {"Q1_0": (41, 128, 18), "Q2_0": (42, 64, 18)}

random = np.random.default_rng(20)


def encode(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def reader_in_c(name):
    """What dequantises blocks of a type, out of ggml-quants.c."""
    _, block_size, block_bytes = IN_C[name]
    folder = pathlib.Path(sys.argv[1]) / "src"
    lower = name.lower()
    struct = re.search(rf"#define QK\w+ {block_size}\ntypedef struct {{[^}}]*}} block_{lower};", (folder / "ggml-common.h").read_text())
    function = re.search(rf"void dequantize_row_{lower}\(.*?\n}}\n", (folder / "ggml-quants.c").read_text(), re.S)
    source = """
        #include <assert.h>
        #include <stdint.h>
        typedef uint16_t ggml_half;
        #define GGML_RESTRICT
        static float widened(ggml_half bits) { _Float16 half; __builtin_memcpy(&half, &bits, 2); return half; }
        #define GGML_FP16_TO_FP32 widened
    """ + struct[0] + function[0]
    with tempfile.TemporaryDirectory() as temporary:
        library = f"{temporary}/reader.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", library], input=source.encode(), check=True)
        call = getattr(ctypes.CDLL(library), f"dequantize_row_{lower}")

    def read(blocks):
        bytes = np.ascontiguousarray(blocks)
        values = np.zeros(blocks.size // block_bytes * block_size, np.float32)
        call(bytes.ctypes.data_as(ctypes.c_void_p), values.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(values.size))
        return values

    return read


def reader(name):
    """What dequantises blocks of a type."""
    if name in IN_C:
        return reader_in_c(name)
    return lambda blocks: dequantize(blocks, GGMLQuantizationType[name])


def info(name):
    """Number, weights and bytes of a block."""
    if name in IN_C:
        return IN_C[name]
    return int(GGMLQuantizationType[name]), *GGML_QUANT_SIZES[GGMLQuantizationType[name]]


def random_blocks_of_read(name):
    """Blocks with every bit random, but for scales, which are finite."""
    _, _, block_bytes = info(name)
    blocks = read_random.integers(0, 256, (2, block_bytes), dtype=np.uint8)
    for block, offset in ((block, offset) for block in range(2) for offset in READ_SCALES[name]):
        scale = np.float16(read_random.normal() * (1e-6 if block == 1 else 0.02))
        blocks[block, offset:offset + 2] = np.frombuffer(scale.tobytes(), np.uint8)
    if name == "IQ1_M":
        blocks[:, 55] &= 0xBF  # the upper nibbles of four words make a half: no infinity
    return blocks


def digest(name):
    """SHA-256 of the weights of 512 blocks of the generator's bytes, whose halves are 2^-4."""
    _, _, block_bytes = info(name)
    state, data = 1, bytearray()
    for _ in range(512 * block_bytes):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        data.append(state >> 24)
    blocks = np.frombuffer(data, np.uint8).reshape(512, block_bytes).copy()
    for offset in READ_SCALES[name]:
        blocks[:, offset:offset + 2] = [0x00, 0x2C]
    if name == "IQ1_M":
        blocks[:, 55] &= 0xBF
    return hashlib.sha256(np.ascontiguousarray(reader(name)(blocks)).tobytes()).hexdigest()


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


read_random = np.random.default_rng(21)

# Magnitudes around every border of f16 and bf16, with halves between neighbours (ties).
floats = np.array(
    [0, -0.0, 1, -1.5, 65504, 65519.996, 65520, 1e30, -1e30, 2**-14, 2**-15, 2**-24, 2**-25, 3 * 2**-25,
     1.5 * 2**-24, 1e-10, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, np.inf, -np.inf, 0.1, -0.3,
     1e-40, 3e38, 2047.5 / 2048, 1023.5 * 2**-24, 1023.49 * 2**-24, 1 / 3, np.pi, -2**-14 * (1 - 2**-12)],
    dtype=np.float32,
)

goldens = {"types": {}, "dequantise": {}, "quantise": {}, "digests": {}}
for name in [*SCALES, "F32", "F16", "BF16", *READ_SCALES]:
    id, block_size, block_bytes = info(name)
    goldens["types"][name] = {"id": id, "blockSize": block_size, "blockBytes": block_bytes}
for name in SCALES:
    blocks = random_blocks(name)
    values = dequantize(blocks, GGMLQuantizationType[name])
    goldens["dequantise"][name] = {"bytes": encode(blocks), "values": encode(values)}
for name in READ_SCALES:
    blocks = random_blocks_of_read(name)
    goldens["dequantise"][name] = {"bytes": encode(blocks), "values": encode(reader(name)(blocks))}
    goldens["digests"][name] = digest(name)
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
