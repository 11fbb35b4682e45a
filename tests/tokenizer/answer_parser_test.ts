import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import fc from "fast-check";
import type { AnswerFormat, ChatEvent } from "../../src/tokenizer/answer.ts";
import { AnswerParser } from "../../src/tokenizer/answer_parser.ts";
import { ChatTemplate } from "../../src/tokenizer/chat_template.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import { rainTools, toolFamilies } from "./tool_templates.ts";

const user = { role: "user", content: "Will it rain?" };

/** How answers to a chat with tools are read. */
function formatOf(
  source: string,
  tools: typeof rainTools = rainTools,
  variables = {},
): AnswerFormat {
  const template = new ChatTemplate(source, { bos: "<s>", eos: "</s>" });
  const prompt = template.render([user], {
    variables: { ...variables, tools },
  });
  return template.answerFormat(prompt, tools);
}

/** What an answer in pieces was read as, pieces of the same joined. */
function parse(format: AnswerFormat, pieces: readonly string[]): ChatEvent[] {
  let count = 0;
  const parser = new AnswerParser(format, () => `id${count++}`);
  const events = pieces.flatMap((piece) => parser.push(piece));
  events.push(...parser.finish());
  const joined: ChatEvent[] = [];
  for (const event of events) {
    const last = joined.at(-1);
    if (last && "text" in last && "text" in event && last.type === event.type) {
      joined[joined.length - 1] = { ...last, text: last.text + event.text };
    } else joined.push(event);
  }
  return joined;
}

/** Reasoning, text and calls, each in one. */
function read(format: AnswerFormat, text: string) {
  const read = { reasoning: "", text: "", calls: [] as [string, unknown][] };
  for (const event of parse(format, [...text])) {
    switch (event.type) {
      case "reasoning":
      case "text":
        read[event.type] += event.text;
        break;
      case "toolCall":
        read.calls.push([event.name, ""]);
        break;
      case "arguments":
        read.calls[event.index][1] = JSON.parse(event.text);
    }
  }
  return read;
}

const rain: [string, unknown] = ["rain", { city: "Oslo", days: 2 }];
const stop: [string, unknown] = ["stop", {}];

for (const [name, { template, calls, two }] of Object.entries(toolFamilies)) {
  const format = formatOf(template);
  Deno.test(`calls are read as ${name} writes them`, () => {
    for (const call of calls) {
      const nothing = { reasoning: "", text: "" };
      assert.deepEqual(read(format, call), { ...nothing, calls: [rain] }, call);
    }
    if (two) assert.deepEqual(read(format, two).calls, [rain, stop]);
  });

  Deno.test(`an answer in ${name}'s form means the same in any pieces`, () => {
    const texts = [
      ...calls,
      ...two ? [two] : [],
      ...calls.map((call) => `Let me look.\n\n${call}\nDone, <b> {"a": 1}.`),
      ...calls.map((call) => call.slice(0, call.length >> 1)),
      ...calls.map((call) => call.replace("rain", "snow")),
    ];
    fc.assert(fc.property(
      fc.constantFrom(...texts),
      fc.array(fc.nat(300), { maxLength: 12 }),
      (text, cuts) => {
        const ends = [
          ...cuts.map((cut) => cut % (text.length + 1)),
          text.length,
        ]
          .sort((a, b) => a - b);
        const pieces = ends.map((end, i) => text.slice(ends[i - 1] ?? 0, end));
        const whole = parse(format, [text]);
        assert.deepEqual(parse(format, pieces), whole);
        assert.deepEqual(parse(format, [...text]), whole);
      },
    ));
  });

  Deno.test(`what is no call in ${name}'s form is text, and not a character is lost`, () => {
    if (format.hasChannels) return assert.equal(name, "gpt-oss");
    const parts = [
      ...calls.flatMap((call) => call.split(/(?<=[>\]}\n:])/)),
      ...["{", "}", "[", "]", "<", ">", '"', "\n", " ", "rain", "snow", ";"],
      ...['{"name": ', '"stop"', ', "arguments": {', "It rains. "],
    ];
    const noTool = { ...format, tools: new Map() };
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...parts), { maxLength: 30 }),
        (some) => {
          const text = some.join("");
          assert.deepEqual(
            parse(noTool, some),
            text === "" ? [] : [{ type: "text", text }],
          );
          // With tools that are there, all but the white space of what is no markup stays, in its order.
          const events = parse(format, some);
          assert.deepEqual(events, parse(format, [text]));
          const indices = events.filter(({ type }) => type === "toolCall");
          indices.forEach((event, i) =>
            assert.equal("index" in event && event.index, i)
          );
        },
      ),
      { numRuns: 300 },
    );
  });
}

