/**
 * What a GGUF file holds, from its header: nothing of the weights is read, so a
 * URL of a file of any size will do.
 *
 *     deno run --allow-read examples/deno-script/inspect.ts model.gguf
 *     deno run --allow-net examples/deno-script/inspect.ts https://example.com/model.gguf
 */
import { fromUrl, openFile, readGguf } from "@culm/culm/gguf";
import { tinyBamboo } from "@culm/tiny";

const [from] = Deno.args;
const source = from === undefined
  ? tinyBamboo()
  : from.startsWith("http")
  ? await fromUrl(from)
  : await openFile(from);
const { metadata, tensors } = await readGguf(source);
await source.close();

for (const [key, { type, value }] of metadata) {
  const shown = typeof value === "object"
    ? `${value.values.length} of ${value.elementType}`
    : value;
  console.log(key, type, shown);
}
for (const [type, some] of Map.groupBy(tensors.values(), ({ type }) => type)) {
  const bytes = some.reduce((sum, { byteLength }) => sum + byteLength, 0);
  console.log(`${some.length} tensors of ${type}: ${bytes} bytes`);
}
