import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import fc from "fast-check";
import { CulmError } from "../../src/errors.ts";
import type { ChatMessage } from "../../src/tokenizer/chat_message.ts";
import { ChatTemplate } from "../../src/tokenizer/chat_template.ts";
import { JinjaTemplate } from "../../src/tokenizer/jinja/template.ts";
import { formatTime } from "../../src/tokenizer/jinja/time.ts";
import { Callable } from "../../src/tokenizer/jinja/values.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import goldens from "./goldens/chat_templates.json" with { type: "json" };

const chat: ChatMessage[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "Hi" },
];
const tokens = { bos: "<s>", eos: "</s>" };
const render = (source: string, messages = chat) =>
  new ChatTemplate(source, tokens).render(messages);

Deno.test("chats are ChatML where the file has no template", () => {
  const template = new ChatTemplate(undefined);
  const text = "<|im_start|>system\nBe brief.<|im_end|>\n" +
    "<|im_start|>user\nHi<|im_end|>\n";
  assert.equal(template.render(chat), `${text}<|im_start|>assistant\n`);
  assert.equal(template.render(chat, { addGenerationPrompt: false }), text);
});

Deno.test("a template sees messages, BOS, EOS and more variables", () => {
  const template = new ChatTemplate(
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m.content | trim }}" +
      "{{ eos_token }}{% endfor %}{% if thinking %}<think>{% endif %}",
    tokens,
  );
  const text = template.render([{ role: "user", content: " Hi " }], {
    variables: { thinking: true },
  });
  assert.equal(text, "<s>[user] Hi</s><think>");
});

Deno.test("blocks are trimmed as Transformers does", () => {
  const source = "{% for m in messages %}\n  {% if true %}\n{{ m.content }}\n" +
    "  {% endif %}\n{% endfor %}\n";
  assert.equal(render(source), "Be brief.\nHi\n");
});

Deno.test("a template can ask for the date", () => {
  const text = render("{{ strftime_now('%Y-%m-%d %H:%M %B %%') }}");
  assert.match(text, /^\d{4}-\d\d-\d\d \d\d:\d\d [A-Z][a-z]+ %$/);
});

Deno.test("range counts as Python's does", () => {
  const list = (call: string) => render(`{{ ${call} | join(',') }}`);
  assert.equal(list("range(3)"), "0,1,2");
  assert.equal(list("range(1, 7, 2)"), "1,3,5");
  assert.equal(list("range(3, 0, -1)"), "3,2,1");
  assert.equal(list("range(3, 0)"), "");
});

Deno.test("what a template refuses is the caller's error, in one line", () => {
  assert.throws(
    () => render("{{ raise_exception('Roles must\nalternate') }}"),
    {
      name: "UsageError",
      message: "Cannot write the chat: Roles must alternate",
    },
  );
});

Deno.test("a damaged template is an error when it is used, not before", () => {
  for (const source of ["{% if %}", "{{ 'a' ", "{% for x in y %}", "{{ ("]) {
    const template = new ChatTemplate(source);
    assert.throws(() => template.render(chat), {
      name: "FormatError",
      message: /^Cannot read the chat template: [^\n]+$/,
    });
  }
});

Deno.test("a template that needs what is not known says so", () => {
  for (const source of ["{{ 'a' | nothing }}", "{{ missing(1) }}"]) {
    assert.throws(() => render(source), {
      name: "UnsupportedError",
      message: /^Cannot write the chat: [^\n]+$/,
    });
  }
});

Deno.test("a template cannot reach JavaScript", () => {
  const source = "{{ messages.constructor }}{{ 'a'.constructor }}" +
    "{{ messages[0].__proto__ }}{{ messages[0]['constructor'] }}";
  assert.equal(render(source), "");
});

const doubled = (first: string, next: string) =>
  `{% set n = namespace(v=${first}) %}{% for i in range(60) %}` +
  `{% set n.v = ${next} %}{% endfor %}{{ n.v | tojson | length }}`;

const hostile: Record<string, string> = {
  "a long range": "{% for i in range(10 ** 9) %}a{% endfor %}",
  "a text that doubles": doubled("'aaaa'", "n.v ~ n.v"),
  "a list that doubles": doubled("[1]", "n.v + n.v"),
  "a list that holds itself twice": doubled("[1]", "[n.v, n.v]"),
  "dictionaries that hold each other twice": doubled(
    "[1]",
    "{'a': n.v, 'b': n.v}",
  ),
  "a long template": "a".repeat(300_000),
};
for (const [name, source] of Object.entries(hostile)) {
  Deno.test(`${name} in a template is stopped at a limit`, () => {
    assert.throws(() => render(source), { name: "LimitError" });
  });
}

