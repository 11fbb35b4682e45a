import assert from "node:assert/strict";
import { fromBuffer } from "../../../src/bytes/memory.ts";
import { openWhole, partNames } from "../../../src/bytes/parts.ts";
import { FormatError, LimitError } from "../../../src/errors.ts";
import {
  entry,
  type MetadataEntry,
} from "../../../src/formats/gguf/gguf_file.ts";
import { readGguf } from "../../../src/formats/gguf/read.ts";
import { toBuffer, writeGguf } from "../../../src/formats/gguf/write.ts";
import { toByteSource } from "../../../src/load/model_source.ts";
import { plainMetadata } from "../../helpers/plain_metadata.ts";
import { fixturePath } from "../../helpers/fixtures.ts";

const partOf = (index: number) =>
  fixturePath(`split/sample-0000${index}-of-00003.gguf`);

Deno.test("what gguf-py wrote in three parts reads as what it wrote whole, whichever part is named", async () => {
  const whole = await toByteSource(fixturePath("split/whole.gguf"));
  const expected = await readGguf(whole);
  for (const index of [1, 2, 3]) {
    const source = await toByteSource(partOf(index));
    const file = await readGguf(source);
    assert.deepEqual(
      plainMetadata(file.metadata),
      plainMetadata(expected.metadata),
    );
    assert.deepEqual([...file.tensors.keys()], [...expected.tensors.keys()]);
    for (const [name, { offset, byteLength }] of file.tensors) {
      const tensor = expected.tensors.get(name)!;
      assert.deepEqual(
        await source.read(offset, byteLength),
        await whole.read(tensor.offset, tensor.byteLength),
        name,
      );
    }
    assert.equal(file.size, source.size);
    await source.close();
  }
  await whole.close();
});

Deno.test("by the URL of any part all are read, and the one that is missing is named", async () => {
  const whole = await readGguf(
    await toByteSource(fixturePath("split/whole.gguf")),
  );
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const { pathname, search } = new URL(request.url);
      if (search !== "?download=true") return new Response("", { status: 400 });
      // The same first part, under the name of a file whose second lacks.
      const file = pathname.replace(
        "cut-00001-of-00002",
        "sample-00001-of-00003",
      );
      const path = fixturePath(`split${file}`);
      return await Deno.readFile(path).then(
        (bytes) => new Response(bytes),
        () => new Response("", { status: 404, statusText: "Not Found" }),
      );
    },
  );
  const url = (name: string) =>
    `http://127.0.0.1:${server.addr.port}/${name}.gguf?download=true`;
  try {
    for (
      const given of [
        url("sample-00002-of-00003"),
        new URL(url("sample-00003-of-00003")),
      ]
    ) {
      const file = await readGguf(await toByteSource(given));
      assert.deepEqual([...file.tensors.keys()], [...whole.tensors.keys()]);
    }
    await assert.rejects(
      toByteSource(url("sample-00001-of-00004")),
      /^UsageError: Cannot read [^ ]*sample-00001-of-00004.gguf\?download=true: the server answered 404 Not Found$/,
    );
    await assert.rejects(
      toByteSource(url("cut-00001-of-00002")),
      /cut-00001-of-00002.*not all are there: Cannot read .*cut-00002-of-00002.*404 Not Found$/,
    );
  } finally {
    await server.shutdown();
  }
});

Deno.test("ranges reach over the borders of parts, and not past the end", async () => {
  const source = await toByteSource(partOf(1));
  const parts = await Promise.all(
    [1, 2, 3].map((i) => Deno.readFile(partOf(i))),
  );
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  assert.equal(source.size, bytes.length);
  assert.deepEqual(await source.read(0, bytes.length), bytes);
  const border = parts[0].length, second = border + parts[1].length;
  for (
    const [from, to] of [
      [border - 3, border + 3],
      [border, second],
      [border - 1, second + 1],
      [second, second],
      [bytes.length, bytes.length],
    ]
  ) {
    assert.deepEqual(
      await source.read(from, to - from, new ArrayBuffer(1 << 16)),
      bytes.subarray(from, to),
    );
  }
  await assert.rejects(source.read(bytes.length - 1, 2), FormatError);
  await source.close();
});

Deno.test("names of parts, of paths and of URLs", () => {
  assert.deepEqual(partNames("a/m-00002-of-00002.gguf"), [
    "a/m-00001-of-00002.gguf",
    "a/m-00002-of-00002.gguf",
  ]);
  assert.deepEqual(partNames("https://h/m-00001-of-00002.gguf?download=true"), [
    "https://h/m-00001-of-00002.gguf?download=true",
    "https://h/m-00002-of-00002.gguf?download=true",
  ]);
  for (
    const name of [
      "m.gguf",
      "m-1-of-2.gguf",
      "m-00003-of-00002.gguf",
      "m-00000-of-00002.gguf",
      "m-00001-of-00002.safetensors",
    ]
  ) assert.equal(partNames(name), undefined, name);
  assert.throws(
    () => partNames("m-00001-of-99999.gguf"),
    (error) =>
      error instanceof LimitError &&
      /one of 99999 files, the limit is 1000/.test(error.message),
  );
});

