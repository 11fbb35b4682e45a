"""Makes tests/tokenizer/goldens/sentencepiece.json with Google's SentencePiece.

    pip install sentencepiece==0.2.3 protobuf && python scripts/goldens/sentencepiece_bpe.py

Needs ../shared beside the repository. `wikitext`: for every 256 lines of
WikiText-2 (each with its newline, encoded alone), how many ids there are and the
SHA-256 of the ids as little-endian u32; the ids of a few lines in full.
`texts`: random strings and what each model makes of them. `models`: base64 of
models trained here, with the settings that the public ones do not use.
"""

import base64
import hashlib
import io
import json
import pathlib
import random
import struct

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

ROOT = pathlib.Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
OUT = ROOT / "tests/tokenizer/goldens/sentencepiece.json"
CHUNK = 256

dice = random.Random(20)

# Letters, digits, blanks, marks, scripts without spaces, emoji with joiners,
# and characters that implementations trip over: NUL, U+2581 (SentencePiece's own
# space), the byte order mark, U+0085, a private and a non-character.
ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz", "ETAOIN", "0123456789", " ", " ", "\n\t\r", ".,;:!?'\"()[]{}<>/\\|@#$%^&*-_=+~`",
    "äöüßéèñçøå", "абвгдежз", "αβγδε", "天地玄黃宇宙洪荒", "こんにちは", "안녕하세요", "मानव", "កខគ", "שלום", "\u0301\u0308",
    "\U0001F600\U0001F9D1\u200d\U0001F680\ufe0f\U0001F1E9\U0001F1EA", "\u00a0\u2003\u3000\u200b", "\u0000\u0007\u2581\ufeff\u0085\ue000\ufffe",
]
WORDS = ["the", "Once upon a time", "there was", "Hello", "world", "don't", "<s>", "</s>", "<unk>", "<0x0A>", "<|user|>", "[SEP]",
         "   ", "\n\n", "def f(x):\n    return x", "3.14159", "http://a.b/c?d=e", "ing", "tion", "ba", "lo", "kami"]


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


def corpus():
    """Sentences of words of a made-up language."""
    syllables = [c + v for c in "bdfgklmnprstz" for v in "aeiou"]
    words = ["".join(dice.choice(syllables) for _ in range(dice.randint(1, 4))) for _ in range(300)]
    for _ in range(3000):
        yield " ".join(dice.choice(words) for _ in range(dice.randint(3, 12))) + dice.choice([".", "!", "?"])


def train(**settings):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, model_type="bpe", num_threads=1, minloglevel=2,
        normalization_rule_name="identity", hard_vocab_limit=False, **settings)
    return model.getvalue()


def with_unused(model, every):
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    merged = [piece for piece in proto.pieces if piece.type == piece.NORMAL and len(piece.piece) > 2]
    for piece in merged[::every]:
        piece.type = piece.UNUSED
    return proto.SerializeToString()


def processor(model):
    return sentencepiece.SentencePieceProcessor(model_proto=model)


SENTENCES = list(corpus())
MARKS = ["<|user|>", "[SEP]"]
trained = {
    "no byte tokens, extra blanks removed": train(vocab_size=160, remove_extra_whitespaces=True, user_defined_symbols=MARKS),
    "pieces across spaces, no space prefix": train(vocab_size=440, byte_fallback=True, split_by_whitespace=False,
                                                  add_dummy_prefix=False, remove_extra_whitespaces=False,
                                                  user_defined_symbols=MARKS),
    "unused pieces": with_unused(train(vocab_size=440, byte_fallback=True, remove_extra_whitespaces=False), 3),
}
public = {
    "mistral-v1": (SHARED / "data/tokenizers/mistral-v1/tokenizer.model").read_bytes(),
    "tiny-bamboo": (SHARED / "tiny-bamboo/hf/tokenizer.model").read_bytes(),
}

mistral = processor(public["mistral-v1"])
text = (SHARED / "data/text/wikitext2-test.raw").read_text()
lines = [line + "\n" for line in text.split("\n")[:-1]]
encoded = mistral.encode(lines)
chunks = []
for start in range(0, len(lines), CHUNK):
    ids = [i for line in encoded[start:start + CHUNK] for i in line]
    chunks.append({"count": len(ids), "sha256": hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).hexdigest()})

processors = {name: processor(model) for name, model in (public | trained).items()}
texts = [random_text() for _ in range(200)]
OUT.write_text(json.dumps({
    "sentencepiece": sentencepiece.__version__,
    "wikitext": {"linesPerChunk": CHUNK, "chunks": chunks, "sample": [spell(ids) for ids in encoded[1:16]]},
    "models": {name: base64.b64encode(model).decode() for name, model in trained.items()},
    "texts": texts,
    "ids": {name: [spell(model.encode(text)) for text in texts] for name, model in processors.items()},
}, indent=2) + "\n")
