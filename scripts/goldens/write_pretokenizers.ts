/**
 * Writes a vocabulary as a GGUF file for each value of tokenizer.ggml.pre, for
 * pretokenizers_llama_cpp.mjs: `deno run -A scripts/goldens/write_pretokenizers.ts FOLDER`.
 *
 * @module
 */
import { toBuffer, writeGguf } from "../../src/formats/gguf/write.ts";
import { pretokenizerNames } from "../../src/tokenizer/pretokenizer.ts";
import {
  pretokenizerMetadata,
  pretokenizerTexts,
} from "../../tests/tokenizer/pretokenizer_vocabulary.ts";

const [folder] = Deno.args;
await Deno.mkdir(folder, { recursive: true });
for (const name of pretokenizerNames) {
  const metadata = new Map(Object.entries(pretokenizerMetadata(name)));
  const bytes = await toBuffer(writeGguf({ metadata, tensors: [] }));
  await Deno.writeFile(`${folder}/${name}.gguf`, bytes);
}
await Deno.writeTextFile(
  `${folder}/texts.json`,
  JSON.stringify(pretokenizerTexts),
);
