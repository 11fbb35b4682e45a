/**
 * The AI SDK with a model in the same process: a text as it is written, an object
 * of a schema, and a tool that is called. The embedded model tells stories whatever
 * it is asked, but in the form that it is held to.
 *
 *     deno run --allow-env --allow-sys=hostname examples/ai-sdk/main.ts
 *     deno run --allow-env --allow-sys=hostname --allow-read examples/ai-sdk/main.ts model.gguf
 */
import { generateText, jsonSchema, Output, streamText, tool } from "ai";
import { load } from "@culm/culm";
import { tinyBamboo } from "@culm/tiny";
import { culm } from "./culm.ts";

await using loaded = await load(Deno.args[0] ?? tinyBamboo());
const model = culm(loaded);
const encoder = new TextEncoder();
const write = (text: string) => Deno.stdout.write(encoder.encode(text));

const { textStream } = streamText({
  model,
  prompt: "Tell me a story.",
  maxOutputTokens: 60,
});
for await (const text of textStream) await write(text);
console.log();

const place = jsonSchema<{ city: string; days: number }>({
  type: "object",
  properties: {
    city: { enum: ["Oslo", "Rome"] },
    days: { type: "integer", minimum: 1, maximum: 9 },
  },
  required: ["city", "days"],
  additionalProperties: false,
});
const prompt = "Where, and for how many days, is rain to be forecast?";

const { output } = await generateText({
  model,
  prompt,
  output: Output.object({ schema: place }),
});
console.log("object:", output);

const { toolResults, usage } = await generateText({
  model,
  prompt,
  toolChoice: "required",
  tools: {
    forecast: tool({
      description: "How much it rains in a city",
      inputSchema: place,
      execute: ({ city, days }) => `${2 * days} mm in ${city}`,
    }),
  },
});
for (const { toolName, output } of toolResults) {
  console.log(`${toolName}:`, output);
}
console.log(usage.totalTokens, "tokens");