/** A part with one tensor, `name`, of eight weights. */
async function part(
  name: string,
  keys: Record<string, number | undefined>,
): Promise<Uint8Array> {
  const metadata: [string, MetadataEntry][] = [];
  for (const [key, value] of Object.entries(keys)) {
    if (value !== undefined) metadata.push([key, entry.whole(value)]);
  }
  const data = new Uint8Array(32);
  return await toBuffer(
    writeGguf({
      metadata,
      tensors: [{ name, type: "F32", shape: [8], data }],
    }),
  );
}

/** Reads two parts as `m-00001-of-00002.gguf`. */
async function readTwo(first: Uint8Array, second: Uint8Array) {
  const bytes = [first, second];
  return await readGguf(
    await openWhole(
      "m-00001-of-00002.gguf",
      (name) => Promise.resolve(fromBuffer(bytes.shift()!, name)),
    ),
  );
}

const keys = (index: number, count = 2, tensors?: number) => ({
  "split.no": index,
  "split.count": count,
  "split.tensors.count": tensors,
});

Deno.test("parts that do not belong together are refused", async () => {
  const first = await part("a", keys(0));
  const wrong: [Uint8Array, Uint8Array, RegExp][] = [
    [first, await part("a", keys(1)), /tensor a of m-00002.*an earlier part/],
    [first, await part("b", keys(0)), /m-00002.* part 2 of 2, .* part 1 of 2/],
    [first, await part("b", keys(1, 3)), /part 2 of 2, .* part 2 of 3/],
    [first, await part("b", {}), /m-00002.* part 2 of 2, .* part 1 of 1/],
    [
      await part("a", keys(0, 2, 3)),
      await part("b", keys(1)),
      /split\.tensors\.count says 3 tensors, the 2 files have 2/,
    ],
    [first, Uint8Array.of(1, 2, 3, 4), /m-00002.*begins with GGUF/],
    [
      await part("a", keys(1)),
      await part("b", keys(0)),
      /m-00001.* part 1 of 2, .* part 2 of 2/,
    ],
  ];
  for (const [a, b, message] of wrong) {
    await assert.rejects(
      readTwo(a, b),
      (error) => error instanceof FormatError && message.test(error.message),
    );
  }
  const good = await readTwo(
    await part("a", keys(0, 2, 2)),
    await part("b", keys(1)),
  );
  assert.deepEqual([...good.tensors.keys()], ["a", "b"]);
  assert.equal(good.metadata.size, 0);
});

Deno.test("one part whose others are not known is refused; a file in one part is a file", async () => {
  await assert.rejects(
    readGguf(fromBuffer(await part("a", keys(0)), "renamed.gguf")),
    (error) =>
      error instanceof FormatError &&
      /renamed\.gguf: it is one of 2 files.*-00001-of-00002\.gguf/.test(
        error.message,
      ),
  );
  const alone = await readGguf(fromBuffer(await part("a", keys(0, 1, 1))));
  assert.equal(alone.metadata.size, 0);
});

Deno.test("the limit of values holds for all parts together", async () => {
  // An array within an array counts as 16 values.
  const arrays = (count: number): MetadataEntry => ({
    type: "array",
    value: {
      elementType: "array",
      values: Array(count).fill({ elementType: "string", values: [] }),
    },
  });
  const many = (index: number, count: number) =>
    toBuffer(
      writeGguf({
        metadata: [
          ["split.no", entry.whole(index)],
          ["split.count", entry.whole(2)],
          ["arrays", arrays(count)],
        ],
        tensors: [],
      }),
    );
  const most = 2 ** 18;
  await assert.rejects(
    readTwo(await many(0, most / 2), await many(1, most / 2)),
    (error) =>
      error instanceof LimitError &&
      /m-00002.*more than 4194304 values/.test(error.message),
  );
  const half = await readTwo(await many(0, most / 2), await many(1, 1));
  assert.equal(half.metadata.size, 1);
});

Deno.test("a part that is missing is named", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/m-00001-of-00002.gguf`;
  await Deno.writeFile(path, await part("a", keys(0)));
  await assert.rejects(
    toByteSource(path),
    /m-00001-of-00002\.gguf: it is one of 2 files, and not all are there: Cannot open .*m-00002-of-00002\.gguf: there is no such file$/,
  );
  await assert.rejects(
    toByteSource(`${folder}/none-00001-of-00002.gguf`),
    /^UsageError: Cannot open .*none-00001-of-00002\.gguf: there is no such file$/,
  );
  await Deno.remove(folder, { recursive: true });
});
