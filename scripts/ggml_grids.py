"""Writes wasm/grids/*.txt: the grids of ggml's IQ1, IQ2 and IQ3 types, from PyPI `gguf`.

    pip install gguf==0.19.0 && python scripts/ggml_grids.py

A grid is a list of small vectors; the numbers in it were found by llama.cpp's
authors (`ggml-common.h`). An entry becomes 16 bits, little-endian: 8 codes of 2
bits, or 4 codes of 4 bits, the first weight's lowest. A code is the number of a
value among those of the grid, ascending. All entries as base64, in lines of 76.
"""

import base64
import pathlib
import textwrap

import numpy as np
from gguf import quants

OUT = pathlib.Path(__file__).parents[1] / "wasm/grids"

OUT.mkdir(parents=True, exist_ok=True)
for name in ["IQ1_S", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"]:
    type = getattr(quants, name)
    type.init_grid()
    grid = type.grid.reshape(type.grid_shape)
    codes = np.searchsorted(np.unique(grid), grid).astype(np.uint16)
    width = codes.shape[1]
    entries = np.sum(codes << (16 // width * np.arange(width, dtype=np.uint16)), axis=1, dtype=np.uint16)
    text = base64.b64encode(entries.astype("<u2").tobytes()).decode()
    (OUT / f"{name.lower()}.txt").write_text("\n".join(textwrap.wrap(text, 76)) + "\n")
