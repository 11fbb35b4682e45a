import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { FormatError, UsageError } from "../../src/errors.ts";
import { openFile } from "../../src/bytes/file.ts";
import { type LocalFile, LocalFiles } from "../../src/bytes/local_files.ts";
import { openWhole } from "../../src/bytes/parts.ts";

Deno.test("files of one model are read as one, wherever a range begins and ends", async () => {
  const folder = await Deno.makeTempDir();
  const lengths = [40, 1, 59];
  const all = Uint8Array.from({ length: 100 }, (_, i) => (i * 91) >> 2);
  let start = 0;
  const names = lengths.map((_, i) => `${folder}/m-0000${i + 1}-of-00003.gguf`);
  for (const [i, length] of lengths.entries()) {
    await Deno.writeFile(names[i], all.slice(start, start += length));
  }
  const whole = await openWhole(names[0], openFile);
  const byUrl = await openFile(pathToFileURL(names[0]));
  try {
    using files = new LocalFiles(whole.localFiles!);
    fc.assert(fc.property(fc.nat(100), fc.nat(100), (a, b) => {
      const [from, to] = [Math.min(a, b), Math.max(a, b)];
      const bytes = new Uint8Array(to - from);
      files.read(from, bytes);
      assert.deepEqual(bytes, all.slice(from, to));
    }));
    using first = new LocalFiles(byUrl.localFiles!);
    const bytes = new Uint8Array(7);
    first.read(3, bytes);
    assert.deepEqual(bytes, all.slice(3, 10));
  } finally {
    for (const source of [whole, byUrl]) await source.close();
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a file that is gone is said, and those before it are closed", async () => {
  const path = await Deno.makeTempFile();
  await Deno.writeTextFile(path, "text");
  const { localFiles, close } = await openFile(path);
  await close();
  const gone: LocalFile = { path: `${path}.gone`, size: 4, mtimeMs: 0 };
  const open = () => new LocalFiles([...localFiles!, gone]);
  assert.throws(
    open,
    (error) =>
      error instanceof UsageError &&
      /^Cannot open .*\.gone: /.test(error.message),
  );
  await Deno.remove(path);
});

Deno.test("what was read of a file that is not as it was is said, whatever was read", async () => {
  const folder = await Deno.makeTempDir();
  const paths = [1, 2].map((i) => `${folder}/m-0000${i}-of-00002.gguf`);
  for (const path of paths) await Deno.writeTextFile(path, "text");
  const whole = await openWhole(paths[0], openFile);
  try {
    using files = new LocalFiles(whole.localFiles!);
    const read = (offset: number) => files.read(offset, new Uint8Array(4));
    await Deno.utime(paths[1], 1e9, 1e9);
    read(0);
    files.check();
    read(4);
    read(0);
    const isSaid = (error: unknown) =>
      error instanceof FormatError && error.message.includes(paths[1]) &&
      error.message.includes("it was written at 2001-09-09");
    assert.throws(() => files.check(), isSaid);
    assert.throws(() => files.check(), isSaid);
    await Deno.truncate(paths[0], 3);
    assert.throws(
      () => read(0),
      /^FormatError: Cannot read .*: it had 4 bytes when the model was loaded, now it has 3$/,
    );
  } finally {
    await whole.close();
    await Deno.remove(folder, { recursive: true });
  }
});
