/**
 * A script for Node 22 or newer, or Bun: the embedded model, or the file that is
 * named, tells a story on all cores.
 *
 *     npm install
 *     node story.js [model.gguf]
 */
import { load } from "@culm/culm";
import { tinyBamboo } from "@culm/tiny";

const [, , file] = process.argv;
const model = await load(file ?? tinyBamboo());
const prompt = "Once upon a time";
process.stdout.write(prompt);
for await (const { text } of model.generate(prompt, { maxTokens: 100 })) {
  process.stdout.write(text);
}
console.log();
await model[Symbol.asyncDispose]();
