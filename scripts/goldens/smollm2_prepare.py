"""Prepares what smollm2_llama_cpp.mjs needs, with the `gguf` and `jinja2` packages.

1. Every weight of SmolLM2's Q4_1 file dequantised to F32 by ggml's own Python package: llama.cpp
   on that file rounds no activation to 8 bits, so it tells what the weights mean.
2. The chat prompts, rendered by Jinja2 with the template of the file.

Run: pip install gguf==0.19.0 jinja2
     python scripts/goldens/smollm2_prepare.py SmolLM2-135M-Instruct.Q4_1.gguf smollm2-f32.gguf smollm2-chats.json
"""

import json
import sys

import jinja2
import numpy
from gguf import GGUFReader, GGUFValueType, GGUFWriter, dequantize

CHATS = [
    [{"role": "user", "content": "What is the capital of Japan? Answer in one sentence."}],
    [
        {"role": "system", "content": "You are a poet."},
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": "Good day to you."},
        {"role": "user", "content": "Write two lines about rain."},
    ],
]


def dequantise(reader: GGUFReader, target: str) -> None:
    writer = GGUFWriter(target, reader.get_field("general.architecture").contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        item_type = field.types[1] if field.types[0] == GGUFValueType.ARRAY else None
        value = 0 if name == "general.file_type" else field.contents()
        writer.add_key_value(name, value, field.types[0], item_type)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        writer.add_tensor(tensor.name, values.reshape(tuple(reversed(tensor.shape.tolist()))))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def render(reader: GGUFReader, target: str) -> None:
    source = reader.get_field("tokenizer.chat_template").contents()
    # The settings of Hugging Face transformers' apply_chat_template.
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(source)
    chats = [
        {"messages": messages, "prompt": template.render(messages=messages, add_generation_prompt=True)}
        for messages in CHATS
    ]
    with open(target, "w", encoding="utf-8") as file:
        json.dump(chats, file)


if __name__ == "__main__":
    model, f32, chats = sys.argv[1:]
    reader = GGUFReader(model)
    dequantise(reader, f32)
    render(reader, chats)