/** Sets `a` to a text of 4 million characters, which costs little. */
const long = (part: string) =>
  `{% set n = namespace(v='${part}') %}{% for i in range(20) %}` +
  "{% set n.v = n.v ~ n.v %}{% endfor %}{% set a = n.v %}";
const many = (statement: (i: number) => string) =>
  Array.from({ length: 2000 }, (_, i) => statement(i)).join("");
const unlike = "{% set p = a[:10000] ~ 'b' ~ a[:10000] %}";
const work = /reads and makes more than 268435456 characters/;
/** What slow machines are stopped by before that. */
const workOrTime =
  /reads and makes more than 268435456 characters|has not ended after 3000 ms/;

/** Each would make more than a text can hold, gigabytes, or minutes of work, in one call. */
const bombs: Record<string, [source: string, message: RegExp]> = {
  "the filter replace": [
    `${long("aaaa")}{{ a | replace('a', a) }}`,
    /a text of size 17592186044416/,
  ],
  "the method replace": [
    `${long("aaaa")}{{ a.replace('a', a) }}`,
    /a text of size 17592186044416/,
  ],
  "replace between characters": [
    `${long("aaaa")}{{ a['replace']('', 'a' ~ a[:999]) }}`,
    /a text of size 4198499304/,
  ],
  "a wide indent": [
    "{{ 'a' | indent(10 ** 9, true) }}",
    /a text of size 1000000001/,
  ],
  "an indent of many lines": [
    `${long("\n\n\n\n")}{{ a | indent(width=1000, blank=true) }}`,
    /a text of size 4198499304/,
  ],
  "JSON with a wide indent": [
    "{{ [] | tojson(indent=10 ** 9) }}",
    /a text of size 1000000000/,
  ],
  "a wide number": ["{{ '%1000000000d' % 1 }}", /a text of size 1000000000/],
  "a wide field": [
    "{{ '{:1000000000}'.format(1) }}",
    /a text of size 1000000000/,
  ],
  "a text that is centred": [
    "{{ 'a'.center(10 ** 9) }}",
    /a text of size 1000000000/,
  ],
  "wide tabs": [
    `${long("\t\t\t\t")}{{ a.expandtabs(1000) }}`,
    /a text of size 4194304000/,
  ],
  "a text many times": [
    `${long("aaaa")}{{ a * 1000 }}`,
    /a text of size 4194304000/,
  ],
  "names without an end": [`${long("%(%(")}{{ a % 1 }}`, work],
  "a list many times": ["{{ [1] * 10 ** 9 }}", /a list of size 1000000000/],
  "many slices": ["{{ [1] | slice(10 ** 9) }}", /a list of size 1000000000/],
  "JSON with long separators": [
    `${long("aaaa")}{% set s = a[:10 ** 6] %}` +
    "{{ range(1000) | tojson(separators=[s, s]) }}",
    /a text of size \d+/,
  ],
  "join": [
    `${long("aaaa")}{{ range(1000) | join(a) }}`,
    /a text of size 4194304000/,
  ],
  "join, its argument in a list": [
    `${long("aaaa")}{{ range(1000) | join(*[a]) }}`,
    /a text of size 4194304000/,
  ],
  "long keys": [
    `${long("aaaa")}{% set d = {a: 1} %}{{ [${"d,".repeat(200)}] | tojson }}`,
    /a text of size \d+/,
  ],
  "a filter of a block": [
    `${long("aaaa")}{% filter length %}${"{{ a }}".repeat(100)}` +
    "{% endfilter %}",
    /a text of size 419430400/,
  ],
  "loops in one another": [
    "{% for i in range(131000) %}".repeat(100) + "{% endfor %}".repeat(100),
    /loops over lists of size 655000/,
  ],
  "many long texts": [
    long("aaaa") + many((i) => `{% set x${i} = a | upper %}`),
    workOrTime,
  ],
  "many long lists": [
    many((i) => `{% set x${i} = range(131000) %}`),
    workOrTime,
  ],
  "many lists as texts": [
    long("aaaa") + "{% set l = [a[:2000000], a[:2000000]] %}" +
    many((i) => `{% set x${i} = l ~ '' %}`),
    workOrTime,
  ],
  "many lists that are written": [
    long("aaaa") + "{% set l = [a[:2000000], a[:2000000]] %}" +
    many(() => "{{ l }}"),
    workOrTime,
  ],
  "a long text in another": [`${long("aaaa")}${unlike}{{ p in a }}`, work],
  "a text split at a long one": [
    `${long("aaaa")}${unlike}{{ a.split(p) }}`,
    work,
  ],
  "a text split into many": [
    `${long("aaaa")}{{ a.split('a') | length }}`,
    /a list of size 4194304/,
  ],
  "a text split into many words": [
    `${long("a b ")}{{ a.split() | length }}`,
    /a list of size 2097152/,
  ],
};
for (const [name, [source, message]] of Object.entries(bombs)) {
  Deno.test(`${name} is measured before it runs`, () => {
    assert.throws(() => render(source), { name: "LimitError", message });
  });
}

