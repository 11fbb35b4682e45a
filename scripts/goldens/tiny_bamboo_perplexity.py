"""Makes tests/goldens/tiny_bamboo_perplexity.json: llama-perplexity's method in NumPy, f32 on the bf16 weights.

    pip install numpy==2.4.6 sentencepiece==0.2.3 && python scripts/goldens/tiny_bamboo_perplexity.py

Needs ../shared beside the repository. The model of bamboo.py is checked against
PyTorch's goldens.json before it is used.
`nll[share][chunk]`: sum over the scored tokens of a chunk, in nats, where each
layer keeps the `share` of its neurons with the largest activations.
"""

import json
import lzma
import pathlib

import bamboo
import numpy as np
import sentencepiece

ROOT = pathlib.Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
TINY = SHARED / "tiny-bamboo"
OUT = ROOT / "tests/goldens/tiny_bamboo_perplexity.json"
SHARES = [1, 0.2, 0.15, 0.12, 0.1]
CHUNKS = 4
SIZE = 512

def check():
    for golden in json.loads((TINY / "goldens.json").read_text()):
        ids = golden["prompt_ids"] + golden["greedy_ids"]
        worst = np.abs(model.losses(ids) - golden["nll_of_each_next_token"]).max()
        assert worst < 1e-4, worst


def golden_of(text):
    ids = [1] + tokenizer.encode(text)
    chunks = [[1] + ids[i * SIZE + 1 : (i + 1) * SIZE] for i in range(CHUNKS)]
    nll = [[round(float(model.losses(chunk, share=share)[SIZE // 2 :].sum()), 4) for chunk in chunks] for share in SHARES]
    return {"characters": len(text), "nll": nll}


model = bamboo.from_folder(TINY / "hf")
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
