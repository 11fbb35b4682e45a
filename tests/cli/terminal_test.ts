import xterm from "@xterm/headless";
import assert from "node:assert/strict";
import { note, ProgressBar, write } from "../../cli/terminal.ts";

/** Writes to both streams, for a terminal of so many columns, which may change. */
async function shown(
  work: (resize: (columns: number) => Promise<void>) => Promise<void>,
  columns = 80,
): Promise<string[]> {
  const { stdout, stderr, consoleSize } = Deno;
  const terminal = new xterm.Terminal({
    cols: columns,
    rows: 24,
    convertEol: true,
    allowProposedApi: true,
  });
  const writeSync = (bytes: Uint8Array) => {
    terminal.write(bytes);
    return bytes.length;
  };
  const stream = {
    isTerminal: () => true,
    writeSync,
    write: (bytes: Uint8Array) => Promise.resolve(writeSync(bytes)),
  };
  const flush = () => new Promise<void>((done) => terminal.write("", done));
  Object.assign(Deno, {
    stdout: stream,
    stderr: stream,
    consoleSize: () => ({ columns: terminal.cols, rows: terminal.rows }),
  });
  try {
    await work(async (columns) => {
      await flush();
      terminal.resize(columns, 24);
    });
  } finally {
    Object.assign(Deno, { stdout, stderr, consoleSize });
  }
  await flush();
  const { active } = terminal.buffer;
  const rows = Array.from(
    { length: active.length },
    (_, i) => active.getLine(i)!.translateToString(true).trimEnd(),
  );
  const last = rows.findLastIndex((row) => row !== "");
  return rows.slice(0, Math.max(last, active.baseY + active.cursorY) + 1);
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

Deno.test("a bar has one row, however narrow the window is and becomes", async () => {
  const name = "日本".repeat(10);
  const draw = async (resize: (columns: number) => Promise<void>) => {
    note("before");
    using bar = new ProgressBar(name, "chunks");
    bar.update(4, 4, "a text: ");
    await resize(23);
    bar.update(4, 4);
    await resize(60);
    bar.update(4, 4);
  };
  assert.deepEqual(await shown(draw, 40), ["before", ""]);
  const rows = await shown(async () => {
    const bar = new ProgressBar(name, "chunks");
    bar.update(4, 4);
    bar.update(4, 4);
    await Promise.resolve();
  }, 24);
  assert.deepEqual(rows, ["日本".repeat(5) + "日"]);
});
