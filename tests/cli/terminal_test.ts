import assert from "node:assert/strict";
import { note, ProgressBar, write } from "../../cli/terminal.ts";

/** What a terminal shows of what `work` writes to both streams: its lines, with what was erased left out. */
async function shown(work: () => Promise<void>): Promise<string[]> {
  const { stdout, stderr } = Deno;
  const decoder = new TextDecoder();
  let all = "";
  const writeSync = (bytes: Uint8Array) => {
    all += decoder.decode(bytes);
    return bytes.length;
  };
  const stream = {
    isTerminal: () => true,
    writeSync,
    write: (bytes: Uint8Array) => Promise.resolve(writeSync(bytes)),
  };
  Object.assign(Deno, { stdout: stream, stderr: stream });
  try {
    await work();
  } finally {
    Object.assign(Deno, { stdout, stderr });
  }
  // deno-lint-ignore no-control-regex
  return all.split("\n").map((line) => line.replace(/^[^]*\r\x1b\[K/, ""));
}

Deno.test("a bar on a terminal gives way to lines and results, and is drawn again", async () => {
  const lines = await shown(async () => {
    using bar = new ProgressBar("scoring", "chunks");
    bar.update(1, 4);
    note("a message");
    bar.update(4, 4);
    await write("a result\n");
    note("another");
    bar.update(4, 4);
  });
  assert.deepEqual(lines, ["a message", "a result", "another", ""]);
});

Deno.test("the bar of work that fails is gone before its error is said", async () => {
  const lines = await shown(async () => {
    await assert.rejects(async () => {
      using bar = new ProgressBar("scoring", "chunks");
      bar.update(3, 3);
      await Promise.reject(new Error("broken"));
    }, /broken/);
    note("error: broken");
  });
  assert.deepEqual(lines, ["error: broken", ""]);
});
