"""Makes tests/formats/goldens/torch_files.json: files as torch.save writes them.

    python scripts/goldens/torch_files.py

Needs no PyTorch: Python's own pickler writes them from classes and functions of
PyTorch's names, in the layout of torch/serialization.py. `files`: the bytes in
base64, and for each tensor its dtype, shape and elements in row-major order.
"""

import base64
import collections
import io
import json
import pathlib
import pickle
import struct
import sys
import types
import zipfile

OUT = pathlib.Path(__file__).parents[2] / "tests/formats/goldens/torch_files.json"

# dtype: storage class, bytes, struct's letter; bfloat16 has none.
DTYPES = {
    "float16": ("HalfStorage", 2, "e"),
    "bfloat16": ("BFloat16Storage", 2, None),
    "float32": ("FloatStorage", 4, "f"),
    "float64": ("DoubleStorage", 8, "d"),
    "int8": ("CharStorage", 1, "b"),
    "int16": ("ShortStorage", 2, "h"),
    "int32": ("IntStorage", 4, "i"),
    "int64": ("LongStorage", 8, "q"),
    "uint8": ("ByteStorage", 1, "B"),
    "bool": ("BoolStorage", 1, "?"),
}


def module(name):
    made = types.ModuleType(name)
    sys.modules[name] = made
    return made


torch, utils = module("torch"), module("torch._utils")
for storage_class, _, _ in DTYPES.values():
    made = type(storage_class, (), {})
    made.__module__ = "torch"
    setattr(torch, storage_class, made)


def _rebuild_tensor_v2(*_):
    raise NotImplementedError


_rebuild_tensor_v2.__module__ = "torch._utils"
utils._rebuild_tensor_v2 = _rebuild_tensor_v2


def encode(dtype, values):
    _, _, letter = DTYPES[dtype]
    if letter is None:
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return b"".join(struct.pack("<" + letter, value) for value in values)


class Storage:
    def __init__(self, dtype, values):
        self.dtype, self.values = dtype, values

    def bytes(self):
        return encode(self.dtype, self.values)


class Tensor:
    def __init__(self, storage, shape, strides, offset=0):
        self.storage, self.shape, self.strides, self.offset = storage, shape, strides, offset

    def __reduce__(self):
        hooks = collections.OrderedDict()
        return _rebuild_tensor_v2, (self.storage, self.offset, self.shape, self.strides, False, hooks)

    def elements(self, index=()):
        if len(index) < len(self.shape):
            return [e for i in range(self.shape[len(index)]) for e in self.elements((*index, i))]
        return [self.storage.values[self.offset + sum(i * s for i, s in zip(index, self.strides))]]

    def golden(self):
        return {"dtype": self.storage.dtype, "shape": self.shape, "values": self.elements()}


def dump(value, protocol, legacy=False):
    """The pickle of a value, and its storages by key."""
    storages, out = [], io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            if item not in storages:
                storages.append(item)
            key = str(storages.index(item) + (90210 if legacy else 0))
            storage_class = getattr(torch, DTYPES[item.dtype][0])
            view = (None,) if legacy else ()
            return ("storage", storage_class, key, "cpu", len(item.values), *view)

    Pickler(out, protocol).dump(value)
    return out.getvalue(), storages


def archive(value, protocol=2, method=zipfile.ZIP_STORED, order="little", zip64=False):
    data, storages = dump(value, protocol)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        file.writestr("archive/data.pkl", data)
        file.writestr("archive/byteorder", order)
        for key, storage in enumerate(storages):
            with file.open(f"archive/data/{key}", "w", force_zip64=zip64) as member:
                member.write(storage.bytes())
        file.writestr("archive/version", "3\n")
    return out.getvalue()


def legacy(value):
    data, storages = dump(value, 2, legacy=True)
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    keys = [str(key + 90210) for key in range(len(storages))]
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, facts)]
    parts += [data, pickle.dumps(keys, 2)]
    parts += [struct.pack("<q", len(s.values)) + s.bytes() for s in storages]
    return b"".join(parts)


def vector(dtype, values):
    return Tensor(Storage(dtype, values), (len(values),), (1,))


NUMBERS = [0.0, 1.0, -1.5, 0.25, 3.0, -128.0, 2.0, 0.5]
every_dtype = {
    dtype: vector(dtype, [n != 0 for n in NUMBERS] if dtype == "bool"
                  else NUMBERS if "float" in dtype
                  else [int(abs(n) if dtype == "uint8" else n) for n in NUMBERS])
    for dtype in DTYPES
}
matrix = Storage("float32", [float(i) for i in range(12)])
views = [
    Tensor(matrix, (3, 4), (4, 1)),
    Tensor(matrix, (4, 3), (1, 4)),
    Tensor(matrix, (2, 2), (4, 1), 5),
    Tensor(matrix, (), (), 7),
    Tensor(matrix, (0, 4), (4, 1)),
    Tensor(matrix, (2, 1, 3), (6, 3, 2), 1),
]
state = collections.OrderedDict()
state["fc1.weight"] = vector("bfloat16", NUMBERS)
state["fc2.weight"] = vector("float16", NUMBERS)
state._metadata = {"version": 1}
nested = {"layers": [state, (None, True, 2**40, -3, 1.5, "text")], 7: vector("int64", [2**40, -1, 0])}
counts = vector("int64", [5, 0, 9, 2**33, 1])
fewer = Tensor(Storage("float32", [1.0, 2.0, 3.0]), (3, 1), (1, 1))

FILES = {
    "counts": (archive(counts), {"": counts}),
    "fewer counts": (archive(fewer), {"": fewer}),
    "counts, legacy": (legacy(counts), {"": counts}),
    "dtypes": (archive(every_dtype), every_dtype),
    "dtypes, deflated": (archive(every_dtype, method=zipfile.ZIP_DEFLATED), every_dtype),
    "dtypes, legacy": (legacy(every_dtype), every_dtype),
    "views": (archive(views), {str(i): t for i, t in enumerate(views)}),
    "views, legacy": (legacy(views), {str(i): t for i, t in enumerate(views)}),
    **{
        f"nested, protocol {protocol}": (archive(nested, protocol, zip64=protocol > 2), {
            "layers.0.fc1.weight": state["fc1.weight"],
            "layers.0.fc2.weight": state["fc2.weight"],
            "7": nested[7],
        })
        for protocol in (2, 3, 4, 5)
    },
}


class Hostile:
    def __reduce__(self):
        return print, ("executed",)


def refused():
    other = vector("float32", NUMBERS)
    return {
        "builtins.print": archive([other, Hostile()], 3),
        "__builtin__.print": archive([other, Hostile()], 2),
        "byte order is big": archive(other, order="big"),
        "reaches 16 elements, the last at 15; its storage has 8": archive(Tensor(other.storage, (16,), (1,))),
        "the last at 9": archive(Tensor(other.storage, (2,), (1,), 8)),
        "reaches 1000000000000 elements": archive(Tensor(other.storage, (10**12,), (0,))),
        "no whole numbers": archive(Tensor(other.storage, (-1,), (1,))),
    }


def base64_of(data):
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    OUT.write_text(json.dumps({
        "files": {
            name: {"bytes": base64_of(data), "tensors": {path: t.golden() for path, t in tensors.items()}}
            for name, (data, tensors) in FILES.items()
        },
        "refused": {message: base64_of(data) for message, data in refused().items()},
    }, indent=2) + "\n")