Deno.test("text is held back no longer than it may be a call", () => {
  const format = formatOf(toolFamilies.hermes.template);
  const parser = new AnswerParser(format);
  const shown = (text: string) =>
    parser.push(text).map((event) => "text" in event ? event.text : event.type);
  assert.deepEqual(shown("It "), ["It"]);
  assert.deepEqual(shown("is <"), [" is"]);
  assert.deepEqual(shown("b>"), [" <b>"]);
  assert.deepEqual(shown("<tool"), []);
  assert.deepEqual(shown("s>"), ["<tools>"]);
  assert.deepEqual(shown("<tool_call>"), []);
  assert.deepEqual(shown("\n{"), []);
  assert.deepEqual(shown('"name": "rai'), []);
  assert.deepEqual(shown('n", "arguments": '), []);
  assert.deepEqual(shown('{"ci'), ["toolCall", '{"ci']);
  assert.deepEqual(shown('ty": "}'), ['ty": "}']);
  assert.deepEqual(shown('"}'), ['"}', "toolCallEnd"]);
  assert.deepEqual(shown("}</tool_call>"), []);
  assert.deepEqual(parser.finish(), []);
});

Deno.test("a call that ends with the answer has the arguments that came, and no end", () => {
  const format = formatOf(toolFamilies.hermes.template);
  const text = '<tool_call>\n{"name": "rain", "arguments": {"city": "Os';
  assert.deepEqual(parse(format, [text]), [
    { type: "toolCall", index: 0, id: "id0", name: "rain" },
    { type: "arguments", index: 0, text: '{"city": "Os' },
  ]);
});

Deno.test("values between tags are what the schema says, or what they look like", () => {
  const value = (text: string, schema: Record<string, unknown>) => {
    const parameters = { type: "object", properties: { city: schema } };
    const tools = [{
      type: "function",
      function: { name: "rain", parameters },
    }];
    const format = formatOf(
      toolFamilies["qwen coder"].template,
      tools as unknown as typeof rainTools,
    );
    const call =
      `<tool_call>\n<function=rain>\n<parameter=city>\n${text}\n</parameter>\n</function>\n</tool_call>`;
    const [[, { city }]] = read(format, call).calls as [
      [string, { city: unknown }],
    ];
    return city;
  };
  const text = { type: "string" };
  assert.equal(value("12", text), "12");
  assert.equal(value(' "a"\n\n</b>\\ \t', text), ' "a"\n\n</b>\\ \t');
  assert.equal(value("", text), "");
  assert.equal(value("1", { enum: ["1", "2"] }), "1");
  assert.equal(value("12", { type: "integer" }), 12);
  assert.deepEqual(value("[1, {}]", { type: "array" }), [1, {}]);
  assert.equal(value("True", { type: "boolean" }), true);
  assert.equal(value("None", { type: ["string", "null"] }), null);
  assert.equal(value("Oslo", { type: ["string", "null"] }), "Oslo");
  assert.equal(value("Oslo", { type: "integer" }), "Oslo");
  assert.equal(value("2 < 3", {}), "2 < 3");
});

const thinking = "{% for m in messages %}{{ m.content }}{% endfor %}" +
  "{% if enable_thinking %}<think>\n{% endif %}{# </think> #}";

Deno.test("reasoning is told from the answer", () => {
  const format = formatOf(thinking, []);
  const both = {
    reasoning: "I'm\nthinking",
    text: "Hello, world!\nHow?",
    calls: [],
  };
  const answer = "I'm\nthinking\n</think>\n\nHello, world!\nHow?";
  assert.deepEqual(read(format, `<think>\n${answer}`), both);
  assert.deepEqual(read(format, `\n<think>${answer}`), both);
  const plain = "\n Hello <think> </think>";
  assert.deepEqual(read(format, plain), {
    reasoning: "",
    text: plain,
    calls: [],
  });
  const open = formatOf(thinking, [], { enable_thinking: true });
  assert.deepEqual(read(open, answer), both);
  assert.deepEqual(read(open, `<think>${answer}`), both);
  assert.deepEqual(read(open, "</think>\n\nHi"), {
    reasoning: "",
    text: "Hi",
    calls: [],
  });
  assert.deepEqual(read(open, "Hm <"), {
    reasoning: "Hm <",
    text: "",
    calls: [],
  });
});

