import assert from "node:assert/strict";
import { isFolder, openFolder, readWhole } from "../../src/bytes/folder.ts";
import { LimitError, UsageError } from "../../src/errors.ts";

Deno.test("a local folder lists its files and opens them", async () => {
  const path = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${path}/inner`);
    await Deno.writeTextFile(`${path}/a.json`, "{}");
    // As in a cache of downloads, where the files are links.
    await Deno.symlink(`${path}/a.json`, `${path}/linked.json`);
    const folder = await openFolder(path);
    assert.deepEqual([...folder.files].sort(), ["a.json", "linked.json"]);
    for (const file of folder.files) {
      const bytes = await readWhole(folder, file);
      assert.equal(new TextDecoder().decode(bytes), "{}");
    }
    assert.deepEqual(
      await Promise.all(
        [path, `${path}/inner`, `${path}/a.json`, `${path}/none`].map(isFolder),
      ),
      [true, true, false, false],
    );
    await assert.rejects(folder.open("none"), UsageError);
    await assert.rejects(
      readWhole(folder, "a.json", 1),
      (error) =>
        error instanceof LimitError &&
        /has 2 bytes, the limit is 1/.test(error.message),
    );
    await assert.rejects(
      openFolder(`${path}/none`),
      (error) =>
        error instanceof UsageError &&
        /there is no such folder/.test(error.message),
    );
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});
