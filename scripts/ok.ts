/**
 * Everything that must hold before a change is in: formatting, lint, types,
 * docs, generated files, the package, and the tests of both languages. Those of
 * Rust run beside the others, and what a step says is shown when it has ended;
 * then come the tests, which keep all cores busy. Steps go on after a failure;
 * the last line is `N passed, N failed`, counted from the tests' own reports.
 *
 * Run: `deno task ok`
 *
 * @module
 */

import { cargoCounts, type Counts, junitCounts } from "./test_counts.ts";

const root = new URL("..", import.meta.url);
/** What `deno task test` leaves. */
const junit = new URL("../.cache/junit.xml", import.meta.url);

interface Step {
  name: string;
  command: string[];
  /** Programs that the step needs beside Deno; it is skipped where one is absent. */
  needs?: string[];
  cwd?: string;
  /** Reads the counts of tests from what the step printed. */
  counts?: (stdout: string) => Counts | Promise<Counts>;
}

const task = (...args: string[]) => ["deno", "task", "--quiet", ...args];
const rust = { needs: ["cargo", "rustup"], cwd: "wasm" };
const constrain = { ...rust, cwd: "wasm-constrain" };
const publish = ["deno", "publish", "--dry-run", "--allow-dirty", "--quiet"];

const denoSteps: Step[] = [
  { name: "format", command: ["deno", "fmt", "--check"] },
  { name: "lint", command: ["deno", "lint", "--quiet"] },
  { name: "types", command: task("check") },
  { name: "imports", command: task("check:imports") },
  { name: "docs", command: task("doc:lint") },
  { name: "page of options", command: task("docs:options", "--check") },
  { name: "embedded model", command: task("embed", "--check") },
  { name: "bundle", command: task("bundle", "--check") },
  { name: "package", command: publish },
  { name: "package of the small model", command: publish, cwd: "tiny" },
];

const rustSteps: Step[] = [
  {
    name: "WebAssembly matches its source",
    command: task("wasm", "--check"),
    needs: ["cargo", "rustup", "wasm-pack", "wasm-bindgen"],
  },
  { name: "Rust format", command: ["cargo", "fmt", "--check"], ...rust },
  {
    name: "Rust lint",
    command: ["cargo", "clippy", "--all-targets", "--", "-D", "warnings"],
    ...rust,
  },
  {
    name: "Rust format of constraints",
    command: ["cargo", "fmt", "--check"],
    ...constrain,
  },
  {
    name: "Rust lint of constraints",
    command: ["cargo", "clippy", "--all-targets", "--", "-D", "warnings"],
    ...constrain,
  },
  {
    name: "Rust tests",
    command: ["cargo", "test", "--quiet"],
    ...rust,
    counts: cargoCounts,
  },
];

const tests: Step = {
  name: "tests",
  // The step "types" has checked them.
  command: task("test", "--no-check"),
  counts: async () => junitCounts(await Deno.readTextFile(junit)),
};

/** Whether `program` can be started at all. */
async function isThere(program: string): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(program, {
      args: ["--version"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Runs a step's program; gives what it printed, all of it and on standard output. */
async function run(
  { command: [program, ...args], cwd = "." }: Step,
  show: (bytes: Uint8Array) => void,
): Promise<{ success: boolean; stdout: string }> {
  const child = new Deno.Command(
    program === "deno" ? Deno.execPath() : program,
    { args, cwd: new URL(cwd, root), stdout: "piped", stderr: "piped" },
  ).spawn();
  const [shown, kept] = child.stdout.tee();
  const showAll = async (stream: ReadableStream<Uint8Array>) => {
    for await (const bytes of stream) show(bytes);
  };
  const [stdout, { success }] = await Promise.all([
    new Response(kept).text(),
    child.status,
    showAll(shown),
    showAll(child.stderr),
  ]);
  return { success, stdout };
}

const total: Pick<Counts, "passed" | "failed"> = { passed: 0, failed: 0 };
const failedSteps: string[] = [];

/** Does a step, and shows what it says: at once, or when it has ended. */
async function take(step: Step, isAlone: boolean): Promise<void> {
  const absent: string[] = [];
  for (const program of step.needs ?? []) {
    if (!await isThere(program)) absent.push(program);
  }
  if (absent.length > 0) {
    console.log(`-- ${step.name}: skipped, no ${absent.join(", no ")} here`);
    return;
  }
  const output: Uint8Array[] = [];
  const show = (bytes: Uint8Array) => {
    for (let at = 0; at < bytes.length;) {
      at += Deno.stdout.writeSync(bytes.subarray(at));
    }
  };
  if (isAlone) console.log(`-- ${step.name}`);
  const { success, stdout } = await run(
    step,
    isAlone ? show : (bytes) => output.push(bytes),
  );
  if (!isAlone) {
    console.log(`-- ${step.name}`);
    output.forEach(show);
  }
  if (!success) failedSteps.push(step.name);
  if (step.counts === undefined) return;
  try {
    const counts = await step.counts(stdout);
    total.passed += counts.passed;
    total.failed += counts.failed;
  } catch (error) {
    console.error(`No report of ${step.name}: ${(error as Error).message}`);
    failedSteps.push(`${step.name} (no report)`);
  }
}

async function takeInTurn(steps: readonly Step[]): Promise<void> {
  for (const step of steps) await take(step, false);
}

await Promise.all([denoSteps, rustSteps].map(takeInTurn));
await take(tests, true);

console.log(
  failedSteps.length === 0
    ? "Every step holds"
    : `Steps that failed: ${failedSteps.join(", ")}`,
);
console.log(`${total.passed} passed, ${total.failed} failed`);
Deno.exit(failedSteps.length === 0 && total.failed === 0 ? 0 : 1);
