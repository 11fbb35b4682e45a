import assert from "node:assert/strict";
import { truncate } from "node:fs/promises";
import { openFile } from "../../src/bytes/file.ts";
import { FormatError, UsageError } from "../../src/errors.ts";

const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i * 7);

async function withFile(
  content: Uint8Array,
  use: (path: string) => Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempFile({ prefix: "culm with space " });
  try {
    await Deno.writeFile(path, content);
    await use(path);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("a file is read by path and by URL, in ranges that overlap in time", () =>
  withFile(bytes, async (path) => {
    for (const given of [path, new URL(`file://${path}`)]) {
      const source = await openFile(given);
      assert.equal(source.name, path);
      assert.equal(source.size, 5000);
      const parts = await Promise.all(
        Array.from({ length: 100 }, (_, i) => source.read(i * 40, 100)),
      );
      parts.forEach((part, i) =>
        assert.deepEqual(part, bytes.subarray(i * 40, i * 40 + 100))
      );
      await source.close();
    }
  }));

Deno.test("reading past a file's end is refused with both numbers", () =>
  withFile(bytes, async (path) => {
    const source = await openFile(path);
    await assert.rejects(
      source.read(4999, 2),
      (error) =>
        error instanceof FormatError &&
        /needs bytes 4999\.\.5001, the file has 5000/.test(error.message),
    );
    await source.close();
  }));

Deno.test("a file that shrinks while it is read is reported", () =>
  withFile(bytes, async (path) => {
    const source = await openFile(path);
    await truncate(path, 1000);
    await assert.rejects(
      source.read(900, 200),
      (error) =>
        error instanceof FormatError &&
        /needs bytes 900\.\.1100, the file ended at 1000/.test(error.message),
    );
    await source.close();
  }));

Deno.test("a source that was closed cannot be read", () =>
  withFile(bytes, async (path) => {
    const source = await openFile(path);
    await source.close();
    await assert.rejects(source.read(0, 1), UsageError);
  }));

Deno.test("a missing file, a directory, a device and other URLs are refused by name", async () => {
  for (
    const [given, message] of [
      [
        "/nowhere/model.gguf",
        /Cannot open \/nowhere\/model\.gguf: there is no such file/,
      ],
      [new URL(".", import.meta.url), /bytes\/?: it is a directory/],
      [new URL("file:///model%FF.gguf"), /do not encode UTF-8/],
      ["/dev/null", /it is not a regular file/],
      [
        new URL("https://localhost/m.gguf"),
        /only file: URLs are local files/,
      ],
    ] as const
  ) {
    await assert.rejects(
      openFile(given),
      (error) => error instanceof UsageError && message.test(error.message),
    );
  }
});

Deno.test("an empty file is refused", () =>
  withFile(new Uint8Array(0), async (path) => {
    await assert.rejects(
      openFile(path),
      (error) =>
        error instanceof FormatError && /the file is empty/.test(error.message),
    );
  }));

Deno.test({
  name: "a sandbox that does not permit reading is named",
  permissions: { read: false },
  async fn() {
    await assert.rejects(
      openFile("/somewhere/model.gguf"),
      (error) =>
        error instanceof UsageError &&
        /Cannot open \/somewhere\/model\.gguf: .*--allow-read/.test(
          error.message,
        ),
    );
  },
});
