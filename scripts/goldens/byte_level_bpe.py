"""Makes tests/tokenizer/goldens/byte_level_bpe.json with Hugging Face's tokenizers.

    pip install tokenizers==0.23.3 gguf==0.19.0 && python scripts/goldens/byte_level_bpe.py

Needs ../shared beside the repository. GPT-2's vocabulary with the pre-tokenizers
that the tokenizer.json files of GPT-2, SmolLM2, Llama 3 and Qwen 2 describe, and
with the patterns that llama.cpp applies one after the other by default: `texts` are random strings, `ids` what they become by value of tokenizer.ggml.pre.
`vocabulary`: the tokens and merges of GPT-2 that occur in these texts. No other can
be met in encoding them, so these alone give the same ids, which is checked.
"""

import json
import pathlib
import random

from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, models
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

ROOT = pathlib.Path(__file__).parents[2]
VOCABULARY = ROOT.parent / "shared/data/tokenizers/llama-cpp/ggml-vocab-gpt-2.gguf"
END = "<|endoftext|>"
OUT = ROOT / "tests/tokenizer/goldens/byte_level_bpe.json"

dice = random.Random(21)

ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz", "ETAOIN", "0123456789", "0123456789", " ", " ", "\n\t\r\v\f", ".,;:!?'\"()[]{}<>/\\|@#$%^&*-_=+~`",
    "äöüßéèñçøå", "абвгдежз", "αβγδε", "天地玄黃宇宙洪荒", "こんにちは", "안녕하세요", "मानव", "កខគ", "שלום", "\u0301\u0308", "²½Ⅻ٣४",
    "\U0001F600\U0001F9D1\u200d\U0001F680\ufe0f\U0001F1E9\U0001F1EA", "\u00a0\u2003\u3000\u200b", "\u0000\u0007\u2581\ufeff\u0085\ue000\ufffe",
]
WORDS = ["the", "Once upon a time", "there was", "Hello", "world", "don't", "I'LL", "We'Ve", "'s", "'RE", "<s>", "<|endoftext|>",
         "   ", "\n\n", " \n ", "\r\n", "def f(x):\n    return x", "3.14159", "1234567", "http://a.b/c?d=e"]


def spell(ids):
    """Ids as one string, which keeps the file short."""
    return " ".join(map(str, ids))


def random_text():
    parts = []
    for _ in range(dice.randint(1, 12)):
        if dice.random() < 0.5:
            parts.append(dice.choice(WORDS))
        else:
            alphabet = dice.choice(ALPHABETS)
            parts.append("".join(dice.choice(alphabet) for _ in range(dice.randint(1, 5))))
        if dice.random() < 0.4:
            parts.append(" " * dice.randint(1, 3))
    return "".join(parts)


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"


def split_by(digits):
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits +
               r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    return sequence(pattern)


def sequence(*patterns):
    return Sequence([Split(Regex(pattern), "isolated") for pattern in patterns]
                    + [ByteLevel(add_prefix_space=False, use_regex=False)])


fields = GGUFReader(VOCABULARY).fields
tokens = fields["tokenizer.ggml.tokens"].contents()
merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
pretokenizers = {
    "gpt-2": ByteLevel(add_prefix_space=False),
    "smollm": Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]),
    "llama-bpe": split_by(r"\p{N}{1,3}"),
    "qwen2": split_by(r"\p{N}"),
    "default": sequence(r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
}
texts = [random_text() for _ in range(200)]


def in_texts():
    """The part of the vocabulary that the texts can meet: a token, or what a merge makes, is a part of a text."""
    shown = ByteLevel(add_prefix_space=False, use_regex=False)
    written = "\n".join(piece for text in texts for piece, _ in shown.pre_tokenize_str(text))
    met = {token: i for i, token in enumerate(tokens) if len(token) == 1 or token in written or token == END}
    return met, [merge for merge in merges if "".join(merge) in written]


def encode(vocabulary, merges):
    ids = {}
    for name, pretokenizer in pretokenizers.items():
        tokenizer = Tokenizer(models.BPE(vocabulary, merges, ignore_merges=name == "llama-bpe"))
        tokenizer.pre_tokenizer = pretokenizer
        tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
        ids[name] = [spell(tokenizer.encode(text).ids) for text in texts]
    return ids


ids = encode({token: i for i, token in enumerate(tokens)}, merges)
met, met_merges = in_texts()
assert encode(met, met_merges) == ids
vocabulary = {
    "size": len(tokens),
    "tokens": " ".join(met),
    "ids": spell(met.values()),
    "merges": [" ".join(merge) for merge in met_merges],
}
OUT.write_text(json.dumps({"vocabulary": vocabulary, "texts": texts, "ids": ids}, indent=2) + "\n")
