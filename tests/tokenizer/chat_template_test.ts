import assert from "node:assert/strict";
import {
  type ChatMessage,
  ChatTemplate,
} from "../../src/tokenizer/chat_template.ts";

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
  "namespaces that hold each other twice": doubled(
    "[1]",
    "namespace(a=n.v, b=n.v)",
  ),
  "a long template": "a".repeat(300_000),
  "a long run of blanks": " ".repeat(2000),
};
for (const [name, source] of Object.entries(hostile)) {
  Deno.test(`${name} in a template is stopped at a limit`, () => {
    assert.throws(() => render(source), { name: "LimitError" });
  });
}

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

Deno.test("a thousand long messages stay within the limits", () => {
  const source = "{% for m in messages %}{% if loop.index0 > 0 and " +
    "messages[loop.index0 - 1].role == m.role %}{{ raise_exception('!') }}" +
    "{% endif %}{{ '[' + m.role + ']' + m.content | trim }}{% endfor %}";
  const long = Array.from({ length: 1000 }, (_, i) => ({
    role: i % 2 ? "assistant" : "user",
    content: "word ".repeat(200),
  }));
  assert.ok(render(source, long).length > 990_000);
});
