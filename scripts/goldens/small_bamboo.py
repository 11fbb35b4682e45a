"""Makes tests/fixtures/small-bamboo: a corner of tiny-bamboo, and what PowerInfer's own tools make of it.

    git clone https://github.com/SJTU-IPADS/PowerInfer && cd PowerInfer && git checkout d3ebd7c
    cmake -B build && cmake --build build --target quantize
    pip install numpy==1.26.4 sentencepiece==0.2.3 protobuf
    python <culm>/scripts/goldens/small_bamboo.py . build/bin/quantize

Needs ../shared beside the repository. `hf`, `predictor`, `activation`: the first
rows and columns of the first layers' weights, and the first pieces of the
vocabulary, in files like those of the whole model. `*.gguf`: what PowerInfer's converters and
`quantize` make of these.
"""

import json
import pathlib
import struct
import subprocess
import sys
from zipfile import ZipFile

import numpy as np
from sentencepiece import sentencepiece_model_pb2
from torch_files import Storage, Tensor, archive

ROOT = pathlib.Path(__file__).parents[2]
TINY = ROOT.parent / "shared/tiny-bamboo"
OUT = ROOT / "tests/fixtures/small-bamboo"
POWERINFER, QUANTIZE = sys.argv[1:]

LAYERS, HIDDEN, FFN, HEADS, KV_HEADS, HEAD_SIZE, VOCAB, RANK = 2, 64, 64, 4, 2, 16, 288, 32
SIZES = {
    "num_hidden_layers": LAYERS, "hidden_size": HIDDEN, "intermediate_size": FFN, "vocab_size": VOCAB,
    "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "max_position_embeddings": 512,
}
ROWS = {
    "embed_tokens": VOCAB, "lm_head": VOCAB, "q_proj": HEADS * HEAD_SIZE, "k_proj": KV_HEADS * HEAD_SIZE,
    "v_proj": KV_HEADS * HEAD_SIZE, "o_proj": HIDDEN, "gate_proj": FFN, "up_proj": FFN, "down_proj": HIDDEN,
}


def cut_weights():
    data = (TINY / "hf/model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, parts, end = {}, [], 0
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == "__metadata__" or any(f".layers.{layer}." in name for layer in range(LAYERS, 6)):
            continue
        start, stop = (8 + length + offset for offset in entry["data_offsets"])
        whole = np.frombuffer(data[start:stop], "<u2").reshape(entry["shape"])
        columns = FFN if "down_proj" in name else HEADS * HEAD_SIZE if "o_proj" in name else HIDDEN
        rows = ROWS.get(name.split(".")[-2])
        part = whole[:columns] if whole.ndim == 1 else whole[:rows, :columns]
        parts.append(part.tobytes())
        header[name] = {"dtype": "BF16", "shape": part.shape, "data_offsets": [end, end + part.nbytes]}
        end += part.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (OUT / "hf/model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def cut_vocabulary():
    proto = sentencepiece_model_pb2.ModelProto.FromString((TINY / "hf/tokenizer.model").read_bytes())
    del proto.pieces[VOCAB:]
    proto.trainer_spec.vocab_size = VOCAB
    (OUT / "hf/tokenizer.model").write_bytes(proto.SerializeToString())


def cut_predictors():
    for layer in range(LAYERS):
        with ZipFile(TINY / f"predictor/model_{layer}.pt") as file:
            read = lambda key: file.read(next(n for n in file.namelist() if n.endswith(f"/data/{key}")))
            whole = [np.frombuffer(read(key), "<u2") for key in (0, 1)]
        fc1 = whole[0].reshape(96, 256)[:RANK, :HIDDEN]
        fc2 = whole[1].reshape(1024, 96)[:FFN, :RANK]
        state = {}
        for name, part in (("fc1.weight", fc1), ("fc2.weight", fc2)):
            values = (part.astype("<u4") << 16).view("<f4").ravel().tolist()
            state[name] = Tensor(Storage("bfloat16", values), part.shape, (part.shape[1], 1))
        (OUT / f"predictor/model_{layer}.pt").write_bytes(archive(state))


def cut_counts():
    for layer in range(LAYERS):
        with ZipFile(TINY / f"activation/activation_{layer}.pt") as file:
            whole = np.frombuffer(file.read(next(n for n in file.namelist() if n.endswith("/data/0"))), "<i8")
        counts = Tensor(Storage("int64", whole[:FFN].tolist()), (FFN,), (1,))
        (OUT / f"activation/activation_{layer}.pt").write_bytes(archive(counts))


def convert(script, *args):
    path = pathlib.Path(POWERINFER) / script
    subprocess.run([sys.executable, path, *args], check=True, stdout=subprocess.DEVNULL)


for folder in ("hf", "predictor", "activation"):
    (OUT / folder).mkdir(parents=True, exist_ok=True)
config = json.loads((TINY / "hf/config.json").read_text()) | SIZES
(OUT / "hf/config.json").write_text(json.dumps(config, indent=2) + "\n")
(OUT / "hf/tokenizer_config.json").write_text((TINY / "hf/tokenizer_config.json").read_text())
cut_weights()
cut_vocabulary()
cut_predictors()
cut_counts()
dense, sparse = OUT / "f16.gguf", OUT / "f16.powerinfer.gguf"
convert("convert-dense.py", OUT / "hf", "--outtype", "f16", "--outfile", dense)
convert("convert.py", OUT / "hf", OUT / "predictor", "--outtype", "f16", "--outfile", sparse)
for source, target, type in (
    (dense, OUT / "q8_0.gguf", "q8_0"), (sparse, OUT / "q4_0.powerinfer.gguf", "q4_0"),
):
    subprocess.run([QUANTIZE, source, target, type], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
