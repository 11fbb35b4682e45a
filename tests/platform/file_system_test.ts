import assert from "node:assert/strict";
import { UsageError } from "../../src/errors.ts";
import { openFile } from "../../src/bytes/file.ts";

Deno.test("where there are no files, as in a browser, opening one says so", async () => {
  const process = Object.getOwnPropertyDescriptor(globalThis, "process")!;
  Reflect.deleteProperty(globalThis, "process");
  try {
    await assert.rejects(openFile("model.gguf"), (error: unknown) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, /model\.gguf: there are no files here/);
      return true;
    });
  } finally {
    Object.defineProperty(globalThis, "process", process);
  }
});
