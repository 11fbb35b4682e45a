/**
 * A text, shown while it is written. Without a file, the small model that is part
 * of the package writes it, and no permission is needed.
 *
 *     deno run examples/deno-script/generate.ts
 *     deno run --allow-read examples/deno-script/generate.ts model.gguf "Once upon a time"
 */
import { load } from "@culm/culm";
import { tinyBamboo } from "@culm/tiny";

const [file, prompt = "Once upon a time"] = Deno.args;
await using model = await load(file ?? tinyBamboo());

const encoder = new TextEncoder();
const show = (text: string) => Deno.stdout.write(encoder.encode(text));

await show(prompt);
const options = { maxTokens: 80, temperature: 0.7, seed: 1 };
for await (const { text } of model.generate(prompt, options)) await show(text);
await show("\n");
