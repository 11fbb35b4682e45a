"""Makes tests/goldens/bamboo.json: what NumPy, in f32, says of the bamboo files that are in the repository.

    pip install numpy==2.4.6 gguf==0.19.0 sentencepiece==0.2.3 && python scripts/goldens/bamboo_goldens.py

`tiny-bamboo-q8_0`: the embedded model. `small-bamboo-f16.powerinfer`: the fixture,
by its predictors too. Where ../shared is beside the repository, the model of
bamboo.py is first checked against another author's goldens of the same weights.
`texts`: as PyTorch's goldens in ../shared have them. `perplexity`: by
llama-perplexity's method; nll[share][chunk] in nats, where each layer keeps the
`share` of its neurons with the largest activations.
"""

import base64
import json
import pathlib
import re

import bamboo
import numpy as np
import sentencepiece

ROOT = pathlib.Path(__file__).parents[2]
TESTS = ROOT / "tests"
OTHERS = ROOT.parent / "shared/tiny-bamboo/goldens_q8_0.json"
SHARES = [1, 0.2, 0.15, 0.12, 0.1]
SIZE = 256
PROMPTS = ["One day, Lily went to the park with her mom.", "Tom had a big red ball. He", "\"Come here,\" said the fox"]
CONTINUATION = 32


def embedded(module):
    """The bytes that a generated module has as one text in base64."""
    return base64.b64decode(module.split("`")[-2])


def rounded(values):
    return [round(float(value), 5) for value in values]


def check(model):
    for golden in json.loads(OTHERS.read_text()):
        logprobs, counts = model.run(golden["prompt_ids"] + golden["greedy_ids"])
        first = len(golden["prompt_ids"]) - 1
        for i, id in enumerate(golden["greedy_ids"]):
            assert logprobs[first + i].argmax() == id
            assert abs(logprobs[first + i, id] - golden["logprobs"][i]) < 1e-4
        active = [int(layer["active"][:golden["positions"]].sum()) for layer in counts]
        assert np.allclose(active, golden["active_neurons_by_layer"], rtol=2e-3), (active, golden)


def text_golden(model, ids, **options):
    """Greedy ids while the two best are 0.01 apart, and what belongs to every position."""
    prompt = list(ids)
    steps = []
    while len(steps) < CONTINUATION:
        logprobs, _ = model.run(ids, **options)
        best, second = np.argsort(-logprobs[-1])[:2]
        if logprobs[-1, best] - logprobs[-1, second] < 0.01:
            break
        steps.append({"logprob": round(float(logprobs[-1, best]), 5)})
        ids = ids + [int(best)]
    _, counts = model.run(ids, **options)
    return {
        "prompt_ids": prompt,
        "greedy_ids": ids[len(prompt):],
        "steps": steps,
        "nll_of_each_next_token": rounded(model.losses(ids, **options)),
        **{
            f"{name}_neurons_by_layer_and_position": [layer[name].tolist() for layer in counts]
            for name in counts[0]
        },
    }


def tiny():
    model = bamboo.from_gguf(embedded((ROOT / "tiny/tiny_bamboo.js").read_text()))
    if OTHERS.exists():
        check(model)
    tokenizer = sentencepiece.SentencePieceProcessor(str(TESTS / "fixtures/tiny-bamboo/tokenizer.model"))
    texts = []
    for prompt in PROMPTS:
        golden = text_golden(model, [1] + tokenizer.encode(prompt))
        texts.append({"prompt": prompt, "text": tokenizer.decode(golden["greedy_ids"]), **golden})
    ids = [1] + tokenizer.encode((TESTS / "fixtures/story.txt").read_text())
    chunks = [[1] + ids[start + 1:start + SIZE] for start in range(0, len(ids) - SIZE + 1, SIZE)]
    nll = [rounded(model.losses(chunk, share=share)[SIZE // 2:].sum() for chunk in chunks) for share in SHARES]
    return {"texts": texts, "perplexity": {"size": SIZE, "shares": SHARES, "nll": nll}}


def small():
    model = bamboo.from_gguf((TESTS / "fixtures/small-bamboo/f16.powerinfer.gguf").read_bytes())
    prompts = [[1, *((7919 * i + 13 * i * i) % 285 + 3 for i in range(start, start + 12))] for start in (0, 50)]
    return {
        "exact": [text_golden(model, ids) for ids in prompts],
        "predictor": [text_golden(model, ids, predict=True) for ids in prompts],
    }


golden = {
    "madeBy": "scripts/goldens/bamboo_goldens.py: NumPy, f32",
    "tiny-bamboo-q8_0": tiny(),
    "small-bamboo-f16.powerinfer": small(),
}
# One line for each array of numbers: small, and still a text that diffs.
text = re.sub(r"\[\s*(-?\d[^\[\]]*?)\s*\]", lambda m: "[" + re.sub(r"\s+", "", m[1]) + "]", json.dumps(golden, indent=1))
(TESTS / "goldens/bamboo.json").write_text(text + "\n")
