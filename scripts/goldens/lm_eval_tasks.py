"""Goldens of `culm eval`'s tasks: lm-evaluation-harness itself, on the same files, with answers made of hashes.

Its task files are taken as they are; only where they load a data set from the hub do they get the local files, in the
shape that they expect. Prompts are kept as one SHA-256 for each task or subject; likelihoods and texts follow from hashes
of the prompts, so that a test can make the same ones and compare the metrics.

Rerun:
  python3 -m venv venv && venv/bin/pip install lm-eval==0.4.13
  venv/bin/python lm_eval_tasks.py <shared>/data/tasks 50 ../../tests/goldens/lm_eval_tasks.json
"""
import hashlib
import json
import lzma
import os
import re
import sys
from pathlib import Path

import datasets
import evaluate

folder, count, out_file = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


def lines(name):
    return [json.loads(line) for line in open(folder / name, encoding="utf-8") if line.strip()]


def arc(name):
    def doc(record):
        letters = [chr(ord("A") + i) for i in range(len(record["choices"]))]
        return {
            "question": record["query"].removeprefix("Question: "),
            "choices": {"text": record["choices"], "label": letters},
            "answerKey": letters[record["gold"]],
        }
    return {split: [doc(r) for r in lines(f"{name}.jsonl")] for split in ("train", "validation", "test")}


def uncleaned(text):
    """What the task's cleaning makes this text of: the file's texts are cleaned already."""
    text = re.sub(" {2,}", lambda run: " " * (2 * len(run[0]) - 1), text)
    return "[title]" + text if text.startswith(" ") else text


def hellaswag():
    def doc(record):
        activity, context = record["query"].split(": ", 1)
        return {"activity_label": activity, "ctx_a": uncleaned(context), "ctx_b": "", "endings": [uncleaned(c) for c in record["choices"]], "label": str(record["gold"])}
    return {split: [doc(r) for r in lines("hellaswag_1000.jsonl")] for split in ("train", "validation")}


def piqa():
    def doc(record):
        goal = record["query"].removeprefix("Question: ").removesuffix("\n")
        return {"goal": goal, "sol1": record["choices"][0], "sol2": record["choices"][1], "label": record["gold"]}
    return {split: [doc(r) for r in lines("piqa.jsonl")] for split in ("train", "validation")}


def winogrande():
    def doc(record):
        one, two = record["context_options"]
        same = len(os.path.commonprefix([one, two]))
        return {
            "sentence": f"{one[:same]}_ {record['continuation']}",
            "option1": one[same:],
            "option2": two[same:],
            "answer": str(record["gold"] + 1),
        }
    return {split: [doc(r) for r in lines("winogrande.jsonl")] for split in ("train", "validation")}


def gsm8k():
    docs = [{"question": r["context"], "answer": f"{r['chain_of_thought']}\n#### {r['answer']}"} for r in lines("gsm8k.jsonl")]
    # Those before the questions are the examples, as `culm eval` has it, and not drawn from others.
    return {"train": docs[:5], "test": docs[5:]}


def truthfulqa():
    def targets(labels):
        return {"choices": list(labels), "labels": list(labels.values())}
    records = json.load(open(folder / "truthfulqa_mc.json", encoding="utf-8"))
    return {"validation": [{"question": r["question"], **{k: targets(r[k]) for k in ("mc1_targets", "mc2_targets")}} for r in records]}


def mmlu(subject):
    with lzma.open(folder / "mmlu.jsonl.xz", "rt", encoding="utf-8") as file:
        records = [r for r in map(json.loads, file) if r["subject"] == subject]
    return {split: [r for r in records if r["split"] == split] for split in ("dev", "test")}


def load_dataset(path, name=None, **_):
    by_path = {
        "allenai/ai2_arc": lambda: arc({"ARC-Easy": "arc_easy", "ARC-Challenge": "arc_challenge"}[name]),
        "Rowan/hellaswag": hellaswag,
        "baber/piqa": piqa,
        "allenai/winogrande": winogrande,
        "EleutherAI/lambada_openai": lambda: {"test": [{"text": f"{r['context']} {r['continuation']}"} for r in lines("lambada_openai.jsonl")]},
        "openai/gsm8k": gsm8k,
        "truthfulqa/truthful_qa": truthfulqa,
        "cais/mmlu": lambda: mmlu(name),
        "SaylorTwift/bbh": lambda: {"test": json.load(open(folder / f"bbh/{name}.json", encoding="utf-8"))["examples"]},
        "openai/openai_humaneval": lambda: {"test": lines("humaneval.jsonl")},
    }
    splits = by_path[path]()
    return datasets.DatasetDict({split: datasets.Dataset.from_list(docs) for split, docs in splits.items()})


