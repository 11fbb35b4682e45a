"""llama.cpp's side of `deno task bench:peer`, built for this very CPU: llama-cpp-python from source.

Same requests and answers as culm.ts. Only llama_decode is timed.
"""

import ctypes
import importlib.metadata
import json
import sys
import time

import llama_cpp

SEQUENCES = 8
model_path, threads, context_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


@llama_cpp.llama_log_callback
def silent(level, text, data):
    pass


llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
llama_cpp.llama_backend_init()
model_params = llama_cpp.llama_model_default_params()
model_params.n_gpu_layers = 0
model = llama_cpp.llama_model_load_from_file(model_path.encode(), model_params)
params = llama_cpp.llama_context_default_params()
params.n_ctx = context_size
params.n_batch = params.n_ubatch = 128
params.n_seq_max = SEQUENCES
params.kv_unified = True
params.n_threads = params.n_threads_batch = threads
context = llama_cpp.llama_init_from_model(model, params)
version = importlib.metadata.version("llama-cpp-python")
unit = "thread" if threads == 1 else "threads"
print(json.dumps({"name": f"llama.cpp built for this CPU (llama-cpp-python {version}, {threads} {unit})"}), flush=True)


def evaluate(ids):
    """Milliseconds to take `ids` in and compute the logits after the last."""
    tokens = (llama_cpp.llama_token * len(ids))(*ids)
    batch = llama_cpp.llama_batch_get_one(tokens, len(ids))
    start = time.perf_counter()
    if llama_cpp.llama_decode(context, batch) != 0:
        sys.exit("llama_decode failed")
    llama_cpp.llama_synchronize(context)
    return 1000 * (time.perf_counter() - start)


batch = llama_cpp.llama_batch_init(SEQUENCES, 0, 1)


def evaluate_batch(position, ids):
    """Milliseconds to take in one id of each sequence, and compute the logits after it."""
    batch.n_tokens = len(ids)
    for i, id in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = id, position, 1, i, True
    start = time.perf_counter()
    if llama_cpp.llama_decode(context, batch) != 0:
        sys.exit("llama_decode failed")
    llama_cpp.llama_synchronize(context)
    return 1000 * (time.perf_counter() - start)


for line in sys.stdin:
    request = json.loads(line)
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    prompt_ms = evaluate(request["prompt"])
    decode_ms = sum(evaluate([id]) for id in request["decode"])
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    batch_ms = sum(evaluate_batch(position, ids) for position, ids in enumerate(request["batch"]))
    print(json.dumps({"promptMs": prompt_ms, "decodeMs": decode_ms, "batchMs": batch_ms}), flush=True)
