import assert from "node:assert/strict";
import { type ChatOptions, load } from "../../mod.ts";
import { AnswerParser, type ChatEvent } from "../../gguf.ts";
import { joinAnswer } from "../../src/tokenizer/answer.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { rainTools, toolFamilies } from "../tokenizer/tool_templates.ts";

const messages = [{ role: "user", content: "Will it rain?" }];

Deno.test("special tokens are part of a text where they are asked for", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const bos = model.tokenizer.bos!;
  const options = { maxTokens: 2, logitBias: { [bos]: 100 } };
  assert.equal(await model.complete("Tom", options), "");
  const shown = { ...options, shownTokens: [bos] };
  assert.equal(await model.complete("Tom", shown), "<s><s>");
  await assert.rejects(
    model.complete("Tom", { shownTokens: ["<s>"] as unknown as number[] }),
    { name: "UsageError", message: /shownTokens/ },
  );
});

Deno.test("a chat's answer comes in parts that make up its text", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const options = {
    template: toolFamilies.hermes.template,
    tools: rainTools,
    temperature: 0,
    maxTokens: 40,
  };
  let text = "";
  for await (const piece of model.chat(messages, options)) text += piece.text;
  const events = await Array.fromAsync(model.answer(messages, options));
  assert.ok(events.length > 1);
  assert.equal(
    events.map((event) => event.type === "text" ? event.text : "").join(""),
    text,
  );
});

Deno.test("a chat's prompt says how its answer is read", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const { template, calls } = toolFamilies.hermes;
  const options = {
    template: `${template}<think>{# </think> #}`,
    tools: rainTools,
  };
  const { ids, answer, shownTokens } = model.chatPrompt(messages, options);
  assert.deepEqual(ids, model.tokenizeChat(messages, options));
  assert.deepEqual(shownTokens, []);
  const parser = new AnswerParser(answer, () => "a");
  const read: ChatEvent[] = [
    ...parser.push(`Hm.</think>${calls[0]}`),
    ...parser.finish(),
  ];
  assert.deepEqual(read, [
    { type: "reasoning", text: "Hm." },
    { type: "toolCall", index: 0, id: "a", name: "rain" },
    { type: "arguments", index: 0, text: '{"city": "Oslo", "days": 2}' },
    { type: "toolCallEnd", index: 0 },
  ]);
  // `<s>` is a special token of this model, and no text.
  const tagged = model.chatPrompt(messages, {
    template: template.replaceAll("tool_call>", "s>"),
    tools: rainTools,
  });
  assert.deepEqual(
    tagged.shownTokens.toSorted(),
    ["<s>", "</s>"].map((text) =>
      model.tokenize(text, { parseSpecial: true, addSpecial: false })[0]
    ),
  );
});

Deno.test("wrong calls and results in a chat are refused by name", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const call = {
    id: "a",
    type: "function",
    function: { name: "rain", arguments: "{}" },
  };
  const wrong: [unknown, RegExp][] = [
    [{ tool_calls: "rain" }, /a list of calls/],
    [{ tool_calls: [{ ...call, function: {} }] }, /the tool's name|name/],
    [{ tool_calls: [{ ...call, id: 7 }] }, /a text/],
    [
      { tool_calls: [{ ...call, function: { name: "rain", arguments: 7 } }] },
      /JSON as a text, or an object/,
    ],
    [{ tool_call_id: 7 }, /a text/],
    [{ reasoning_content: 7 }, /a text/],
  ];
  for (const [fields, message] of wrong) {
    const turn = { role: "assistant", content: "", ...fields as object };
    assert.throws(() => model.tokenizeChat([turn]), {
      name: "UsageError",
      message,
    });
  }
});

/** What a small model writes of this ends soon. */
const smallTools = [
  {
    type: "function",
    function: {
      name: "rain",
      parameters: {
        type: "object",
        properties: {
          city: { type: "string", maxLength: 8 },
          days: { enum: [1, 2, 3] },
        },
        required: ["city", "days"],
        additionalProperties: false,
      },
    },
  },
  {
    type: "function",
    function: {
      name: "stop",
      parameters: { type: "object", additionalProperties: false },
    },
  },
];

Deno.test("a tool that must be called is, with arguments as its schema says, in any form", async () => {
  await using model = await load(tinyBamboo(), {
    threads: 0,
    contextSize: 1024,
  });
  const random = { temperature: 1, topK: 0, maxTokens: 600 };
  // This model would not end what gpt-oss's may think before.
  const { "gpt-oss": _, ...families } = toolFamilies;
  for (const [name, { template }] of Object.entries(families)) {
    for (const choice of ["required", { name: "rain" }] as const) {
      const events = await Array.fromAsync(model.answer(messages, {
        ...random,
        seed: name.length,
        template,
        tools: smallTools,
        toolChoice: choice,
        parallelToolCalls: false,
      }));
      const { text, calls } = joinAnswer(events);
      assert.equal(text, "", name);
      assert.equal(calls.length, 1, name);
      const [{ name: called, arguments: given }] = calls;
      if (choice !== "required") assert.equal(called, "rain");
      const value = JSON.parse(given);
      if (called === "stop") assert.deepEqual(value, {});
      else {
        assert.deepEqual(Object.keys(value), ["city", "days"]);
        assert.ok(value.city.length <= 8, given);
        assert.ok([1, 2, 3].includes(value.days), given);
      }
    }
  }
});

Deno.test("what is said beside calls, and behind reasoning, may be held to a schema", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const schema = {
    type: "object",
    properties: { rains: { type: "boolean" } },
    required: ["rains"],
    additionalProperties: false,
  };
  const { template } = toolFamilies.hermes;
  const options = {
    temperature: 1,
    maxTokens: 200,
    parallelToolCalls: false,
    template,
    schema,
  };
  for (let seed = 0; seed < 4; seed++) {
    const events = await Array.fromAsync(
      model.answer(messages, { ...options, seed, tools: smallTools }),
    );
    const { text, calls } = joinAnswer(events);
    if (calls.length > 0) assert.equal(text, "");
    else assert.equal(typeof JSON.parse(text).rains, "boolean");
    const plain = await Array.fromAsync(
      model.answer(messages, { ...options, seed }),
    );
    assert.equal(typeof JSON.parse(joinAnswer(plain).text).rains, "boolean");
  }
});

Deno.test("tools that cannot be called are refused by name", async () => {
  await using model = await load(tinyBamboo(), { threads: 0 });
  const prompt = (options: ChatOptions) => () =>
    model.chatPrompt(messages, options);
  const refused = (options: ChatOptions, message: RegExp) =>
    assert.throws(prompt(options), { name: "UsageError", message });
  refused({ toolChoice: "required" }, /there is none/);
  refused(
    { tools: smallTools, toolChoice: { name: "snow" } },
    /the tool snow: there are rain, stop/,
  );
  refused(
    { tools: smallTools, toolChoice: "all" as "auto" },
    /toolChoice "all": it is auto, none, required or \{ name \}/,
  );
  const none = prompt({ tools: smallTools, toolChoice: "none" })();
  assert.equal(none.pattern, undefined);
  assert.deepEqual(none.ids, prompt({})().ids);
});