Deno.test("a path of many names ends where there is nothing", () => {
  for (const filter of ["map", "sort"]) {
    const source = `${long("a.a.")}{{ [${
      "{},".repeat(200)
    }] | ${filter}(attribute=a) }}`;
    assert.throws(() => render(source), {
      name: "UnsupportedError",
      message: /has no attribute 'a', which is undefined/,
    });
  }
});

Deno.test("300,000 dates are written as fast as their text", () => {
  const loop = "{% set n = namespace(v='%B%A') %}{% for i in range(17) %}" +
    "{% set n.v = n.v ~ n.v %}{% endfor %}";
  const start = performance.now();
  const text = render(`${loop}{{ strftime_now(n.v) }}`);
  assert.match(text, /^(?<day>[A-Z][a-z]+[A-Z][a-z]+)\k<day>+$/);
  assert.ok(text.length > 131072 * 9);
  assert.ok(performance.now() - start < 3000);
});

Deno.test("what measures leaves results as they are", () => {
  const same: Record<string, string> = {
    "{{ 'a-b' | replace('-', '+') }}{{ 'aaa'.replace('a', 'b', 2) }}": "a+bbba",
    "{{ ['x', 'y'] | join(', ') }}{{ 'ab' | join('-') }}": "x, ya-b",
    "{{ 'a\nb' | indent(2) }}{{ 'c' | indent(1, true) }}": "a\n  b c",
    "{{ {'a': [1]} | tojson(indent=2) }}": '{\n  "a": [\n    1\n  ]\n}',
    "{{ [1, 2] | tojson(separators=[',', ':']) }}": "[1,2]",
    "{{ 'a b  c'.split() | join('|') }}{{ 'a,b'.split(',')[-1] }}": "a|b|cb",
    "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}":
      "1",
    "{{ messages | map(attribute='role') | join(' ') }}": "system user",
    "{{ 'b' in 'abc' }}{{ 'x' not in ['y'] }}{{ 'a' == 'a' }}": "TrueTrueTrue",
    "{{ missing is defined }}{{ 'A' is upper }}": "FalseTrue",
    "{% filter upper %}a{% set x = 'b' %}{% endfilter %}{{ x }}": "A",
    "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}":
      "Hi",
    "{{ 'abc'[::-1] }}{{ [1, 2, 3][1:] | length }}{{ 'abc'[1] }}": "cba2b",
    "{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(x='a') | replace('<', '[') }}":
      "[a>",
  };
  for (const [source, text] of Object.entries(same)) {
    assert.equal(render(source), text, source);
  }
});

Deno.test("a template that does not end is stopped", () => {
  const now = performance.now;
  let time = 0;
  performance.now = () => time++;
  try {
    const loop = "{% for i in range(99) %}";
    const end = "{% endfor %}";
    assert.throws(() => render(loop.repeat(9) + end.repeat(9)), {
      name: "LimitError",
      message: /has not ended after 3000 ms/,
    });
    assert.ok(time < 4000);
  } finally {
    performance.now = now;
  }
});

Deno.test("deep nesting is a typed error", () => {
  assert.throws(() => render("{{ " + "(".repeat(50_000)), {
    name: "FormatError",
  });
  const endless = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}";
  assert.throws(() => render(endless), { name: "UnsupportedError" });
});

