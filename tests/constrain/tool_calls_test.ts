import assert from "node:assert/strict";
import { makeConstraint } from "../../src/constrain/constraint.ts";
import {
  answerPattern,
  type ToolDemand,
} from "../../src/constrain/tool_calls.ts";
import type { JsonObject } from "../../src/formats/json.ts";
import type { AnswerFormat } from "../../src/tokenizer/answer.ts";
import { ChatTemplate } from "../../src/tokenizer/chat_template.ts";
import { byteTokenizer } from "../helpers/byte_tokenizer.ts";
import { rainTools, toolFamilies } from "../tokenizer/tool_templates.ts";
import { accepts } from "./accepts.ts";

const user = { role: "user", content: "Will it rain?" };

function formatOf(source: string, variables = {}): AnswerFormat {
  const template = new ChatTemplate(source);
  const all = { variables: { ...variables, tools: rainTools } };
  return template.answerFormat(template.render([user], all), rainTools);
}

/** The tags in these texts. */
const tagsOf = (texts: readonly string[]) => [
  ...new Set(
    texts.flatMap((text) =>
      text.match(/<[|｜]?[\w/▁｜:|]+>|\[\/?[A-Z_]+\]/g) ?? []
    ),
  ),
];

const auto: ToolDemand = {
  choice: "auto",
  isParallel: true,
  strict: new Set(),
};
const required: ToolDemand = { ...auto, choice: "required" };

for (const [name, family] of Object.entries(toolFamilies)) {
  const format = formatOf(family.template);
  // gpt-oss is held to one of the forms that it writes, whose end is no text.
  const call = format.hasChannels ? family.calls[1] : family.calls[0].trim();
  /** Two calls in one answer, in the forms that have them */
  const twos = name === "llama 3" || !family.two ? [] : [family.two.trim()];
  const wrong = [
    call.replace("2", '"two"').replace('>"two"<', ">two<")
      .replace('\n"two"\n', "\ntwo\n"),
    call.replace("rain", "snow"),
    call.replaceAll("days", "nights"),
  ];
  const tags = tagsOf([call, ...twos]);
  for (const special of [false, true]) {
    const tokenizer = byteTokenizer(["ab", " the", '": '], special ? tags : []);
    const held = (demand: ToolDemand, of = format) =>
      makeConstraint(tokenizer, answerPattern(of, demand)!);
    const form = `${name}'s ${special ? "special tokens" : "tags"}`;

    Deno.test(`what must be a call is one, in ${form}`, async () => {
      using one = await held(required);
      using single = await held({ ...required, isParallel: false });
      using named = await held({ ...auto, choice: { name: "stop" } });
      using unsaid = await held({ ...required, isParallel: undefined });
      const takes = (constraint: typeof one, text: string) =>
        accepts(constraint, tokenizer, text, true);
      assert.ok(takes(one, call), call);
      assert.ok(takes(single, call));
      assert.ok(!takes(named, call));
      for (const text of ["", "It rains.", ...wrong]) {
        assert.ok(!takes(one, text), text);
      }
      for (const both of twos) {
        assert.ok(takes(one, both), both);
        assert.ok(!takes(single, both));
        // A model whose template knows no calls makes one at a time.
        assert.equal(takes(unsaid, both), name !== "no tools");
      }
    });

    if (format.hasChannels) continue;
    Deno.test(`text is free up to a call, in ${form}`, async () => {
      using free = await held(auto);
      using single = await held({ ...auto, isParallel: false });
      const takes = (constraint: typeof free, text: string) =>
        accepts(constraint, tokenizer, text, true);
      const isBare = name === "llama 3";
      const around = isBare ? call : `I ask.\n\n${call}\nNow <a>, {b} [C]: `;
      for (const text of ["", "It rains, <b>{}</b> <", call, around]) {
        assert.ok(takes(free, text), text);
        assert.ok(takes(single, text), text);
      }
      for (const text of wrong) {
        assert.ok(!takes(free, text), text);
        if (!isBare) assert.ok(!takes(free, `I ask. ${text}`), text);
      }
      for (const both of twos) {
        assert.ok(takes(free, both), both);
        assert.ok(takes(free, `${both} and`), both);
        assert.ok(!takes(single, both));
      }
    });
  }
}

