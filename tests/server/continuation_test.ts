/** Chats whose last message is the assistant's, and templates that are told whether to reason, and which day it is. */
import assert from "node:assert/strict";
import { type TinyServer, tinyServer } from "./tiny_server.ts";

const question = { role: "user", content: "Tell me a story." };
const begun = { role: "assistant", content: "Tom had a" };

/** The prompt that a chat is written as. */
async function promptOf(tiny: TinyServer, body: object): Promise<string> {
  const response = await tiny.post("/apply-template", body);
  assert.equal(response.status, 200);
  return (await response.json()).prompt;
}

Deno.test("an answer that is begun is gone on with", async () => {
  await using tiny = await tinyServer();
  const before = await promptOf(tiny, { messages: [question] });
  const messages = [question, begun];
  const whole = before + begun.content;
  for (
    const fields of [
      {},
      { continue_final_message: true },
      { continue_final_message: true, add_generation_prompt: false },
    ]
  ) assert.equal(await promptOf(tiny, { messages, ...fields }), whole);
  const parts = [{ type: "text", text: "Tom" }, { type: "text", text: "had" }];
  const inParts = { messages: [question, { ...begun, content: parts }] };
  assert.equal(await promptOf(tiny, inParts), `${before}Tom\nhad`);
  for (
    const fields of [
      { add_generation_prompt: true },
      { continue_final_message: false },
    ]
  ) {
    const ended = await promptOf(tiny, { messages, ...fields });
    assert(ended.startsWith(whole) && ended.length > whole.length);
    const { text } = tiny.model.chatPrompt(messages);
    assert.equal(ended, text);
  }
  const options = { temperature: 0, max_tokens: 8 };
  const answer = await tiny.post("/v1/chat/completions", {
    messages,
    ...options,
  });
  const { choices, usage } = await answer.json();
  const ids = tiny.model.tokenize(whole, { parseSpecial: true });
  assert.equal(usage.prompt_tokens, ids.length);
  const said = await tiny.model.complete(ids, { temperature: 0, maxTokens: 8 });
  assert.equal(choices[0].message.content, said);
  const counted = await tiny.post("/v1/chat/completions/input_tokens", {
    messages,
  });
  assert.equal((await counted.json()).input_tokens, ids.length);
});

Deno.test("an answer cannot go on and begin, nor where there is none", async () => {
  await using tiny = await tinyServer();
  for (
    const body of [
      {
        messages: [question, begun],
        add_generation_prompt: true,
        continue_final_message: true,
      },
      { messages: [question], continue_final_message: true },
      { messages: [question, begun, begun] },
    ]
  ) {
    for (const path of ["/v1/chat/completions", "/apply-template"]) {
      const response = await tiny.post(path, body);
      assert.equal(response.status, 400, JSON.stringify(body));
      assert.equal((await response.json()).error.type, "invalid_request_error");
    }
  }
});

/** Templates that begin reasoning by themselves, leave it to the model, and ask whether it is wanted. */
const templates = {
  begins: "{{ messages[0].content }}<think>\n{# </think> #}",
  free: "{{ messages[0].content.split('</think>')[-1] }}",
  asks: "{{ messages[0].content }}{% if enable_thinking is defined and " +
    "not enable_thinking %}<think>\n\n</think>\n\n{% endif %}",
};

Deno.test("a model that is not to reason has its reasoning ended, whatever its template knows", async () => {
  const messages = [{ role: "user", content: "Hi" }];
  const cases = [
    ["auto", "begins", "Hi<think>\n"],
    ["on", "begins", "Hi<think>\n"],
    ["off", "begins", "Hi<think>\n</think>"],
    ["auto", "free", "Hi"],
    ["off", "free", "Hi<think></think>"],
    ["auto", "asks", "Hi"],
    ["on", "asks", "Hi"],
    ["off", "asks", "Hi<think>\n\n</think>\n\n"],
  ] as const;
  for (const [reasoning, name, expected] of cases) {
    const template = templates[name];
    await using tiny = await tinyServer({ reasoning, template });
    assert.equal(await promptOf(tiny, { messages }), expected, name);
    // What a request says goes before what the server was told.
    const kwargs = { chat_template_kwargs: { enable_thinking: false } };
    const off = cases.find(([when, which]) => when === "off" && which === name);
    assert.equal(await promptOf(tiny, { messages, ...kwargs }), off![2]);
  }
});

Deno.test("templates are told the date, and what the server was given for them", async () => {
  await using tiny = await tinyServer({
    template: "{{ date_string }}|{{ datetime }}|{{ tone }}",
    templateVariables: { tone: "kind" },
  });
  const body = { messages: [question] };
  const [date, time, tone] = (await promptOf(tiny, body)).split("|");
  assert.match(date, /^\d\d [A-Z][a-z]{2} \d{4}$/);
  assert(Math.abs(Date.now() - Date.parse(time)) < 86_400_000);
  assert.equal(tone, "kind");
  const own = { ...body, chat_template_kwargs: { tone: "curt" } };
  assert.match(await promptOf(tiny, own), /\|curt$/);
});

Deno.test("reasoning stays in the text where the server is told so", async () => {
  const template = "{{ messages[0].content }}<think>\n{# </think> #}";
  const body = { messages: [question], max_tokens: 4, temperature: 0 };
  for (const reasoningFormat of ["auto", "none"] as const) {
    await using tiny = await tinyServer({ template, reasoningFormat });
    const answered = await tiny.post("/v1/chat/completions", body);
    const { message } = (await answered.json()).choices[0];
    const isNone = reasoningFormat === "none";
    assert.equal(message.content !== "", isNone);
    assert.equal(message.reasoning_content === undefined, isNone);
  }
});
