"""A tiny TurboSparse-Mixtral, by the names that its checkpoint on the hub has, and what a plain model in NumPy makes of it.

Writes config.json and model.safetensors (F16) into tests/fixtures/turbo-sparse-mixtral, and into
tests/goldens/turbo_sparse_mixtral.json the logits behind 12 ids: of all neurons, and of those that each expert's
predictor selects (fc2 . relu(fc1 . x) >= 0, x the residual before the norm). Python 3 with NumPy:

    python3 scripts/goldens/turbo_sparse_mixtral.py
"""

import json
import pathlib
import struct

import numpy as np

TESTS = pathlib.Path(__file__).parents[2] / "tests"
VOCAB, HIDDEN, FFN, LAYERS, HEADS, KV_HEADS, HEAD, EXPERTS, USED, RANK = 262, 24, 40, 2, 4, 2, 8, 4, 2, 6
EPSILON, BASE = 1e-5, 1e6
IDS = [1] + [(7 * i * i + 11 * i) % 259 + 3 for i in range(1, 12)]

random = np.random.default_rng(20)
weights = {}


def make(name, *shape, scale=None, mean=0.0):
    scale = 1.2 / np.sqrt(shape[-1]) if scale is None else scale
    weights[name + ".weight"] = (mean + scale * random.standard_normal(shape)).astype(np.float16)


make("model.embed_tokens", VOCAB, HIDDEN, scale=1)
for l in range(LAYERS):
    at = f"model.layers.{l}."
    make(at + "input_layernorm", HIDDEN, scale=0.1, mean=1)
    make(at + "self_attn.q_proj", HEADS * HEAD, HIDDEN)
    make(at + "self_attn.k_proj", KV_HEADS * HEAD, HIDDEN)
    make(at + "self_attn.v_proj", KV_HEADS * HEAD, HIDDEN)
    make(at + "self_attn.o_proj", HIDDEN, HEADS * HEAD)
    make(at + "post_attention_layernorm", HIDDEN, scale=0.1, mean=1)
    make(at + "block_sparse_moe.gate", EXPERTS, HIDDEN, scale=2 / np.sqrt(HIDDEN))
    for e in range(EXPERTS):
        expert = at + f"block_sparse_moe.experts.{e}."
        make(expert + "w1", FFN, HIDDEN)
        make(expert + "w2", HIDDEN, FFN)
        make(expert + "w3", FFN, HIDDEN)
        make(expert + "predictor.fc1", RANK, HIDDEN)
        make(expert + "predictor.fc2", FFN, RANK)
make("model.norm", HIDDEN, scale=0.1, mean=1)
make("lm_head", VOCAB, HIDDEN)

W = {name.removesuffix(".weight"): values.astype(np.float64) for name, values in weights.items()}


def norm(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * weight


def rotated(x):
    """x: [positions, heads, HEAD]; element i turns with i + HEAD / 2."""
    half = HEAD // 2
    angles = np.arange(len(x))[:, None] * BASE ** (-np.arange(half) / half)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def logits(predicts):
    x = W["model.embed_tokens"][IDS]
    n = len(x)
    for l in range(LAYERS):
        at = f"model.layers.{l}."
        y = norm(x, W[at + "input_layernorm"])
        q, k, v = ((y @ W[at + f"self_attn.{p}_proj"].T).reshape(n, -1, HEAD) for p in "qkv")
        q, k = rotated(q), rotated(k)
        k, v = (np.repeat(each, HEADS // KV_HEADS, axis=1) for each in (k, v))
        scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(HEAD)
        scores[:, ~np.tri(n, dtype=bool)] = -np.inf
        heads = np.einsum("hts,shd->thd", softmax(scores), v)
        x = x + heads.reshape(n, -1) @ W[at + "self_attn.o_proj"].T
        y = norm(x, W[at + "post_attention_layernorm"])
        shares = softmax(y @ W[at + "block_sparse_moe.gate"].T)
        total = np.zeros_like(x)
        for t in range(n):
            chosen = np.argsort(-shares[t])[:USED]
            for e in chosen:
                expert = at + f"block_sparse_moe.experts.{e}."
                h = np.maximum(W[expert + "w1"] @ y[t], 0) * np.maximum(W[expert + "w3"] @ y[t], 0)
                if predicts:
                    z = np.maximum(W[expert + "predictor.fc1"] @ x[t], 0)
                    h = np.where(W[expert + "predictor.fc2"] @ z >= 0, h, 0)
                total[t] += shares[t, e] / shares[t, chosen].sum() * (W[expert + "w2"] @ h)
        x = x + total
    return norm(x, W["model.norm"]) @ W["lm_head"].T


def safetensors(tensors):
    header, at = {}, 0
    for name, values in tensors.items():
        header[name] = {"dtype": "F16", "shape": values.shape, "data_offsets": [at, at + values.nbytes]}
        at += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(values.tobytes() for values in tensors.values())


folder = TESTS / "fixtures/turbo-sparse-mixtral"
folder.mkdir(parents=True, exist_ok=True)
(folder / "model.safetensors").write_bytes(safetensors(weights))
config = dict(
    model_type="turbosparsemixtral", hidden_act="relu", hidden_size=HIDDEN, intermediate_size=FFN,
    num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=HEAD,
    num_local_experts=EXPERTS, num_experts_per_tok=USED, max_position_embeddings=256, rms_norm_eps=EPSILON,
    rope_theta=BASE, vocab_size=VOCAB, tie_word_embeddings=False,
)
(folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
rows = lambda matrix: ",\n".join("  " + json.dumps([round(float(v), 5) for v in row], separators=(",", ":")) for row in matrix)
text = f'{{\n "madeBy": "scripts/goldens/turbo_sparse_mixtral.py",\n "ids": {json.dumps(IDS)},\n "all": [\n{rows(logits(False))}\n ],\n "predicted": [\n{rows(logits(True))}\n ]\n}}\n'
(TESTS / "goldens/turbo_sparse_mixtral.json").write_text(text)