const { template, calls: [call] } = toolFamilies.hermes;
const thinking =
  `${template}{% if enable_thinking %}<think>\n{% endif %}{# </think> #}`;

Deno.test("reasoning before a call is free", async () => {
  for (const tags of [[], ["<think>", "</think>"]]) {
    const tokenizer = byteTokenizer(["ab", "<tool"], tags);
    const takes = async (demand: ToolDemand, text: string, isOpen: boolean) => {
      const format = formatOf(thinking, { enable_thinking: isOpen });
      const pattern = answerPattern(format, demand)!;
      using constraint = await makeConstraint(tokenizer, pattern);
      return accepts(constraint, tokenizer, text, true);
    };
    const thought = `Hm, {"a": <b>\n</think>\n\n${call}`;
    for (const demand of [auto, required]) {
      assert.ok(await takes(demand, thought, true));
      assert.ok(await takes(demand, `<think>\n${thought}`, false));
      assert.ok(await takes(demand, call, false));
      assert.ok(!await takes(demand, `${thought}<tool_call>`, true));
    }
    assert.ok(!await takes(required, "Hm.</think>It rains.", true));
    assert.ok(await takes(auto, "Hm.</think>It rains.", true));
    assert.ok(!await takes(required, "<think>Hm.</think>", false));
  }
});

Deno.test("reasoning before an answer that is held to something is free", async () => {
  const tokenizer = byteTokenizer(["ab"], ["<|end|>"]);
  const takes = async (format: AnswerFormat, text: string) => {
    const said = { schema: { type: "integer" } };
    const pattern = answerPattern({ ...format, tools: new Map() }, auto, said)!;
    using constraint = await makeConstraint(tokenizer, pattern);
    return accepts(constraint, tokenizer, text, true);
  };
  const open = formatOf(thinking, { enable_thinking: true });
  assert.ok(await takes(open, "So 7 or 8.\n</think>\n\n8"));
  assert.ok(!await takes(open, "So 7 or 8.\n</think>\n\nabout 8"));
  const may = formatOf(thinking);
  assert.ok(await takes(may, "8"));
  assert.ok(await takes(may, "<think>\n7?</think>8"));
  assert.ok(!await takes(may, "a"));
  const plain = formatOf(template);
  assert.ok(await takes(plain, "8"));
  assert.ok(!await takes(plain, "<think>7?</think>8"));
  const channels = formatOf(toolFamilies["gpt-oss"].template);
  const final = "<|channel|>final<|message|>";
  assert.ok(await takes(channels, `${final}8`));
  assert.ok(
    await takes(
      channels,
      `<|channel|>analysis<|message|>7?<|end|><|start|>assistant${final}8`,
    ),
  );
  assert.ok(!await takes(channels, `${final}eight`));
});

Deno.test("an answer without tools is held to nothing", () => {
  const format = { ...formatOf(template), tools: new Map() };
  assert.equal(answerPattern(format, auto), undefined);
  const { tools: _, ...rest } = formatOf(template);
  assert.equal(
    answerPattern({ ...rest, calls: undefined, tools: new Map() }, required),
    undefined,
  );
});

Deno.test("what is said beside calls may be held to something", async () => {
  for (const family of [toolFamilies.hermes, toolFamilies["gpt-oss"]]) {
    const tokenizer = byteTokenizer(["ab"], ["<|end|>"]);
    const format = formatOf(family.template);
    const pattern = answerPattern(format, auto, {
      schema: { type: "integer" },
    });
    using constraint = await makeConstraint(tokenizer, pattern!);
    const takes = (text: string) => accepts(constraint, tokenizer, text, true);
    const final = format.hasChannels ? "<|channel|>final<|message|>" : "";
    assert.ok(takes(`${final}8`));
    assert.ok(takes(family.calls[format.hasChannels ? 1 : 0]));
    assert.ok(!takes(`${final}eight`));
  }
});

