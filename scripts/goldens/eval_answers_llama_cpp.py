"""Native llama.cpp's answers to the lines of eval_accuracies.ts: log-likelihoods of candidates, and greedy texts.

llama.cpp makes ids of the texts itself. As lm-evaluation-harness has it, a continuation's ids are what the whole has more
than the context without the white space at its end. Prompts are shorter than the context of 4,096.

Run: pip install llama-cpp-python==0.3.36
     python eval_answers_llama_cpp.py f32.gguf asked.jsonl answers.jsonl
"""

import ctypes
import json
import sys

import llama_cpp
import numpy

CONTEXT = 4096
model_path, asked_file, answers_file = sys.argv[1:]


@llama_cpp.llama_log_callback
def silent(level, text, data):
    pass


llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
llama_cpp.llama_backend_init()
model_params = llama_cpp.llama_model_default_params()
model_params.n_gpu_layers = 0
model = llama_cpp.llama_model_load_from_file(model_path.encode(), model_params)
vocab = llama_cpp.llama_model_get_vocab(model)
width = llama_cpp.llama_vocab_n_tokens(vocab)
params = llama_cpp.llama_context_default_params()
params.n_ctx = params.n_batch = CONTEXT
params.n_threads = params.n_threads_batch = 1
context = llama_cpp.llama_init_from_model(model, params)
memory = llama_cpp.llama_get_memory(context)
batch = llama_cpp.llama_batch_init(CONTEXT, 0, 1)
held = []


def tokenize(text):
    data = text.encode()
    ids = (llama_cpp.llama_token * (len(data) + 8))()
    count = llama_cpp.llama_tokenize(vocab, data, len(data), ids, len(ids), False, True)
    begin = [llama_cpp.llama_vocab_bos(vocab)] if llama_cpp.llama_vocab_get_add_bos(vocab) else []
    return begin + list(ids[:count])


def piece(token):
    room = ctypes.create_string_buffer(256)
    length = llama_cpp.llama_token_to_piece(vocab, token, room, len(room), 0, False)
    return room.raw[:length]


def evaluate(ids, wanted):
    """Logits after the last `wanted` of the ids; what the last call began with in common is not computed again."""
    global held
    most = min(len(held), len(ids) - wanted)
    common = next((i for i in range(most) if held[i] != ids[i]), most)
    llama_cpp.llama_memory_seq_rm(memory, 0, common, -1)
    held = ids
    batch.n_tokens = len(ids) - common
    for i, token in enumerate(ids[common:]):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, common + i, 1, 0
        batch.logits[i] = common + i >= len(ids) - wanted
    if llama_cpp.llama_decode(context, batch) != 0:
        sys.exit("llama_decode failed")
    first = len(ids) - wanted - common
    rows = [llama_cpp.llama_get_logits_ith(context, first + i) for i in range(wanted)]
    return [numpy.ctypeslib.as_array(row, (width,)) for row in rows]


def logprob(before, after):
    ids, start = tokenize(before + after), len(tokenize(before.rstrip()))
    rows = evaluate(ids[:-1], len(ids) - start)
    total = 0.0
    for row, token in zip(rows, ids[start:]):
        logits = row.astype(numpy.float64)
        largest = logits.max()
        total += logits[token] - largest - numpy.log(numpy.exp(logits - largest).sum())
    return round(float(total), 4)


def write(prompt, until, most):
    ids, data = tokenize(prompt), b""
    for _ in range(most):
        token = int(evaluate(ids, 1)[0].argmax())
        if llama_cpp.llama_vocab_is_eog(vocab, token):
            break
        ids, data = ids + [token], data + piece(token)
        text = data.decode(errors="replace")
        ends = [text.find(stop) for stop in until if stop in text]
        if ends:
            return text[: min(ends)]
    return data.decode(errors="replace")


with open(answers_file, "w", encoding="utf-8") as file:
    for number, line in enumerate(open(asked_file, encoding="utf-8"), 1):
        asked = json.loads(line)
        if "candidates" in asked:
            answer = {"logprobs": [logprob(*each) for each in asked["candidates"]]}
        else:
            answer = {"text": write(asked["prompt"], asked["until"], asked["maxTokens"])}
        file.write(json.dumps(answer) + "\n")
        if number % 50 == 0:
            print(number, file=sys.stderr)
