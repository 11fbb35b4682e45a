/**
 * LangChain with a model in the same process: a text as it is written, an object of
 * a schema, and a tool that is called. The embedded model tells stories whatever it
 * is asked, but in the form that it is held to.
 *
 *     deno run examples/langchain/main.ts
 *     deno run --allow-read examples/langchain/main.ts model.gguf
 */
import { load } from "@culm/culm";
import { tinyBamboo } from "@culm/tiny";
import { culm } from "./culm.ts";

await using loaded = await load(Deno.args[0] ?? tinyBamboo());

const encoder = new TextEncoder();
const write = (text: string) => Deno.stdout.write(encoder.encode(text));

const teller = culm(loaded, { maxTokens: 60 });
for await (const { text } of await teller.stream("Tell me a story.")) {
  await write(text);
}
console.log();

const place = {
  title: "forecast",
  type: "object",
  properties: {
    city: { enum: ["Oslo", "Rome"] },
    days: { type: "integer", minimum: 1, maximum: 9 },
  },
  required: ["city", "days"],
  additionalProperties: false,
};
const question = "Where, and for how many days, is rain to be forecast?";

const model = culm(loaded);
console.log(
  "object:",
  await model.withStructuredOutput(place).invoke(question),
);

const forecast = {
  type: "function",
  function: {
    name: "forecast",
    description: "How much it rains in a city",
    parameters: place,
  },
};
const { tool_calls, usage_metadata } = await model
  .bindTools([forecast], { tool_choice: "required" })
  .invoke(question);
for (const { name, args } of tool_calls!) console.log(`${name}:`, args);
console.log(usage_metadata!.total_tokens, "tokens");
