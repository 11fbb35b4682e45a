import config from "../../../deno.json" with { type: "json" };
import type { ByteSource } from "../../../mod.ts";
import {
  describeModel,
  type GgufFile,
  isSparse,
  type Model,
  readGguf,
  tokenizerFromGguf,
} from "../../../gguf.ts";
import { fingerprintOf, textChunks } from "../../../lab.ts";
import { gpuFor } from "../../../plan.ts";
import type { CommandSpec } from "../../command.ts";
import { formatDuration } from "../../format.ts";
import { runGpuOptions } from "../../gpu_options.ts";
import { shellWord } from "../../shell.ts";
import { readText, textName } from "../../input.ts";
import { inspectFile } from "../inspect/inspection.ts";
import { Interrupt } from "../../interrupt.ts";
import { loadModel, openModel } from "../../model_file.ts";
import { findGpuIndex } from "../../model_gpu_index.ts";
import type { FlagGroups, FlagsOfGroups } from "../../option.ts";
import {
  benchLoadOptions,
  cacheTypeOf,
  chunkOption,
  type LoadFlags,
  modelOptions,
} from "../../options.ts";
import { openOutput } from "../../output_flags.ts";
import { measureOptions } from "../sparsity/command.ts";
import { measureSparsity } from "../sparsity/run.ts";
import { readHeader } from "../sparsity/work.ts";
import {
  type Counted,
  countedFor,
  machineHere,
  requestFor,
} from "../plan/inputs.ts";
import { plan, type PlanReport } from "../plan/planning.ts";
import { firstTokens, lengthOf, windowsOf } from "../profile/run.ts";
import { type Report, toHtml } from "./page.ts";
import { countSparsity, type TextSparsity } from "./sparsity.ts";
import { measureSpeed, modesOf, speedTests } from "./speed.ts";
import { note, printable, ProgressBar } from "../../terminal.ts";
import { checkState, sha256, stateOptions } from "../../checkpoint.ts";
import { shares } from "../../values.ts";

const { sparsity: _exact, ...running } = benchLoadOptions;

const options = {
  Report: {
    output: {
      type: "string",
      required: true,
      flag: "-o, --output <file>",
      description: "the page",
    },
    file: {
      type: "string",
      flag: "-f, --file <file>",
      description:
        "a text, for sparsity by position and perplexity; - = standard input",
    },
    contextSize: chunkOption,
    tokens: {
      type: "integer",
      minimum: 1,
      default: 4096,
      flag: "--tokens <n>",
      description: "most tokens of the text in which neurons are counted",
    },
    chunks: {
      type: "integer",
      minimum: 1,
      defaultText: "all",
      flag: "--chunks <n>",
      description: "chunks of which the perplexity is measured",
    },
    keep: {
      read: shares,
      default: [1, 0.2, 0.15, 0.12, 0.1],
      flag: "--keep <shares>",
      description:
        "perplexity's rows, by the share of a layer's neurons that is kept; all of them first",
    },
    thresholds: measureOptions.thresholds,
    scores: measureOptions.scores,
    recall: measureOptions.recall,
    decodeTokens: measureOptions.decodeTokens,
    ...stateOptions("report"),
  },
  Model: modelOptions,
  Running: running,
  GPU: runGpuOptions,
} as const satisfies FlagGroups;

type GivenFlags = FlagsOfGroups<typeof options>;
type ReportFlags = GivenFlags & Pick<LoadFlags, "sparsity">;

/** A text, and what it is known by. */
interface Text {
  readonly path: string;
  readonly content: string;
  readonly chunks: number;
}

/** A model's header, opened. */
interface Opened {
  readonly source: ByteSource;
  readonly file: GgufFile;
  readonly model: Model;
}

/** Puts all that can be found out about a model's sparsity on one page. */
export const report: CommandSpec = {
  name: "report",
  summary:
    "write all about a model's sparsity, its plan and its speed here into one HTML page",
  options,
  examples: [
    "culm report -m model.gguf -f wiki.test.raw -o model.html",
    "culm report -m model.gguf --profile activation -o model.html",
  ],
  run,
};

async function run(given: GivenFlags): Promise<number> {
  const flags: ReportFlags = {
    ...given,
    keep: [1, ...given.keep.filter((share) => share < 1)],
    sparsity: { mode: "exact" },
  };
  using output = await openOutput(flags.output, flags);
  await checkState("report", flags);
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  const start = performance.now();
  const source = await openModel(flags, signal);
  try {
    const file = await readGguf(source);
    const opened = { source, file, model: describeModel(file, flags) };
    const text = await readIfGiven(flags, file);
    const html = await toHtml(await makeReport(flags, opened, text, interrupt));
    const bytes = new TextEncoder().encode(html);
    await output.write([bytes], { signal });
    const took = formatDuration(performance.now() - start);
    note(`wrote ${printable(flags.output)}, in ${took}`);
  } finally {
    await source.close();
  }
  return 0;
}

