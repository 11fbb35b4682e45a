/**
 * Runs the tests with what they may do, and says at the end which were skipped
 * and how to have them. A run that takes more than 50 minutes, or as many as
 * CULM_TEST_MINUTES says, is ended, and the tests that have not ended are named.
 *
 * Run: `deno task test`, with arguments of `deno test` behind it
 *
 * @module
 */

import { skippedLines } from "../tests/helpers/needs.ts";
import { countCases } from "./test_counts.ts";

const junit = `${import.meta.dirname}/../.cache/junit.xml`;
const args = [
  "test",
  "--parallel",
  "--doc",
  "--allow-read",
  "--allow-write",
  "--allow-run",
  "--allow-env",
  "--allow-sys",
  "--allow-net=127.0.0.1,127.0.0.2,localhost",
  `--junit-path=${junit}`,
];

await Deno.mkdir(new URL("../.cache", import.meta.url), { recursive: true });
await Deno.remove(junit).catch(() => {});
const tests = new Deno.Command(Deno.execPath(), {
  args: [...args, ...Deno.args],
  env: {
    // OpenGL's adapters lack what the kernels need.
    DENO_WEBGPU_BACKEND: Deno.env.get("DENO_WEBGPU_BACKEND") ??
      "vulkan,metal,dx12",
    // Without it, Mesa's drivers complain at every start.
    XDG_RUNTIME_DIR: Deno.env.get("XDG_RUNTIME_DIR") ?? "/tmp",
  },
}).spawn();
const minutes = Number(Deno.env.get("CULM_TEST_MINUTES") ?? 50);
const timers = [
  setTimeout(() => {
    console.log(
      `The tests have not ended in ${minutes} minutes: stopping them`,
    );
    // Interrupted, Deno names those that are pending.
    tests.kill("SIGINT");
  }, 60_000 * minutes),
  setTimeout(() => tests.kill("SIGKILL"), 60_000 * minutes + 20_000),
];
const { code } = await tests.status;
for (const timer of timers) clearTimeout(timer);
// `deno test --help` and the like leave no report.
const report = await Deno.readTextFile(junit).catch(() => undefined);
if (report) {
  for (const line of skippedLines(countCases(report).skipped)) {
    console.log(line);
  }
}
Deno.exit(code);