Deno.test("of a tool's schema what is not supported is left out, or refused where it is strict", async () => {
  const tokenizer = byteTokenizer([], []);
  const parameters = {
    type: "object",
    properties: { a: { type: "integer" }, b: { not: {} } },
    required: ["a"],
    additionalProperties: false,
  };
  const tools = new Map([["rain", parameters]]);
  for (
    const { template } of [toolFamilies.hermes, toolFamilies["qwen coder"]]
  ) {
    const format = { ...formatOf(template), tools };
    const strict = { ...required, strict: new Set(["rain"]) };
    await assert.rejects(
      makeConstraint(tokenizer, answerPattern(format, strict)!),
      { name: "UnsupportedError", message: /not/ },
    );
    const loose = answerPattern(format, required)!;
    using constraint = await makeConstraint(tokenizer, loose);
    const takes = (a: string) =>
      accepts(
        constraint,
        tokenizer,
        format.calls?.call.kind === "object"
          ? `<tool_call>\n{"name": "rain", "arguments": {"a": ${a}, "b": [1]}}\n</tool_call>`
          : `<tool_call>\n<function=rain>\n<parameter=a>\n${a}\n</parameter>\n<parameter=b>\n[1]\n</parameter>\n</function>\n</tool_call>`,
      );
    assert.ok(takes("1"));
    assert.ok(!takes('"1"'));
  }
});

Deno.test("arguments are those that a tool's schema names, unless it says something of others", async () => {
  const tokenizer = byteTokenizer([], []);
  const format = formatOf(template);
  const takes = async (parameters: JsonObject, given: string, strict = "") => {
    const tools = new Map([["rain", parameters]]);
    const demand = { ...required, strict: new Set([strict]) };
    const pattern = answerPattern({ ...format, tools }, demand)!;
    using constraint = await makeConstraint(tokenizer, pattern);
    const call = `{"name": "rain", "arguments": ${given}}`;
    const text = `<tool_call>\n${call}\n</tool_call>`;
    return accepts(constraint, tokenizer, text);
  };
  const properties = { a: { type: "integer" } };
  const more = '{"a": 1, "b": 2}';
  assert.ok(await takes({ properties }, '{"a": 1}'));
  assert.ok(!await takes({ properties }, more));
  assert.ok(!await takes({ properties, required: ["a"] }, more));
  assert.ok(!await takes({ properties: {} }, more));
  assert.ok(
    !await takes({ properties: { ...properties, c: { not: {} } } }, more),
  );
  for (
    const schema of [
      {},
      { properties, additionalProperties: true },
      { properties, additionalProperties: { type: "integer" } },
      { properties, patternProperties: { "^b$": { type: "integer" } } },
      { properties, required: ["b"] },
      { allOf: [{ properties }] },
      { properties, anyOf: [{ properties: { b: true } }] },
    ]
  ) assert.ok(await takes(schema, more), JSON.stringify(schema));
  assert.ok(await takes({ properties }, more, "rain"));
});

Deno.test("values between tags are held to their schemas", async () => {
  const format = formatOf(toolFamilies["qwen coder"].template);
  const tokenizer = byteTokenizer(["ab"], []);
  const takes = async (schema: unknown, value: string, given = {}) => {
    const parameters = { properties: { a: schema }, required: ["a"], ...given };
    const tools = new Map([["rain", parameters]]);
    const pattern = answerPattern({ ...format, tools }, required)!;
    using constraint = await makeConstraint(tokenizer, pattern);
    const call = `<tool_call>\n<function=rain>\n${
      value && `<parameter=a>\n${value}\n</parameter>\n`
    }</function>\n</tool_call>`;
    return accepts(constraint, tokenizer, call);
  };
  const text = { type: "string" };
  assert.ok(await takes(text, 'a "b"\n<c> </parameters>'));
  assert.ok(!await takes(text, ""));
  assert.ok(await takes(text, "", { required: [] }));
  assert.ok(await takes({ enum: ["x y", 2] }, "x y"));
  assert.ok(await takes({ enum: ["x y", 2] }, "2"));
  assert.ok(!await takes({ enum: ["x y", 2] }, "x"));
  assert.ok(await takes({ ...text, pattern: "^a+$" }, "aa"));
  assert.ok(!await takes({ ...text, pattern: "^a+$" }, "ab"));
  const short = { ...text, minLength: 2, maxLength: 3 };
  assert.ok(await takes(short, "abc"));
  assert.ok(!await takes(short, "a"));
  assert.ok(!await takes(short, "abcd"));
  const $defs = { n: { type: "integer" } };
  assert.ok(await takes({ $ref: "#/$defs/n" }, "12", { $defs }));
  assert.ok(!await takes({ $ref: "#/$defs/n" }, "ab", { $defs }));
});
