/**
 * A chat of two turns. A session keeps what was computed, so that the second turn
 * evaluates only what is new. Takes a model that was made for chats; the small one
 * that is part of the package tells stories whatever it is asked.
 *
 *     deno run --allow-read examples/deno-script/chat.ts model.gguf
 */
import { load } from "@culm/culm";
import { tinyBamboo } from "@culm/tiny";

await using model = await load(Deno.args[0] ?? tinyBamboo());
using session = model.createSession();

const messages: { role: string; content: string }[] = [];
for (const question of ["Who lives by the sea?", "And what did she find?"]) {
  messages.push({ role: "user", content: question });
  console.log(`> ${question}`);
  let answer = "";
  const turn = model.chat(messages, {
    session,
    temperature: 0,
    maxTokens: 40,
    onFinish: ({ promptTokens, cachedTokens }) =>
      console.log(`(${cachedTokens} of ${promptTokens} tokens were known)`),
  });
  for await (const { text } of turn) answer += text;
  console.log(answer);
  messages.push({ role: "assistant", content: answer });
}
