import assert from "node:assert/strict";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

const published = new URL(
  "../../../shared/tiny-bamboo/gguf/tiny-bamboo-q8_0.gguf",
  import.meta.url,
);

async function exists(file: URL): Promise<boolean> {
  return await Deno.stat(file).then(() => true, () => false);
}

Deno.test("the embedded model is a GGUF file that reads to its last byte", async () => {
  const source = tinyBamboo();
  assert.equal(source.size, 8_604_032);
  const file = await readGguf(source);
  assert.equal(file.metadata.get("general.architecture")?.value, "bamboo");
  const ends = [...file.tensors.values()].map((t) => t.offset + t.byteLength);
  assert.ok(Math.max(...ends) <= source.size);
  await source.close();
});

Deno.test({
  name: "the embedded model is tiny-bamboo's published Q8_0 file",
  ignore: !(await exists(published)), // where ../shared is absent
  async fn() {
    const source = tinyBamboo();
    const embedded = await source.read(0, source.size);
    assert.ok(
      new Uint8Array(await Deno.readFile(published)).every((byte, i) =>
        byte === embedded[i]
      ),
    );
  },
});

Deno.test("the embedded model needs no permission", async () => {
  const script = new URL("./print_magic.ts", import.meta.url).href;
  const { stdout, stderr, code } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", script],
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  assert.equal(new TextDecoder().decode(stdout), "GGUF\n");
});
