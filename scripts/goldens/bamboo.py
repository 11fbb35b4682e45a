"""Bamboo's forward pass in NumPy, f32, written down once more from its definition.

Needs numpy; for GGUF files `gguf` too.
"""

import json
import math
import struct
import tempfile

import numpy as np


class Bamboo:
    """Weights by GGUF's names, as [outputs, inputs]; `pairs` says which elements of a head are rotated together."""

    def __init__(self, weights, *, heads, kv_heads, head_size, epsilon, base, pairs, threshold=0.0):
        self.weights, self.heads, self.kv_heads, self.head_size = weights, heads, kv_heads, head_size
        self.epsilon, self.base, self.pairs, self.threshold = np.float32(epsilon), base, pairs, threshold
        self.layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blk."))

    def norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * self.weights[name]

    def rotated(self, x):
        """RoPE of [tokens, heads, head size]."""
        half = self.head_size // 2
        angles = np.outer(np.arange(len(x)), self.base ** (-np.arange(half) / half))
        cos, sin = (f(angles).astype(np.float32)[:, None] for f in (np.cos, np.sin))
        if self.pairs == "halves":
            a, b = x[..., :half], x[..., half:]
            return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)
        a, b = x[..., ::2], x[..., 1::2]
        return np.stack([a * cos - b * sin, b * cos + a * sin], -1).reshape(x.shape)

    def attention(self, x, layer):
        matrix = lambda name: self.weights[f"{layer}.attn_{name}.weight"].T
        project = lambda name, heads: (x @ matrix(name)).reshape(len(x), heads, self.head_size)
        q, k, v = self.rotated(project("q", self.heads)), self.rotated(project("k", self.kv_heads)), project("v", self.kv_heads)
        k, v = (np.repeat(each, self.heads // self.kv_heads, 1) for each in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) / np.float32(math.sqrt(self.head_size))
        scores[:, np.triu(np.ones(scores.shape[1:], bool), 1)] = -np.inf
        share = np.exp(scores - scores.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        return np.einsum("hqk,khd->qhd", share, v).reshape(len(x), -1) @ matrix("output")

    def predicted(self, residual, layer):
        """Which neurons the predictor selects, of the residual before the norm."""
        hidden = np.maximum(residual @ self.weights[f"{layer}.fc1.weight"].T, 0)
        return hidden @ self.weights[f"{layer}.fc2.weight"].T >= self.threshold

    def feed_forward(self, residual, layer, share, predict):
        x = self.norm(residual, f"{layer}.ffn_norm.weight")
        matrix = lambda name: self.weights[f"{layer}.ffn_{name}.weight"].T
        h = np.maximum(x @ matrix("gate"), 0) * np.maximum(x @ matrix("up"), 0)
        counts = {"active": (h != 0).sum(-1)}
        kept = math.ceil(share * h.shape[1])
        if kept < h.shape[1]:
            h = np.where(h > np.sort(h)[:, -kept - 1, None], h, 0)
        if predict:
            chosen = self.predicted(residual, layer)
            counts |= {"predicted": chosen.sum(-1), "recalled": (chosen & (h != 0)).sum(-1)}
            h = np.where(chosen, h, 0)
        down = self.weights.get(f"{layer}.ffn_down_t.weight")
        return h @ (matrix("down") if down is None else down), counts

    def run(self, ids, share=1, predict=False):
        """Log-probabilities behind each id, in f64, and counts of neurons by [layer][position]."""
        x = self.weights["token_embd.weight"][ids]
        counts = []
        for layer in (f"blk.{i}" for i in range(self.layers)):
            x = x + self.attention(self.norm(x, f"{layer}.attn_norm.weight"), layer)
            added, counted = self.feed_forward(x, layer, share, predict)
            x = x + added
            counts.append(counted)
        logits = (self.norm(x, "output_norm.weight") @ self.weights["output.weight"].T).astype(np.float64)
        top = logits.max(-1, keepdims=True)
        return logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True)), counts

    def losses(self, ids, **options):
        """Negative log-likelihood of each id but the first, in nats."""
        logprobs, _ = self.run(ids, **options)
        return -logprobs[np.arange(len(ids) - 1), ids[1:]]


HUGGING_FACE = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def from_folder(folder):
    """Of a Hugging Face folder with one bf16 file."""
    config = json.loads((folder / "config.json").read_text())
    data = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    weights = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == "__metadata__":
            continue
        for theirs, ours in HUGGING_FACE.items():
            name = name.replace(theirs, ours)
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        halves = np.frombuffer(data[start:end], "<u2").astype("<u4")
        weights[name.replace("model.layers", "blk")] = (halves << 16).view("<f4").reshape(entry["shape"])
    heads = config["num_attention_heads"]
    return Bamboo(
        weights, heads=heads, kv_heads=config["num_key_value_heads"], head_size=config["hidden_size"] // heads,
        epsilon=config["rms_norm_eps"], base=config["rope_theta"], pairs="halves")


def from_gguf(data):
    """Of the bytes of a GGUF file, PowerInfer's form too, dequantised by ggml's own Python package; and its fields."""
    from gguf import GGUFReader, dequantize

    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(b"GGUF" + data[4:])
        file.flush()
        reader = GGUFReader(file.name)
        field = lambda name: reader.fields[f"bamboo.{name}"].contents()
        weights = {
            tensor.name: dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(tensor.shape[::-1])
            for tensor in reader.tensors
        }
        heads = field("attention.head_count")
        return Bamboo(
            weights, heads=heads, kv_heads=field("attention.head_count_kv"), head_size=field("embedding_length") // heads,
            epsilon=field("attention.layer_norm_rms_epsilon"), base=field("rope.freq_base"), pairs="neighbours")
