/**
 * Fails where the working tree is slower than a commit: in turns with it, on the
 * same models, the median ratio of seven rounds is under 0.95 in any row.
 *
 * The two trees live in two processes, one of which waits while the other
 * works: each runs with its own `deno.json`, lock and worker bundle, neither
 * collects the other's garbage or finds its code compiled, and what a commit
 * cannot do stops nobody else. Each round loads the model anew, since which
 * kernels a place chooses, and where its memory lies, differ from load to load
 * more than trees do. Within a round turns are short and alternate, so that what
 * else the machine does slows both. Where a row seems slower, it is measured once
 * more, and judged by all rounds: two equal trees are to pass.
 *
 * Run: `deno task bench:guard [--commit=COMMIT] [--rounds=7] [--allowed=0.95] [--only=TEXT]`
 *
 * @module
 */
import { parseArgs } from "node:util";
import { exists } from "../cli/output_file.ts";
import { Checkout } from "./guard/checkout.ts";
import { type Round, type Verdict, verdictOf } from "./guard/ratios.ts";
import {
  folder,
  nameOf,
  type Setting,
  settings,
  smollm2,
  synthetic,
  type Work,
} from "./guard/rows.ts";
import type { Answer, Request } from "./guard/tree.ts";
import { numberOf, optionsOf } from "./options.ts";
import { Side } from "./side.ts";

const flags = optionsOf(() => {
  const { values: { commit, only, ...given } } = parseArgs({
    options: {
      commit: { type: "string" },
      rounds: { type: "string", default: "7" },
      allowed: { type: "string", default: "0.95" },
      only: { type: "string", default: "" },
    },
  });
  if (!settings.some(({ name }) => name.includes(only))) {
    throw new Error(`Cannot measure --only ${only}: no row is called so`);
  }
  const share = { type: "number", exclusiveMinimum: 0, maximum: 1 } as const;
  return {
    commit,
    only,
    rounds: numberOf(given.rounds, "--rounds"),
    allowed: numberOf(given.allowed, "--allowed", share),
  };
});

/** Turns of each side in a round, of some 50 ms each. */
const turns = 4;

const here = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

async function makeModels(): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  for (const [path, args] of Object.entries(synthetic)) {
    if (await exists(path)) continue;
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-read", "--allow-write", `${here}/cli/main.ts`]
        .concat("synth", "-o", path, args),
      stdout: "inherit",
      stderr: "inherit",
    }).output();
    if (!success) throw new Error(`culm synth could not make ${path}`);
  }
}

function startTree(tree: string): Promise<Side> {
  const permissions = ["--allow-read", "--allow-env", "--allow-run"];
  const script = `${here}/bench/guard/tree.ts`;
  return Side.start(
    [Deno.execPath(), "run", `--config=${tree}/deno.json`, ...permissions]
      .concat(script, tree),
  );
}

/** A tree cannot do what a row asks for: a commit that is older may not, the working tree has to. */
class CannotRun extends Error {
  constructor(readonly tree: keyof Sides, reason: string) {
    const name = tree === "base" ? "the commit" : "the working tree";
    super(`${name} cannot run it: ${reason}`);
  }
}

interface Sides {
  readonly base: Side;
  readonly here: Side;
}
const names = ["base", "here"] as const;

async function ask(
  sides: Sides,
  name: keyof Sides,
  request: Request,
): Promise<number> {
  const answer = await sides[name].ask<Answer>(request);
  if ("ms" in answer) return answer.ms;
  throw new CannotRun(name, answer.error);
}

/** One round of a setting's works: both sides load, then take turns. */
async function measureRound(
  sides: Sides,
  setting: Setting,
  round: number,
): Promise<Round[]> {
  const order = (turn: number) =>
    (round + turn) % 2 === 0 ? names : names.toReversed();
  for (const name of order(0)) {
    await ask(sides, name, { load: setting });
  }
  const rounds: Round[] = [];
  for (const work of setting.works) {
    const ms = { base: [] as number[], here: [] as number[] };
    // The first turn of each side compiles what the work needs, and is not counted.
    for (let turn = 0; turn <= turns; turn++) {
      for (const name of order(turn)) {
        const took = await ask(sides, name, { work });
        if (turn > 0) ms[name].push(took);
      }
    }
    rounds.push(ms);
  }
  return rounds;
}

/** Judges each of a setting's works; where one seems slower, by twice as many rounds. */
async function measure(sides: Sides, setting: Setting): Promise<Verdict[]> {
  const rows: Round[][] = setting.works.map(() => []);
  const { rounds, allowed } = flags;
  const measureTo = async (end: number) => {
    for (let round = rows[0].length; round < end; round++) {
      const measured = await measureRound(sides, setting, round);
      rows.forEach((row, i) => row.push(measured[i]));
    }
    return rows.map((row) => verdictOf(row, allowed));
  };
  const verdicts = await measureTo(rounds);
  return verdicts.some(({ isSlower }) => isSlower)
    ? await measureTo(2 * rounds)
    : verdicts;
}

/** Tells how a row went. */
function report(setting: Setting, work: Work, verdict: Verdict): void {
  const { ratio, least, most, baseMs, hereMs, isSlower } = verdict;
  const spread = `${least.toFixed(2)} to ${most.toFixed(2)}`;
  console.log(
    `${isSlower ? "SLOWER" : "ok    "} ${setting.name}, ${nameOf(work)}: ${
      ratio.toFixed(3)
    } of the commit's speed (${spread}; ${hereMs.toFixed(1)} ms, were ${
      baseMs.toFixed(1)
    })`,
  );
}

/** Measures all rows; gives how many fail. */
async function guard(sides: Sides): Promise<number> {
  let failed = 0;
  for (const setting of settings) {
    if (!setting.name.includes(flags.only)) continue;
    if (setting.model === smollm2 && !await exists(smollm2)) {
      console.log(
        `       ${setting.name}: not measured, run \`deno task fetch:smollm2\``,
      );
      continue;
    }
    try {
      const verdicts = await measure(sides, setting);
      verdicts.forEach((verdict, i) =>
        report(setting, setting.works[i], verdict)
      );
      failed += verdicts.filter(({ isSlower }) => isSlower).length;
    } catch (error) {
      if (!(error instanceof CannotRun)) throw error;
      const isFault = error.tree === "here";
      if (isFault) failed += setting.works.length;
      const mark = isFault ? "FAILED" : "      ";
      console.log(`${mark} ${setting.name}: ${error.message}`);
    }
  }
  return failed;
}

function checkOut(): Checkout {
  try {
    return new Checkout(flags.commit);
  } catch (error) {
    console.error((error as Error).message);
    Deno.exit(1);
  }
}

using checkout = checkOut();
await makeModels();
console.log(`The working tree beside ${checkout.name}\n`);
const sides = {
  base: await startTree(checkout.folder),
  here: await startTree(here),
};
const failed = await guard(sides);
for (const side of Object.values(sides)) await side.close();
if (failed > 0) {
  const rows = failed === 1 ? "1 row fails" : `${failed} rows fail`;
  console.error(
    `\n${rows}: the median ratio is to be ${flags.allowed} or more`,
  );
  Deno.exitCode = 1;
}
