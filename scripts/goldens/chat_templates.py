"""Makes tests/tokenizer/goldens/chat_templates.json with Jinja, set up as Hugging Face's Transformers does.

    pip install jinja2==3.1.6 && python scripts/goldens/chat_templates.py

Needs ../shared beside the repository, and `deno task fetch:tokenizers`.
`cases`: fragments of templates and what they write, or null where they fail.
`large`: the SHA-256 of what the chat templates of common models write, for each of `contexts`.
"""

import hashlib
import json
import pathlib
from datetime import datetime

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

ROOT = pathlib.Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
LARGE = ROOT / ".cache/tokenizers"
OUT = ROOT / "tests/tokenizer/goldens/chat_templates.json"


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_write", []), [], [], body).set_lineno(line)

    @staticmethod
    def _write(caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)

given = json.loads((SHARED / "cases/templates.json").read_text())
CONTEXT = given["context"]

FRAGMENTS = (pathlib.Path(__file__).parent / "chat_templates.txt").read_text().split("\n---\n")

TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather \"now\"", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "a city"}, "days": {"type": "integer", "enum": [1, 2]}}, "required": ["city"]}}}]
CALL = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "id": "abcdefghi", "function": {"name": "get_weather", "arguments": {"city": "Köln", "days": 2}}}]}
CONTEXTS = [
    {"messages": [{"role": "user", "content": "Hi  there\n"}]},
    {"messages": [{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello"}, {"role": "user", "content": "Bye 😀"}]},
    {"messages": [{"role": "user", "content": "Weather?"}], "tools": TOOLS},
    {"messages": [{"role": "user", "content": "Weather?"}, CALL, {"role": "tool", "name": "get_weather", "content": "{\"t\": 3.5}"}], "tools": TOOLS, "enable_thinking": False},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "part"}]}], "add_generation_prompt": False},
    {"messages": [{"role": "assistant", "content": "odd"}, {"role": "assistant", "content": "turns"}]},
]


def render(template, context):
    try:
        return environment.from_string(template).render(**context)
    except Exception as error:
        return None


cases = [{"template": case["template"], "reference": case["reference"]} for case in given["cases"]]
known = {case["template"] for case in cases}
for fragment in FRAGMENTS:
    if fragment not in known:
        cases.append({"template": fragment, "reference": render(fragment, CONTEXT)})
for case in cases:
    if case["reference"] is not None and "strftime" not in case["template"]:
        assert render(case["template"], CONTEXT) == case["reference"], case

contexts = [{"tools": None, "documents": None, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>", **context} for context in CONTEXTS]
large = {}
for path in sorted(LARGE.glob("*/tokenizer_config.json")):
    template = json.loads(path.read_text()).get("chat_template")
    if isinstance(template, str):
        texts = [render(template, {**context, "strftime_now": lambda form: "26 Jul 2024"}) for context in contexts]
        large[path.parent.name] = [text if text is None else hashlib.sha256(text.encode()).hexdigest() for text in texts]

OUT.write_text(json.dumps({"context": CONTEXT, "cases": cases, "contexts": contexts, "large": large}, indent=1, ensure_ascii=False) + "\n")
