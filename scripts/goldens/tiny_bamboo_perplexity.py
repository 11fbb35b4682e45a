"""Makes tests/goldens/tiny_bamboo_perplexity.json: llama-perplexity's method in NumPy, f32 on the bf16 weights.

    pip install numpy==2.4.6 sentencepiece==0.2.3 && python scripts/goldens/tiny_bamboo_perplexity.py

Needs ../shared beside the repository. The model is written down here once more,
from its definition, and checked against PyTorch's goldens.json before it is used.
`nll[share][chunk]`: sum over the scored tokens of a chunk, in nats, where each
layer keeps the `share` of its neurons with the largest activations.
"""

import json
import lzma
import math
import pathlib
import struct

import numpy as np
import sentencepiece

ROOT = pathlib.Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
TINY = SHARED / "tiny-bamboo"
OUT = ROOT / "tests/goldens/tiny_bamboo_perplexity.json"
SHARES = [1, 0.2, 0.15, 0.12, 0.1]
CHUNKS = 4
SIZE = 512

config = json.loads((TINY / "hf/config.json").read_text())
HEADS, KV_HEADS = config["num_attention_heads"], config["num_key_value_heads"]
HEAD_SIZE = config["hidden_size"] // HEADS


def read_safetensors(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        halves = np.frombuffer(data[start:end], "<u2").astype("<u4")
        tensors[name] = (halves << 16).view("<f4").reshape(entry["shape"])
    return tensors


weights = read_safetensors(TINY / "hf/model.safetensors")


def norm(x, name):
    scale = np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(config["rms_norm_eps"]))
    return x / scale * weights[name]


def rotated(x):
    """Half-split RoPE, of [tokens, heads, head size]."""
    half = HEAD_SIZE // 2
    angles = np.outer(np.arange(len(x)), config["rope_theta"] ** (-np.arange(half) / half))
    cos, sin = (f(angles).astype(np.float32)[:, None] for f in (np.cos, np.sin))
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def attention(x, layer):
    project = lambda name, heads: (x @ weights[f"{layer}.self_attn.{name}_proj.weight"].T).reshape(len(x), heads, HEAD_SIZE)
    q, k, v = rotated(project("q", HEADS)), rotated(project("k", KV_HEADS)), project("v", KV_HEADS)
    k, v = (np.repeat(each, HEADS // KV_HEADS, 1) for each in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / np.float32(math.sqrt(HEAD_SIZE))
    scores[:, np.triu(np.ones(scores.shape[1:], bool), 1)] = -np.inf
    share = np.exp(scores - scores.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    out = np.einsum("hqk,khd->qhd", share, v).reshape(len(x), -1)
    return out @ weights[f"{layer}.self_attn.o_proj.weight"].T


def feed_forward(x, layer, share):
    matrix = lambda name: weights[f"{layer}.mlp.{name}_proj.weight"].T
    h = np.maximum(x @ matrix("gate"), 0) * np.maximum(x @ matrix("up"), 0)
    kept = math.ceil(share * h.shape[1])
    if kept < h.shape[1]:
        h = np.where(h > np.sort(h)[:, -kept - 1, None], h, 0)
    return h @ matrix("down")


def losses(ids, share=1):
    """Negative log-likelihood of each id but the first, in nats."""
    x = weights["model.embed_tokens.weight"][ids]
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        x = x + attention(norm(x, f"{layer}.input_layernorm.weight"), layer)
        x = x + feed_forward(norm(x, f"{layer}.post_attention_layernorm.weight"), layer, share)
    logits = (norm(x, "model.norm.weight") @ weights["lm_head.weight"].T).astype(np.float64)
    top = logits.max(-1, keepdims=True)
    logprobs = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
    return -logprobs[np.arange(len(ids) - 1), ids[1:]]


def check():
    for golden in json.loads((TINY / "goldens.json").read_text()):
        ids = golden["prompt_ids"] + golden["greedy_ids"]
        worst = np.abs(losses(ids) - golden["nll_of_each_next_token"]).max()
        assert worst < 1e-4, worst


def golden_of(text):
    ids = [1] + tokenizer.encode(text)
    chunks = [[1] + ids[i * SIZE + 1 : (i + 1) * SIZE] for i in range(CHUNKS)]
    nll = [[round(float(losses(chunk, share)[SIZE // 2 :].sum()), 4) for chunk in chunks] for share in SHARES]
    return {"characters": len(text), "nll": nll}


check()
tokenizer = sentencepiece.SentencePieceProcessor(str(TINY / "hf/tokenizer.model"))
wikitext = (SHARED / "data/text/wikitext2-test.raw").read_text()[:12000]
with lzma.open(SHARED / "data/text/tinystories.jsonl.xz", "rt") as file:
    stories = "\n".join(json.loads(line)["text"] for line in file.readlines()[-64:])[:12000]
golden = {
    "madeBy": "scripts/goldens/tiny_bamboo_perplexity.py: NumPy, f32",
    "size": SIZE,
    "shares": SHARES,
    "tokens": CHUNKS * (SIZE - SIZE // 2 - 1),
    "wikitext2": golden_of(wikitext),
    "stories": golden_of(stories),
}
OUT.write_text(json.dumps(golden, indent=1) + "\n")