Deno.test("reasoning passes on as it comes, but for what may be its end", () => {
  const parser = new AnswerParser(
    formatOf(thinking, [], { enable_thinking: true }),
  );
  const shown = (text: string) => parser.push(text);
  assert.deepEqual(shown("\nOne "), [{ type: "reasoning", text: "One" }]);
  assert.deepEqual(shown("two </th"), [{ type: "reasoning", text: " two" }]);
  assert.deepEqual(shown("ree"), [{ type: "reasoning", text: " </three" }]);
  assert.deepEqual(shown(" </think>"), []);
  assert.deepEqual(shown("\n\nFour"), [{ type: "text", text: "Four" }]);
});

Deno.test("a call on its own line ends reasoning; one that is talked of does not", () => {
  const template = `${toolFamilies.hermes.template}<think>{# </think> #}`;
  const format = formatOf(template);
  const [call] = toolFamilies.hermes.calls;
  assert.deepEqual(read(format, `Look first.\n${call}`), {
    reasoning: "Look first.",
    text: "",
    calls: [rain],
  });
  assert.deepEqual(
    read(format, `I could say ${call}, or not.</think>${call}`),
    {
      reasoning: `I could say ${call}, or not.`,
      text: "",
      calls: [rain],
    },
  );
});

/** What llama.cpp reads these answers of gpt-oss as. */
const channels: [text: string, reasoning: string, content: string][] = [
  [
    "<|channel|>final<|message|>Hello, world!\nWhat's up?",
    "",
    "Hello, world!\nWhat's up?",
  ],
  ["<|channel|>commentary<|message|>Hello", "", "Hello"],
  [
    "<|channel|>analysis<|message|>I'm\nthinking<|end|><|start|>assistant<|channel|>final<|message|>Hello",
    "I'm\nthinking",
    "Hello",
  ],
  ["<|channel|>analysis<|message|>I'm\nthinking", "I'm\nthinking", ""],
  [
    "<|channel|>commentary to=assistant<|channel|>analysis<|message|>I'm\nthinking<|end|><|start|>assistant<|channel|>final<|message|>Hello",
    "I'm\nthinking",
    "Hello",
  ],
  [
    "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>{}",
    "Hm",
    "{}",
  ],
  ["No channel at all", "", "No channel at all"],
];

Deno.test("gpt-oss's channels are told apart", () => {
  const format = formatOf(toolFamilies["gpt-oss"].template);
  for (const [text, reasoning, content] of channels) {
    assert.deepEqual(read(format, text), {
      reasoning,
      text: content,
      calls: [],
    });
    for (let cut = 0; cut < text.length; cut++) {
      assert.deepEqual(
        parse(format, [text.slice(0, cut), text.slice(cut)]),
        parse(format, [text]),
      );
    }
  }
  const thought = "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant";
  for (const call of toolFamilies["gpt-oss"].calls) {
    const both = { reasoning: "Hm", text: "", calls: [rain] };
    assert.deepEqual(read(format, thought + call), both);
  }
});

/** Answers in the form of models whose templates are public, and whether these make several calls. */
const published: Record<string, [family: string, thinks: boolean]> = {
  qwen3: ["hermes", true],
  llama3_1: ["no tools", false],
  deepseek_v3: ["deepseek", false],
  gemma3: ["no tools", false],
  llama3: ["no tools", false],
};

for (const [name, [family, thinks]] of Object.entries(published)) {
  const file = new URL(
    `../../.cache/tokenizers/${name}/tokenizer_config.json`,
    import.meta.url,
  );
  testNeeding(needs.tokenizers, existsSync(file), {
    name: `${name}'s template says how its calls are read`,
    fn: () => {
      const { chat_template } = JSON.parse(Deno.readTextFileSync(file));
      const format = formatOf(chat_template);
      const { calls, two } = toolFamilies[family];
      for (const call of calls) {
        assert.deepEqual(read(format, call).calls, [rain]);
      }
      if (two) assert.deepEqual(read(format, two).calls, [rain, stop]);
      assert.equal(format.reasoning !== undefined, thinks);
    },
  });
}
