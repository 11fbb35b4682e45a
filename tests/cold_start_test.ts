/** What an edge pays before the first token: one thread, no worker, no GPU, no permission. */
import assert from "node:assert/strict";

const root = new URL("..", import.meta.url).pathname;

/** The embedded model's first token, and what it took after the import: ms of CPU, and bytes of memory. */
const firstToken = `
  import process from "node:process";
  import { load } from "@culm/culm";
  import { tinyBamboo } from "@culm/tiny";
  const { rss } = process.memoryUsage();
  const before = process.cpuUsage();
  const model = await load(tinyBamboo(), { threads: 0, gpu: "off" });
  const { value } = await model.generate("Once upon a time").next();
  const { user, system } = process.cpuUsage(before);
  const bytes = process.memoryUsage().rss - rss;
  console.log(JSON.stringify({ text: value.text, ms: (user + system) / 1000, bytes }));
  process.exit();
`;

/** Runs that are tried: other programs make the CPU's time longer, never shorter. */
const tries = 6;

/** Twice the budget of 150 ms, which quiet cores keep: slow and busy ones are to pass. */
const mostMs = 300;
const mostBytes = 100e6;

Deno.test("the embedded model writes its first token within 300 ms of CPU time and 100 MB", async () => {
  let leastMs = Infinity, leastBytes = Infinity;
  for (
    let i = 0;
    i < tries && (leastMs > mostMs || leastBytes > mostBytes);
    i++
  ) {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-prompt", "-"],
      cwd: root,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    await new Blob([firstToken]).stream().pipeTo(child.stdin);
    const { stdout, stderr } = await child.output();
    assert.equal(new TextDecoder().decode(stderr), "");
    const { text, ms, bytes } = JSON.parse(new TextDecoder().decode(stdout));
    assert.notEqual(text, "");
    leastMs = Math.min(leastMs, ms);
    leastBytes = Math.min(leastBytes, bytes);
  }
  assert.ok(leastMs <= mostMs, `${leastMs} ms of CPU time`);
  assert.ok(leastBytes <= mostBytes, `${leastBytes} bytes`);
});
