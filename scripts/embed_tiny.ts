/**
 * Puts tiny-bamboo's Q8_0 GGUF file into `tiny/tiny_bamboo.js`, in
 * base64. `--check` compares instead of writing.
 *
 * Run: `deno task embed [--check]`
 *
 * @module
 */

import { readIfThere, textModule, writeOrCheck } from "./generated.ts";

const source = new URL(
  "../../shared/tiny-bamboo/gguf/tiny-bamboo-q8_0.gguf",
  import.meta.url,
);
const target = new URL("../tiny/tiny_bamboo.js", import.meta.url);

const gguf = await readIfThere(source);
if (gguf === undefined) {
  console.log(
    "Skipped embedding tiny-bamboo: ../shared/tiny-bamboo is not here",
  );
} else {
  const module = textModule({
    text: gguf.toBase64(),
    task: "embed",
    source: "tiny-bamboo-q8_0.gguf",
    types: "./tiny_bamboo.d.ts",
  });
  await writeOrCheck(target, new TextEncoder().encode(module), "embed");
}
