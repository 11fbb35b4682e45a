/** Prompts of natural text. */
import { openFile, readGguf, tokenizerFromGguf } from "../../gguf.ts";
import golden from "../../tests/goldens/smollm2.json" with { type: "json" };
import type { Prompt } from "./page.ts";

/** SmolLM2's file */
export const modelPath = `.cache/models/${golden.model.file}`;

/** Gives the prompt that a range of the golden's ids is. */
export async function promptsOf(
  path: string,
): Promise<(from: number, to: number) => Prompt> {
  const source = await openFile(path);
  const tokenizer = tokenizerFromGguf(await readGguf(source));
  await source.close();
  return (from, to) => {
    const ids = golden.text.ids.slice(from, to);
    const text = tokenizer.decode(ids);
    const { length } = tokenizer.encode(text);
    if (length !== ids.length) {
      throw new Error(`The text of ${ids.length} tokens is ${length} tokens`);
    }
    return { text, ids };
  };
}
