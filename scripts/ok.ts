/**
 * Everything that must hold before a change is in: formatting, lint, types,
 * docs, generated files, the package, and the tests of both languages. Steps go
 * on after a failure; the last line is `N passed, N failed`, counted from the
 * tests' own reports.
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

const steps: Step[] = [
  { name: "format", command: ["deno", "fmt", "--check"] },
  { name: "lint", command: ["deno", "lint", "--quiet"] },
  { name: "types", command: task("check") },
  { name: "imports", command: task("check:imports") },
  { name: "docs", command: task("doc:lint") },
  { name: "page of options", command: task("docs:options", "--check") },
  { name: "embedded model", command: task("embed", "--check") },
  { name: "bundle", command: task("bundle", "--check") },
  {
    name: "WebAssembly matches its source",
    command: task("wasm", "--check"),
    needs: ["cargo", "rustup", "wasm-pack", "wasm-bindgen"],
  },
  { name: "package", command: publish },
  { name: "package of the small model", command: publish, cwd: "tiny" },
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
  {
    name: "tests",
    command: task("test"),
    counts: async () => junitCounts(await Deno.readTextFile(junit)),
  },
];

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

/** Runs a program, shows what it prints, and returns its standard output. */
async function run(step: Step): Promise<{ success: boolean; stdout: string }> {
  const [program, ...args] = step.command;
  const child = new Deno.Command(
    program === "deno" ? Deno.execPath() : program,
    { args, cwd: new URL(step.cwd ?? ".", root), stdout: "piped" },
  ).spawn();
  const [shown, kept] = child.stdout.tee();
  const [stdout, { success }] = await Promise.all([
    new Response(kept).text(),
    child.status,
    shown.pipeTo(Deno.stdout.writable, { preventClose: true }),
  ]);
  return { success, stdout };
}

const total: Pick<Counts, "passed" | "failed"> = { passed: 0, failed: 0 };
const failedSteps: string[] = [];

for (const step of steps) {
  const absent: string[] = [];
  for (const program of step.needs ?? []) {
    if (!await isThere(program)) absent.push(program);
  }
  if (absent.length > 0) {
    console.log(`-- ${step.name}: skipped, no ${absent.join(", no ")} here`);
    continue;
  }
  console.log(`-- ${step.name}`);
  const { success, stdout } = await run(step);
  if (!success) failedSteps.push(step.name);
  if (step.counts === undefined) continue;
  try {
    const counts = await step.counts(stdout);
    total.passed += counts.passed;
    total.failed += counts.failed;
  } catch (error) {
    console.error(`No report of ${step.name}: ${(error as Error).message}`);
    failedSteps.push(`${step.name} (no report)`);
  }
}

console.log(
  failedSteps.length === 0
    ? "Every step holds"
    : `Steps that failed: ${failedSteps.join(", ")}`,
);
console.log(`${total.passed} passed, ${total.failed} failed`);
Deno.exit(failedSteps.length === 0 && total.failed === 0 ? 0 : 1);
