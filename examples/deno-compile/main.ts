/**
 * A program of one file with its model in it, which runs where nothing is
 * installed. `model.gguf` lies beside this script when it is made:
 *
 *     deno compile --allow-read --include model.gguf -o story main.ts
 *     ./story "Once upon a time"
 */
import { load } from "@culm/culm";

const [prompt = "Once upon a time"] = Deno.args;
// What was included lies beside the script in the program, too.
await using model = await load(new URL("model.gguf", import.meta.url));
const encoder = new TextEncoder();
await Deno.stdout.write(encoder.encode(prompt));
for await (const { text } of model.generate(prompt, { maxTokens: 200 })) {
  await Deno.stdout.write(encoder.encode(text));
}
console.log();
