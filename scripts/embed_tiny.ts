/**
 * Puts tiny-bamboo's Q8_0 GGUF file into `tiny/tiny_bamboo.wasm`, which
 * `tiny/tiny_bamboo.js` imports. `--check` compares instead of writing.
 *
 * Run: `deno task embed [--check]`
 *
 * @module
 */

import { readIfThere, writeOrCheck } from "./generated.ts";
import { wasmWithSection } from "./wasm_section.ts";

const source = new URL(
  "../../shared/tiny-bamboo/gguf/tiny-bamboo-q8_0.gguf",
  import.meta.url,
);
const target = new URL("../tiny/tiny_bamboo.wasm", import.meta.url);

const gguf = await readIfThere(source);
if (gguf === undefined) {
  console.log(
    "Skipped embedding tiny-bamboo: ../shared/tiny-bamboo is not here",
  );
} else {
  await writeOrCheck(target, wasmWithSection("gguf", gguf), "embed");
}
