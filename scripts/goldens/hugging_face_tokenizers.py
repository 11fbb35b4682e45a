"""Makes tests/tokenizer/goldens/hugging_face.json with Hugging Face's tokenizers.

    pip install tokenizers==0.23.3 && python scripts/goldens/hugging_face_tokenizers.py

Needs ../shared beside the repository, and `deno task fetch:tokenizers`.
`small`: tokenizer.json files of 1,500 to 1,800 tokens, each with a normaliser,
pre-tokenizer, post-processor or kind of added token of its own, and what the first 24
of `texts` become, and all of them, as below. Tokens are stored as those that no merge makes, and the merges, which make
the others in order. `large`: the SHA-256 of the ids, as 32-bit little-endian
numbers, of all of WikiText-2's test split and of `texts` one after another, without
what the post-processor adds.
"""

import hashlib
import json
import pathlib
import random
import struct
import unicodedata

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
CASES = SHARED / "cases/tokenizers"
LARGE = ROOT / ".cache/tokenizers"
OUT = ROOT / "tests/tokenizer/goldens/hugging_face.json"

dice = random.Random(16)

# Characters of Unicode 3.2, which every program's tables have alike.
ASSIGNED = [chr(code) for code in range(0x20, 0x30000)
            if unicodedata.ucd_3_2_0.category(chr(code)) not in ("Cn", "Cs", "Co", "Cc")]
BLOCKS = [(0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0x97f), (0xe00, 0xe7f), (0x1100, 0x11ff),
          (0x2000, 0x206f), (0x2070, 0x218f), (0x3000, 0x30ff), (0x4e00, 0x4fff), (0xac00, 0xacff), (0xff00, 0xffef), (0x1d400, 0x1d7ff)]
WORDS = [" ", "  ", "\n", "\r\n", "\t", "    ", " don't", "I'LL", "'s", "<|m|>", "foo", "ab", "abc", "<s>", "</s>", "1234567", " hello", "World"]


def random_text():
    parts = []
    for _ in range(dice.randint(1, 8)):
        kind = dice.random()
        if kind < 0.35:
            parts.append(dice.choice(WORDS))
        elif kind < 0.75:
            first, last = dice.choice(BLOCKS)
            letters = [c for c in map(chr, range(first, last + 1)) if unicodedata.ucd_3_2_0.category(c) not in ("Cn", "Cs", "Co")]
            parts.append("".join(dice.choice(letters) for _ in range(dice.randint(1, 6))))
        else:
            parts.append("".join(dice.choice(ASSIGNED) for _ in range(dice.randint(1, 4))))
    return "".join(parts)


def sha256(ids):
    return hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).hexdigest()


texts = json.loads((CASES / "ids.json").read_text())["texts"] + [random_text() for _ in range(200)]

models, small = [], {}
for name in json.loads((CASES / "ids.json").read_text())["ids"]:
    file = json.loads((CASES / f"{name}.json").read_text())
    model = file.pop("model")
    vocab, merges = model.pop("vocab"), model.pop("merges")
    tokens = sorted(vocab, key=vocab.get)
    pairs = [merge if isinstance(merge, list) else merge.split(" ") for merge in merges]
    base = len(tokens) - len(pairs)
    assert tokens[base:] == [a + b for a, b in pairs]
    stored = {"tokens": " ".join(tokens[:base]), "merges": [" ".join(pair) for pair in pairs]}
    if stored not in models:
        models.append(stored)
    tokenizer = Tokenizer.from_file(str(CASES / f"{name}.json"))
    small[name] = {
        "file": {**file, "model": model},
        "tokens": models.index(stored),
        "hasPairs": isinstance(merges[0], list),
        "ids": [" ".join(map(str, tokenizer.encode(text).ids)) for text in texts[:24]],
        "texts": sha256([id for text in texts for id in tokenizer.encode(text).ids]),
    }

wikitext = (SHARED / "data/text/wikitext2-test.raw").read_text()
large = {}
for path in sorted(LARGE.glob("*/tokenizer.json")):
    tokenizer = Tokenizer.from_file(str(path))
    ids = tokenizer.encode(wikitext, add_special_tokens=False).ids
    large[path.parent.name] = {
        "count": len(ids),
        "wikitext": sha256(ids),
        "texts": sha256([id for text in texts for id in tokenizer.encode(text, add_special_tokens=False).ids]),
    }

OUT.write_text(json.dumps({"texts": texts, "models": models, "small": small, "large": large}, indent=1, ensure_ascii=False) + "\n")
