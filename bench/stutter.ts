/**
 * How smoothly a page in Chromium runs while an engine in a worker fetches and
 * loads SmolLM2, reads a prompt and decodes: the time between its frames, and
 * its tasks of more than 50 ms.
 *
 * Run: `deno task bench:stutter [--rounds 3] [--threads 1,2] [--model FILE]`
 *
 * @module
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { median } from "../cli/commands/bench/roofline.ts";
import { openBrowser } from "../tests/web/browsers.ts";
import { modelPath, promptsOf } from "./browser/prompts.ts";
import { ownScripts } from "./browser/sides.ts";
import { openSite, pagePath } from "./browser/site.ts";
import type {
  Smoothness,
  StutterReport,
  StutterWork,
} from "./browser/stutter_page.ts";
import { numberOf, optionsOf } from "./options.ts";

const options = optionsOf(() => {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      rounds: { type: "string", default: "3" },
      threads: { type: "string", default: "1,2" },
      model: { type: "string", default: modelPath },
    },
  });
  return {
    rounds: numberOf(values.rounds, "--rounds"),
    threads: values.threads.split(",").map((n) => numberOf(n, "--threads")),
    model: values.model,
  };
});

const promptOf = await promptsOf(options.model);
await using site = await openSite({
  engine: await ownScripts("stutter_page.ts", "stutter_engine.ts"),
  models: { "/model.gguf": options.model },
});

declare const globalThis: { report: Promise<StutterReport> };

async function visit(threads: number): Promise<StutterReport> {
  const browser = await openBrowser("chrome");
  try {
    const page = await browser.newPage();
    const prompt = promptOf(0, 512).text;
    const work: StutterWork = { threads, prompt, tokens: 128 };
    await page.goto(site.url + pagePath("stutter_page", work));
    return await page.evaluate(() => globalThis.report);
  } finally {
    await browser.close();
  }
}

const reports = new Map<number, StutterReport[]>();
for (let round = 0; round < options.rounds; round++) {
  for (const threads of options.threads) {
    const report = await visit(threads);
    reports.set(threads, [...reports.get(threads) ?? [], report]);
  }
}

const cell = (values: number[]) =>
  `${median(values).toFixed(0)} (${Math.min(...values).toFixed(0)}–${
    Math.max(...values).toFixed(0)
  })`;
const columns: [string, keyof Smoothness][] = [
  ["takes, ms", "ms"],
  ["frames", "frames"],
  ["longest gap, ms", "longestGap"],
  ["99% of gaps, ms", "gap99"],
  ["tasks over 50 ms", "longTasks"],
  ["longest of them, ms", "longestTask"],
];
const lines = [...reports].flatMap(([threads, all]) =>
  (Object.keys(all[0]) as (keyof StutterReport)[]).map((phase) => [
    `${threads}`,
    phase,
    ...columns.map(([, key]) => cell(all.map((each) => each[phase][key]))),
  ])
);
const head = ["threads", "the engine", ...columns.map(([name]) => name)];
console.log(`CPU: ${cpus()[0].model}, ${cpus().length} cores
Rounds: ${options.rounds}; median (least–most)

| ${head.join(" | ")} |
|${" --- |".repeat(head.length)}
${lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n")}`);
