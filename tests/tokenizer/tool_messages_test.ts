import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import type { ChatMessage } from "../../src/tokenizer/chat_message.ts";
import { ChatTemplate } from "../../src/tokenizer/chat_template.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import goldens from "./goldens/tool_chats.json" with { type: "json" };
import { rainTools, toolFamilies } from "./tool_templates.ts";

const render = (
  source: string,
  messages: readonly unknown[],
  tools: typeof rainTools | null = rainTools,
) =>
  new ChatTemplate(source, { bos: "<s>", eos: "</s>" }).render(
    messages as ChatMessage[],
    { variables: { ...tools && { tools } } },
  );

const call = (id: string, name: string, given: unknown) => ({
  id,
  type: "function",
  function: { name, arguments: given },
});
const user = { role: "user", content: "Will it rain?" };
const longId = "call_0123456789abcdefABCDEF01";
const called = {
  role: "assistant",
  content: null,
  tool_calls: [call(longId, "rain", '{"city": "Oslo", "days": 2}')],
};
const result = { role: "tool", tool_call_id: longId, content: "It does." };

for (const [name, { template, calls, two }] of Object.entries(toolFamilies)) {
  const ids = name === "mistral 3" ? longId : "call00000";
  Deno.test(`calls and results of OpenAI's clients are written in ${name}'s form`, () => {
    const text = render(template, [user, called, result]);
    const written = calls[0].replace("abcdef123", ids).trim();
    assert.ok(text.includes(written), `${text}\n${written}`);
    assert.ok(text.includes("It does."), text);
  });

  if (!two) continue;
  Deno.test(`two calls at a time are written in ${name}'s form, or refused`, () => {
    const both = {
      ...called,
      tool_calls: [...called.tool_calls, call("b", "stop", {})],
    };
    const written = () => render(template, [user, both]);
    if (name === "llama 3") assert.throws(written, /One call/);
    else {
      const second = two.replace("123456789", "call00001")
        .replace("[CALL_ID]1", "[CALL_ID]b").replace("abcdef123", ids);
      assert.ok(written().includes(second.trim()));
    }
  });
}

Deno.test("templates without tools have them told of, called and answered in words", () => {
  const { template } = toolFamilies["no tools"];
  const again = { ...result, tool_call_id: "b", content: "Still." };
  const turns = [
    { role: "system", content: "Be brief." },
    user,
    { ...called, content: "I look." },
    result,
    again,
    { role: "assistant", content: "It rains." },
  ];
  const text = render(template, turns);
  const told = text.slice(0, text.indexOf("<|im_start|>user"));
  assert.match(told, /^<\|im_start\|>system\nBe brief\.\n\nYou can call tools/);
  for (const { function: { name } } of rainTools) {
    assert.ok(told.includes(`{"type": "function", "function": {`), told);
    assert.ok(told.includes(`"name": "${name}"`), told);
  }
  assert.ok(told.includes('<tool_call>\n{"name": '), told);
  assert.equal(
    text.slice(told.length),
    "<|im_start|>user\nWill it rain?<|im_end|>\n" +
      "<|im_start|>assistant\nI look.\n" +
      '<tool_call>\n{"name": "rain", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call><|im_end|>\n' +
      "<|im_start|>user\n<tool_response>\nIt does.\n</tool_response>\n" +
      "<tool_response>\nStill.\n</tool_response><|im_end|>\n" +
      "<|im_start|>assistant\nIt rains.<|im_end|>\n<|im_start|>assistant\n",
  );
  const alone = render(template, [user]);
  assert.match(alone, /^<\|im_start\|>system\nYou can call tools/);
  // Earlier calls stay, where no tool is there any more.
  assert.equal(
    render(template, turns, null),
    text.replace(told, "<|im_start|>system\nBe brief.<|im_end|>\n"),
  );
});

Deno.test("tools are told of in the user's message where the template knows no system", () => {
  const source = "{% for m in messages %}{% if m.role == 'system' %}" +
    "{{ raise_exception('System role not supported') }}{% endif %}" +
    "[{{ m.role }}]{{ m.content }}{% endfor %}";
  const system = { role: "system", content: "Be brief." };
  for (
    const [messages, begin] of [[[system, user], "Be brief."], [
      [user],
      "",
    ]] as const
  ) {
    const text = render(source, messages);
    assert.ok(text.startsWith(`[user]${begin}`), text);
    assert.match(text, /You can call tools[^]*"rain"[^]*\nWill it rain\?$/);
  }
});

Deno.test("a template that writes calls, and tells of no tools, has them told of in its own form", () => {
  const template = toolFamilies.deepseek.template
    .replace("{% if tools %}{{ tools | tojson }}\n{% endif %}", "");
  const text = render(template, [user]);
  assert.ok(text.startsWith("<|im_start|>system\nYou can call tools."), text);
  assert.ok(
    text.includes(
      "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>tool-name\n```json\n" +
        '{"argument-name": "value"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    ),
    text,
  );
});

Deno.test("arguments may be objects, empty, or what a model wrote that is no JSON", () => {
  const { template } = toolFamilies.hermes;
  const written = (given: unknown) =>
    /<tool_call>\n(.*)\n/.exec(
      render(template, [user, {
        ...called,
        tool_calls: [call("a", "rain", given)],
      }]),
    )?.[1];
  const all = '{"name": "rain", "arguments": ';
  assert.equal(
    written({ a: 1.5, b: [null] }),
    `${all}{"a": 1.5, "b": [null]}}`,
  );
  assert.equal(written(""), `${all}{}}`);
  assert.equal(written(undefined), `${all}{}}`);
  assert.equal(written('{"a": '), `${all}"{\\"a\\": "}`);
});

Deno.test("a message is written under the names that its template knows", () => {
  const roles =
    "{% for m in messages %}{{ m.role }} {{ m.thinking }};{% endfor %}";
  const messages = [
    { role: "developer", content: "" },
    { role: "assistant", content: "", reasoning_content: "Hm" },
  ];
  assert.equal(render(roles, messages, null), "system ;assistant Hm;");
  const knows = `${roles}{# developer #}`;
  assert.equal(render(knows, messages, null), "developer ;assistant Hm;");
});

for (const [name, { hasTools, text }] of Object.entries(goldens.rendered)) {
  const file = new URL(
    `../../.cache/tokenizers/${name}/tokenizer_config.json`,
    import.meta.url,
  );
  testNeeding(needs.tokenizers, existsSync(file), {
    name:
      `${name}'s template writes calls and results as Transformers writes them`,
    fn: () => {
      const { chat_template } = JSON.parse(Deno.readTextFileSync(file));
      const tools = hasTools ? goldens.tools as typeof rainTools : null;
      assert.equal(render(chat_template, goldens.messages, tools), text);
    },
  });
}
