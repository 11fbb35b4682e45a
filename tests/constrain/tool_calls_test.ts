import assert from "node:assert/strict";
import { makeConstraint } from "../../src/constrain/constraint.ts";
import {
  answerPattern,
  behindReasoning,
  type ToolDemand,
} from "../../src/constrain/tool_calls.ts";
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

const auto: ToolDemand = { choice: "auto", isParallel: true };
const required: ToolDemand = { choice: "required", isParallel: true };

for (const [name, family] of Object.entries(toolFamilies)) {
  const format = formatOf(family.template);
  // gpt-oss is held to one of the forms that it writes, whose end is no text.
  const call = format.hasChannels ? family.calls[1] : family.calls[0].trim();
  const two = name === "llama 3" ? undefined : family.two?.trim();
  const wrong = [
    call.replace("2", '"two"').replace('>"two"<', ">two<")
      .replace('\n"two"\n', "\ntwo\n"),
    call.replace("rain", "snow"),
    call.replaceAll("days", "nights"),
  ];
  const tags = tagsOf([call, two ?? ""]);
  for (const special of [false, true]) {
    const tokenizer = byteTokenizer(["ab", " the", '": '], special ? tags : []);
    const held = (demand: ToolDemand, of = format) =>
      makeConstraint(tokenizer, answerPattern(of, demand)!);
    const form = `${name}'s ${special ? "special tokens" : "tags"}`;

    Deno.test(`what must be a call is one, in ${form}`, async () => {
      using one = await held(required);
      using single = await held({ ...required, isParallel: false });
      using named = await held({ choice: { name: "stop" }, isParallel: true });
      const takes = (constraint: typeof one, text: string) =>
        accepts(constraint, tokenizer, text, true);
      assert.ok(takes(one, call), call);
      assert.ok(takes(single, call));
      assert.ok(!takes(named, call));
      for (const text of ["", "It rains.", ...wrong]) {
        assert.ok(!takes(one, text), text);
      }
      if (!two) return;
      assert.ok(takes(one, two), two);
      assert.ok(!takes(single, two));
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
      if (!two) return;
      assert.ok(takes(free, two), two);
      assert.ok(takes(free, `${two} and`), two);
      assert.ok(!takes(single, two));
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
    const pattern = behindReasoning(format, { schema: { type: "integer" } });
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

Deno.test("a schema that is not supported is refused, in tools too", async () => {
  const format = formatOf(template);
  const tools = new Map([["rain", { properties: { a: { not: {} } } }]]);
  const pattern = answerPattern({ ...format, tools }, required)!;
  await assert.rejects(makeConstraint(byteTokenizer([], []), pattern), {
    name: "UnsupportedError",
    message: /not/,
  });
});