Deno.test("many and long messages stay within the limits", () => {
  const source = "{% for m in messages %}{% if loop.index0 > 0 and " +
    "messages[loop.index0 - 1].role == m.role %}{{ raise_exception('!') }}" +
    "{% endif %}{{ '[' + m.role + ']' + m.content | trim }}{% endfor %}";
  const long = Array.from({ length: 1000 }, (_, i) => ({
    role: i % 2 ? "assistant" : "user",
    content: "word ".repeat(200),
  }));
  assert.ok(render(source, long).length > 990_000);
  const many = Array.from({ length: 20_000 }, () => chat[1]);
  const last =
    "{% for m in messages %}{% if loop.index == messages | length %}" +
    "{{ messages | last | tojson }}{% endif %}{% endfor %}";
  assert.equal(render(last, many), '{"role": "user", "content": "Hi"}');
});

for (const [i, { template, reference }] of goldens.cases.entries()) {
  Deno.test(`fragment ${i} of a template is written as Transformers does: ${template.slice(0, 50)}`, () => {
    const render = () => new JinjaTemplate(template).render(goldens.context);
    if (reference !== null) assert.equal(render(), reference);
    // What Python refuses, too.
    else assert.throws(render, (error) => error instanceof CulmError);
  });
}

for (const [name, expected] of Object.entries(goldens.large)) {
  const file = new URL(
    `../../.cache/tokenizers/${name}/tokenizer_config.json`,
    import.meta.url,
  );
  testNeeding(needs.tokenizers, existsSync(file), {
    name: `${name}'s chat template writes what Transformers writes`,
    fn: () => {
      const config = JSON.parse(Deno.readTextFileSync(file));
      const template = new JinjaTemplate(config.chat_template);
      goldens.contexts.forEach((context, i) => {
        const render = () =>
          template.render({
            ...context,
            strftime_now: new Callable("strftime_now", () => "26 Jul 2024"),
          });
        if (expected[i] === null) {
          assert.throws(render, (error) => error instanceof CulmError);
        } else {
          const hash = createHash("sha256").update(render()).digest("hex");
          assert.equal(hash, expected[i]);
        }
      });
    },
  });
}

Deno.test("any template is written within its limits or refused by a typed error", () => {
  const parts = fc.constantFrom(
    ...["{{ ", " }}", "{% ", " %}", "{# ", "#}", "{%- ", "-%}", "if ", "endif"],
    ...["for x in ", "endfor", "set x = ", "macro f(x)", "endmacro", "else"],
    ...["messages", "x", "loop", "'a'", "1", "1.5", "none", "(", ")", "[", "]"],
    ...["{", "}", ".", "|", " ~ ", " + ", " * ", " is ", " in ", " not ", ":"],
    ...[
      ",",
      "join",
      "tojson",
      "map",
      "split",
      "format",
      "defined",
      "'%s'",
      "\n",
    ],
  );
  fc.assert(
    fc.property(fc.array(parts, { maxLength: 30 }), (parts) => {
      try {
        render(parts.join(""));
      } catch (error) {
        assert.ok(error instanceof CulmError, String(error));
      }
    }),
    { numRuns: 3000, seed: 4 },
  );
});

Deno.test("dates are written as Python's strftime does", () => {
  const time = new Date(2026, 0, 4, 15, 7, 9, 42);
  const written: Record<string, string> = {
    "%Y-%m-%d %H:%M:%S": "2026-01-04 15:07:09",
    "%-d|%e|%_d|%-m|%-H|%-I": "4| 4| 4|1|15|3",
    "%F %T %R %D": "2026-01-04 15:07:09 15:07 01/04/26",
    "%I:%M %p %P": "03:07 PM pm",
    "%j|%-j|%y|%C": "004|4|26|20",
    "%a %A %b %B %h %^a": "Sun Sunday Jan January Jan SUN",
    "%u %w %U %W %V %G %g": "7 0 01 00 01 2026 26",
    "%f|%z|%Z|%%|%n": "042000|||%|\n",
    "%c": "Sun Jan  4 15:07:09 2026",
    "%x %X %r": "01/04/26 15:07:09 03:07:09 PM",
    "%Q %": "%Q %",
  };
  for (const [format, text] of Object.entries(written)) {
    assert.equal(formatTime(time, format), text, format);
  }
  const last = formatTime(new Date(2027, 0, 2), "%V %G %U %W %j");
  assert.equal(last, "53 2026 00 00 002");
});

Deno.test("a template sees that there are no tools and documents", () => {
  const source =
    "{{ tools is none }}{{ documents is none }}{{ more is defined }}";
  assert.equal(render(source), "TrueTrueFalse");
  const template = new ChatTemplate("{{ tools | length }}");
  assert.equal(template.render(chat, { variables: { tools: [1] } }), "1");
});
