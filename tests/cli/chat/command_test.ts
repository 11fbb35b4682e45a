import assert from "node:assert/strict";
import { load } from "../../../mod.ts";
import { tinyBamboo } from "../../../tiny/tiny.ts";
import { runCli, runHere } from "../run_cli.ts";

/** The answers that the library gives without keeping anything between turns. */
async function answers(
  messages: { role: string; content: string }[],
  turns: string[],
  template?: string,
) {
  await using model = await load(tinyBamboo());
  const given: string[] = [];
  for (const content of turns) {
    messages.push({ role: "user", content });
    let text = "";
    for await (
      const piece of model.chat(messages, {
        temperature: 0,
        maxTokens: 8,
        template,
      })
    ) {
      text += piece.text;
    }
    messages.push({ role: "assistant", content: text });
    given.push(text);
  }
  return given;
}

const greedy = ["--temp", "0", "-n", "8"];

Deno.test("each line of standard input is a turn, and turns see those before", async () => {
  const turns = ["Who is Tom?", "And who is Anna?"];
  const expected = await answers(
    [{ role: "system", content: "Be kind." }],
    turns,
  );
  const { code, out, err } = await runCli([
    "chat",
    "-sys",
    "Be kind.",
    ...greedy,
  ], {
    input: turns.join("\n\n"),
  });
  assert.deepEqual([code, out], [
    0,
    expected.map((text) => `${text}\n`).join(""),
  ]);
  assert.match(err, /prompt eval time/);
});

Deno.test("a template is taken over the model's own", async () => {
  const template = "{% for m in messages %}{{ m.content }}. {% endfor %}";
  const expected = await answers([], ["Tom had a ball"], template);
  const { out } = await runHere(
    ["chat", "--chat-template", template, ...greedy],
    {
      input: "Tom had a ball\n",
    },
  );
  assert.equal(out, `${expected[0]}\n`);
});

Deno.test("a damaged template and a full context are reported in one line", async () => {
  const damaged = await runHere(["chat", "--chat-template", "{% for"], {
    input: "Hi\n",
  });
  assert.equal(damaged.code, 1);
  assert.match(damaged.err, /error: Cannot read the chat template[^\n]*\n$/);
  const full = await runHere(["chat", "-c", "60", "--temp", "0"], {
    input: "Hi\nHi\nHi\n",
  });
  assert.equal(full.code, 1);
  assert.match(
    full.err,
    /^error: The chat has outgrown its context.*the context 60.*-c\.$/m,
  );
});

Deno.test("a chat without a turn ends well", async () => {
  const { code, out } = await runHere(["chat"], { input: "" });
  assert.deepEqual([code, out], [0, ""]);
});

Deno.test("templates have names; what is none is told which", async () => {
  const named = await runHere(["chat", "--chat-template", "phi3", "-n", "1"], {
    input: "Hi\n",
  });
  assert.equal(named.code, 0, named.err);
  const other = await runHere(["chat", "--chat-template", "nosuch"], {
    input: "Hi\n",
  });
  assert.match(
    other.err,
    /error: Cannot use --chat-template "nosuch": .*none of chatml, .*zephyr\n/,
  );
});

Deno.test("a template that costs too much is no full context", async () => {
  const template = "{% for i in range(10 ** 9) %}{% endfor %}";
  const { code, err } = await runHere(["chat", "--chat-template", template], {
    input: "Hi\n",
  });
  assert.equal(code, 1);
  assert.match(
    err,
    /^error: Cannot write the chat: its template makes a list/m,
  );
  assert.doesNotMatch(err, /outgrown/);
});