/** The text, long enough: what comes before its perplexity takes a while. */
async function readIfGiven(
  { file: path, contextSize, chunks: most = Infinity }: ReportFlags,
  file: GgufFile,
): Promise<Text | undefined> {
  if (path === undefined) return undefined;
  const content = await readText(path);
  const { length } = textChunks(tokenizerFromGguf(file), content, contextSize);
  return { path, content, chunks: Math.min(length, most) };
}

/** Tokens that are run one by one, at most: they take their time. */
const mostSingleTokens = measureOptions.tokens.default;

/** What is measured of quality comes last, for it takes longest and goes on where it was stopped. */
async function makeReport(
  flags: ReportFlags,
  opened: Opened,
  text: Text | undefined,
  interrupt: Interrupt,
): Promise<Report> {
  const { source, file, model } = opened;
  const threads = flags.threads ?? navigator.hardwareConcurrency;
  const inspection = await inspectFile(source, {
    contextSize: model.contextSize,
    threads,
    batchSize: flags.batchSize,
    cacheType: cacheTypeOf(flags),
  }, flags.activation);
  const counted = await countedFor(flags, file, model);
  const sparsity = text && isSparse(model.activation)
    ? await countText(flags, text, interrupt)
    : undefined;
  const used: Counted = sparsity && !counted.profile
    ? {
      profile: sparsity.profile,
      firingSource: `${sparsity.tokens} tokens of the text`,
    }
    : counted;
  const planned = await planHere(flags, opened, used, Math.max(1, threads));
  interrupt.signal.throwIfAborted();
  const modes = await modesOf(flags, model);
  const speed = await measureSpeed(flags, modes, planned, interrupt);
  return {
    inspection,
    sparsity,
    profile: used.profile,
    profileSource: used.firingSource,
    plan: planned,
    speed,
    quality: text && await measureQuality(flags, text),
    provenance: await provenanceOf(opened, text),
    commands: commandsOf(flags, text),
  };
}

async function measureQuality(flags: ReportFlags, { path, content }: Text) {
  const tokens = Math.min(flags.tokens, mostSingleTokens);
  const header = await readHeader(flags);
  return await measureSparsity({ ...flags, tokens }, header, content, {
    command: "report",
    textName: textName(path),
  });
}

async function countText(
  flags: ReportFlags,
  { content }: Text,
  interrupt: Interrupt,
): Promise<TextSparsity> {
  await using model = await loadModel(
    { ...flags, profile: false, gpu: "off" },
    interrupt,
    { countNeurons: true },
  );
  const windows = firstTokens(
    windowsOf(model.tokenizer, [content], flags.contextSize),
    flags.tokens,
  );
  const total = lengthOf(windows);
  note(`counting neurons: ${total} tokens`);
  using bar = new ProgressBar("counting", "tokens");
  return await countSparsity(
    model,
    windows,
    interrupt.signal,
    (done) => bar.update(done, total),
  );
}

/** The plan by which the model would run here. */
async function planHere(
  flags: ReportFlags,
  { source, model }: Opened,
  used: Counted,
  threads: number,
): Promise<PlanReport> {
  note("measuring the machine");
  const gpu = await gpuFor(flags.gpu, source.size);
  const machine = await machineHere(model, threads, gpu, flags.sparsity);
  const { contextSize } = model;
  const request = requestFor(flags, model, machine, used, contextSize);
  const index = machine.gpu && await findGpuIndex(flags, () => model);
  return plan(request, index?.layers);
}

async function provenanceOf(
  { source, model }: Opened,
  text: Text | undefined,
): Promise<string[][]> {
  const { os, arch } = Deno.build;
  const rows = [
    ["date", new Date().toISOString()],
    ["culm", config.version],
    ["runtime", `${navigator.userAgent}, ${os} ${arch}`],
    ["model", `${source.name}, ${source.size} bytes`],
    ["its fingerprint", await fingerprintOf(model, source)],
  ];
  if (text) {
    const { path, content } = text;
    const { length } = new TextEncoder().encode(content);
    rows.push(
      ["text", `${path === "-" ? "standard input" : path}, ${length} bytes`],
      ["its SHA-256", await sha256(content)],
    );
  }
  return rows;
}

/** The command of this page, and those that make its parts. */
function commandsOf(flags: ReportFlags, text: Text | undefined): string[] {
  const words = (...parts: readonly (string | number)[]) =>
    parts.map((part) => shellWord(String(part))).join(" ");
  const model = flags.model === undefined ? [] : ["-m", flags.model];
  const { prompt, generation, repetitions } = speedTests;
  const commands = [
    words("culm", ...Deno.args),
    "# its parts:",
    words("culm", "inspect", ...model),
  ];
  if (text) {
    const file = ["-f", text.path, "-c", flags.contextSize];
    const rest = ["--chunks", text.chunks, "--keep", flags.keep.join(",")];
    commands.push(
      words("culm", "cdf", ...model, ...file),
      words("culm", "perplexity", ...model, ...file, ...rest),
      words("culm", "sparsity", ...model, ...file, ...rest),
    );
  }
  const test = ["-p", prompt, "-n", generation, "-r", repetitions];
  commands.push(
    words("culm", "plan", ...model),
    words("culm", "bench", ...model, ...test),
  );
  return commands;
}