class CodeEval:
    """In place of the metric that `evaluate` fetches: a program passes where a hash says so."""

    def compute(self, references, predictions, k):
        passed = [hash_of(f"{program}\n{test}")[0] % 2 == 0 for programs, test in zip(predictions, references) for program in programs]
        return {f"pass@{each}": sum(passed) / len(passed) for each in k}, {}


datasets.load_dataset = load_dataset
evaluate.load = lambda *_: CodeEval()

import lm_eval  # noqa: E402  behind what it is to use
from lm_eval.api.model import LM  # noqa: E402
from lm_eval.api.samplers import SAMPLER_REGISTRY  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

SAMPLER_REGISTRY["default"] = SAMPLER_REGISTRY["first_n"]


def hash_of(text):
    return hashlib.sha256(text.encode("utf-8")).digest()


class HashedModel(LM):
    """Answers by hashes of what it is asked."""

    def __init__(self):
        super().__init__()
        self.asked = {}

    def note(self, request, *texts):
        self.asked.setdefault(request.task_name, []).append(((request.doc_id, request.idx), texts))

    def loglikelihood(self, requests, **_):
        answers = []
        for request in requests:
            context, continuation = request.args
            self.note(request, context, continuation)
            digest = hash_of(f"{context}|{continuation}")
            answers.append((-int.from_bytes(digest[:2], "big") / 1024, digest[2] % 2 == 0))
        return answers

    def generate_until(self, requests, **_):
        answers = []
        for request in requests:
            context, settings = request.args
            self.note(request, context, json.dumps([settings["until"], settings.get("max_gen_toks", 256)], ensure_ascii=False))
            digest = hash_of(context)
            right = request.doc.get("target", request.doc.get("answer", "").split("#### ")[-1])
            # The right answer, another one, the right one in other words, or none.
            answers.append([
                f"So the answer is {right}.\n#### {right}",
                "So the answer is 41.\n#### 41",
                f"Perhaps {right}",
                f"the answer is\nthe answer is {right}. #### ${right}.",
            ][digest[0] % 4])
        return answers

    def loglikelihood_rolling(self, requests, **_):
        raise NotImplementedError


tasks = ["arc_easy", "arc_challenge", "hellaswag", "piqa", "winogrande", "lambada_openai", "gsm8k",
         "truthfulqa_mc1", "truthfulqa_mc2", "mmlu", "bbh", "humaneval"]
goldens = {}
for task in tasks:
    model = HashedModel()
    manager = TaskManager()
    results = lm_eval.simple_evaluate(
        model, tasks=[task], task_manager=manager, limit=count, num_fewshot=5 if task in ("mmlu", "gsm8k") else None,
        bootstrap_iters=0 if task == "lambada_openai" else 100000, confirm_run_unsafe_code=True)
    values = {**results["results"], **results.get("groups", {})}
    names = {}
    for name, metrics in values.items():
        names[name] = {}
        if name in model.asked:
            asked = [texts for _, texts in sorted(model.asked[name], key=lambda each: each[0])]
            names[name]["prompts"] = hash_of(json.dumps(asked, ensure_ascii=False, separators=(",", ":"))).hex()[:16]
        for key, value in metrics.items():
            if "," in key and "_stderr" not in key:
                error = metrics[key.replace(",", "_stderr,")]
                names[name][key.removesuffix(",none")] = [float(f"{each:.7g}") for each in (value, error) if each != "N/A"]
    goldens[task] = names
    print(task, len(names), flush=True)

made_by = f"scripts/goldens/lm_eval_tasks.py: lm-eval {lm_eval.__version__}, {count} questions of each task or subject"
parts = [f'  "{task}": {{\n' + ",\n".join(f'   "{name}": {json.dumps(value)}' for name, value in names.items()) + "\n  }"
         for task, names in goldens.items()]
with open(out_file, "w", encoding="utf-8") as file:
    file.write(f'{{\n "madeBy": {json.dumps(made_by)},\n "count": {count},\n "tasks": {{\n' + ",\n".join(parts) + "\n }\n}\n")
