/** A project of somebody else's, outside the repository, that uses the package. */
import assert from "node:assert/strict";
import { linkedImports } from "./helpers/npm_project.ts";
import config from "../deno.json" with { type: "json" };

const root = `${import.meta.dirname}/../`;

/**
 * Runs deno in a folder that links the package and holds `main.ts`; `lib` are
 * the project's libraries of types, where not deno's.
 */
async function deno(args: string[], main: string, lib?: string[]) {
  const cwd = await Deno.makeTempDir();
  try {
    const settings = {
      compilerOptions: { lib },
      links: [root],
      imports: linkedImports,
    };
    await Deno.writeTextFile(`${cwd}/deno.json`, JSON.stringify(settings));
    await Deno.writeTextFile(`${cwd}/main.ts`, main);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...args, "main.ts"],
      cwd,
      // Without the first, Mesa's drivers complain on standard error.
      env: { XDG_RUNTIME_DIR: "/tmp", NO_COLOR: "1" },
      signal: AbortSignal.timeout(120_000),
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, out: text(stdout), err: text(stderr) };
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
}

const imports = `
  import { load } from "${config.name}";
  import { tinyBamboo } from "@culm/tiny";
`;

const entries = Object.keys(config.exports);
const forPages = "./browser";

/** Checks the types of a project that imports `entries`. */
async function check(entries: string[], lib?: string[]) {
  const main = entries.map((entry, index) =>
    `export * as all${index} from "${config.name}${entry.slice(1)}";`
  );
  const { code, err } = await deno(["check"], main.join("\n"), lib);
  assert.equal(code, 0, err);
}

Deno.test("a project with settings of its own type-checks every entry but the pages'", () =>
  check(entries.filter((entry) => entry !== forPages)));

Deno.test("a page's project type-checks the pages' entry", () =>
  check([forPages], ["dom", "dom.iterable", "dom.asynciterable", "esnext"]));

for (const threads of [0, 2]) {
  Deno.test(`a process of ${threads} threads ends with its last line, though nobody closed the model`, async () => {
    const { code, out, err } = await deno(
      ["run", "--quiet", "--no-prompt"],
      `${imports}
      const model = await load(tinyBamboo(), { threads: ${threads} });
      const options = { maxTokens: 4, seed: 1 };
      const first = await model.complete("Once upon a time", options);
      // Idle for a while, and used again.
      await new Promise((resolve) => setTimeout(resolve, 50));
      const second = await model.complete("Once upon a time", options);
      console.log(model.backend, first === second);`,
    );
    assert.deepEqual([code, err], [0, ""]);
    assert.match(out, threads ? /2 threads true/ : / true/);
  });
}

Deno.test("a process waits for a text that nobody awaits", async () => {
  const { code, out } = await deno(
    ["run", "--quiet", "--no-prompt"],
    `${imports}
    const model = await load(tinyBamboo(), { threads: 2 });
    model.complete("Once upon a time", { maxTokens: 40, ignoreEos: true })
      .then((text) => console.log(text.length > 40));`,
  );
  assert.deepEqual([code, out], [0, "true\n"]);
});

Deno.test("a process waits for a trace and for rates", async () => {
  const { code, out, err } = await deno(
    ["run", "--quiet", "--no-prompt"],
    `${imports}
    const { engine } = await load(tinyBamboo(), { threads: 2 });
    const sequence = engine.createSequence();
    const lanes = await engine.trace(sequence, 1);
    const rates = await engine.measureRates();
    console.log(lanes.length, rates.length);`,
  );
  assert.deepEqual([code, out], [0, "2 2\n"], err);
});

Deno.test("the main entry has at most 45 names", async () => {
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--json", `${root}mod.ts`],
  }).output();
  assert.equal(code, 0);
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout));
  const [{ symbols }] = Object.values(nodes) as { symbols: unknown[] }[];
  assert.ok(symbols.length <= 45, `${symbols.length} names`);
  assert.ok(symbols.length > 20, "they are listed");
});
