import { benchForms, benchWriter, rowOf } from "./output.ts";
import { type BenchTest, nameOf, runTest } from "./runs.ts";
import type { CommandSpec } from "../../command.ts";
import { runGpuOptions } from "../../gpu_options.ts";
import { gpuCountsText } from "../../gpu_stats.ts";
import { Interrupt } from "../../interrupt.ts";
import { describe, loadModel } from "../../model_file.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../../option.ts";
import { benchLoadOptions, modelOptions } from "../../options.ts";
import { openIfGiven } from "../../output_flags.ts";
import { recallText } from "../../recall.ts";
import { breakDown, breakdownText } from "./breakdown.ts";
import { layersText, ratesText, weightsText } from "./roofline.ts";
import { writeDrawing } from "../../svg.ts";
import { note, write } from "../../terminal.ts";
import { type Timeline, timelineText, watchToken } from "./timeline.ts";
import { timelineSvg } from "./timeline_svg.ts";
import { numbers } from "../../values.ts";

const counts = numbers({ type: "integer", minimum: 0 });

const options = {
  Test: {
    nPrompt: {
      read: counts,
      default: [512],
      flag: "-p, --n-prompt <n,...>",
      description: "tokens evaluated at once; 0 = no such test",
    },
    nGen: {
      read: counts,
      default: [128],
      flag: "-n, --n-gen <n,...>",
      description: "tokens evaluated one by one; 0 = no such test",
    },
    nDepth: {
      read: counts,
      default: [0],
      flag: "-d, --n-depth <n,...>",
      description: "tokens that come before, evaluated once and not measured",
    },
    repetitions: {
      type: "integer",
      minimum: 1,
      default: 5,
      flag: "-r, --repetitions <n>",
      description: "runs of each test, after one that does not count",
    },
    output: {
      enum: benchForms,
      default: "md",
      flag: "-o, --output <form>",
      description: "md, json, jsonl or csv",
    },
    measureRecall: {
      type: "boolean",
      flag: "--measure-recall",
      description:
        "count what the predictor misses, at the price of computing everything",
    },
    timeline: {
      type: "string",
      flag: "--timeline <file>",
      description:
        "draw what each thread and the GPU do in one more token of each -n and -d; as PDF where the name ends in .pdf",
    },
    breakdown: {
      type: "boolean",
      flag: "--breakdown",
      description:
        "to standard error, what the time of a token of each -n went into, by stage and kernel, and by cause",
    },
    force: {
      type: "boolean",
      flag: "--force",
      description: "replace a picture that is there",
    },
    verbose: {
      type: "boolean",
      flag: "-v, --verbose",
      description:
        "more columns, and to standard error as what weights are kept, the rates of each place and what each layer did",
    },
  },
  Model: modelOptions,
  Running: benchLoadOptions,
  GPU: runGpuOptions,
} as const satisfies FlagGroups;

type BenchFlags = FlagsOfGroups<typeof options>;

/** Measures how fast a model runs. */
export const bench: CommandSpec = {
  name: "bench",
  summary: "measure tokens per second as llama-bench does",
  options,
  examples: [
    "culm bench -m model.gguf -p 512 -n 128 -r 5",
    "culm bench -p 0 -n 64 --sparsity dense -o json",
    "culm bench -m model.gguf -p 0 -n 32 -d 0,4096",
    "culm bench -m model.gguf -p 0 -n 32 --timeline token.svg",
    "culm bench -m model.gguf -p 0 -n 64 --breakdown",
  ],
  run,
};

/** Every other token is looked into. */
function isBrokenDown({ kind, tokens }: BenchTest): boolean {
  return kind === "tg" && tokens > 1;
}

async function run(flags: BenchFlags): Promise<number> {
  const tests = flags.nDepth.flatMap((depth): BenchTest[] => [
    ...flags.nPrompt.map((tokens) => ({ kind: "pp" as const, tokens, depth })),
    ...flags.nGen.map((tokens) => ({ kind: "tg" as const, tokens, depth })),
  ]).filter((test) => test.tokens > 0);
  if (tests.length === 0) {
    throw new BadFlags("Cannot measure nothing: -p and -n are both 0");
  }
  const { measureRecall, sparsity, timeline } = flags;
  if (measureRecall && sparsity.mode !== "predictor") {
    throw new BadFlags(
      `Cannot measure recall with sparsity ${sparsity.mode}: it needs --sparsity predictor`,
    );
  }

  if (flags.breakdown && !tests.some(isBrokenDown)) {
    throw new BadFlags("Cannot break down less than two single tokens: see -n");
  }
  const watched = tests.filter(({ kind }) => kind === "tg");
  if (timeline !== undefined && watched.length === 0) {
    throw new BadFlags("Cannot draw a timeline without single tokens: -n is 0");
  }
  if (flags.force && timeline === undefined) {
    throw new BadFlags("Cannot use --force without --timeline");
  }
  using picture = await openIfGiven(timeline, flags);

  using interrupt = new Interrupt();
  const contextSize = Math.max(
    ...tests.map(({ depth, tokens }) => depth + tokens),
  );
  const loadFlags = { ...flags, contextSize };
  await using model = await loadModel(loadFlags, interrupt, { measureRecall });
  const writer = benchWriter(flags.output, flags.verbose ?? false);
  if (flags.verbose) {
    note(weightsText(model).trimEnd());
    note(ratesText(model).trimEnd());
  }
  await write(writer.begin());
  for (const test of tests) {
    const name = nameOf(test);
    let runs = 0;
    const result = await runTest(
      model,
      test,
      flags.repetitions,
      interrupt.signal,
      (ms) => {
        const speed = (1000 * test.tokens / ms).toFixed(2);
        note(`${name}: run ${++runs} of ${flags.repetitions}: ${speed} t/s`);
      },
    );
    if (result.gpu) {
      note(`${name}: ${gpuCountsText(result.gpu, result.stats.tokens)}`);
    }
    if (measureRecall) note(`${name}: ${recallText(result.stats)}`);
    if (flags.verbose) {
      note(`${name}, a token:\n${layersText(result.stats).trimEnd()}`);
    }
    await write(writer.row(rowOf(result, model, loadFlags), result));
    if (flags.breakdown && isBrokenDown(test)) {
      const breakdown = await breakDown(model, test, interrupt.signal);
      note(breakdownText(breakdown).trimEnd());
    }
  }
  await write(writer.end());
  if (picture) {
    const timelines: Timeline[] = [];
    for (const test of watched) {
      timelines.push(await watchToken(model, test, interrupt.signal));
      note(timelineText(timelines.at(-1)!));
    }
    const title = `${describe(model)}, ${model.backend}`;
    await writeDrawing(picture, await timelineSvg(title, timelines));
  }
  return 0;
}
