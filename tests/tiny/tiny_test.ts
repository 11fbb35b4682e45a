import assert from "node:assert/strict";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

/** Of the file that PowerInfer's `quantize` made of the trained weights. */
const published =
  "f84523deb7be359831275dfccd025846f23fec3c3756ed30619e2cd463d4cfe7";

Deno.test("the embedded model is a GGUF file that reads to its last byte", async () => {
  const source = tinyBamboo();
  assert.equal(source.size, 8_604_032);
  const file = await readGguf(source);
  assert.equal(file.metadata.get("general.architecture")?.value, "bamboo");
  const ends = [...file.tensors.values()].map((t) => t.offset + t.byteLength);
  assert.ok(Math.max(...ends) <= source.size);
  await source.close();
});

Deno.test("the embedded model is tiny-bamboo's published Q8_0 file", async () => {
  const source = tinyBamboo();
  const bytes = await source.read(0, source.size);
  const hash = await crypto.subtle.digest("SHA-256", bytes);
  assert.equal(new Uint8Array(hash).toHex(), published);
});

Deno.test("the embedded model needs no permission", async () => {
  const script = new URL("./print_magic.ts", import.meta.url).href;
  const { stdout, stderr, code } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", script],
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  assert.equal(new TextDecoder().decode(stdout), "GGUF\n");
});
