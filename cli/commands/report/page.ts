/**
 * A report as a page: what was found out, and how.
 *
 * @module
 */
// @ts-types="../../../src/std/basename.d.ts"
import { basename } from "@std/path/basename";
import { mostKept } from "../../../lab.ts";
import {
  activationCdf,
  activationShare,
  meanActivationShare,
  type Profile,
} from "../../../plan.ts";
import type { MetadataValue } from "../../../gguf.ts";
import {
  cdfReport,
  rowsOf as cdfRows,
  toSvg as cdfFigure,
} from "../cdf/output.ts";
import { formatBytes, formatCount } from "../../format.ts";
import {
  facts,
  figure,
  type Html,
  page,
  paragraph,
  section,
  shellLines,
  table,
  textOf,
} from "./html.ts";
import type { Inspection } from "../inspect/inspection.ts";
import { summaryOf as inspectionSummary } from "../inspect/text.ts";
import {
  type PerplexityReport,
  rowsOf as perplexityRows,
  toSvg as perplexityFigure,
} from "../perplexity/output.ts";
import { toSvg as planFigure } from "../plan/svg.ts";
import { layerRows, summaryOf, totalsOf } from "../plan/text.ts";
import { type PlanReport, tokensPerSecond } from "../plan/planning.ts";
import { describe } from "../../model_file.ts";
import { figuresOf } from "../sparsity/figures.ts";
import {
  partsOf,
  perplexityOf,
  type SparsityReport,
} from "../sparsity/output.ts";
import { hotMap, layerFigure, positionFigure } from "./figures.ts";
import { sharesOf, type TextSparsity } from "./sparsity.ts";
import { medianOf, rowsOfSpeed, type SpeedRow, speedTests } from "./speed.ts";

/** Everything that a page shows. */
export interface Report {
  readonly inspection: Inspection;
  /** The text that was run, counted; sparse models only */
  readonly sparsity?: TextSparsity;
  /** How often each neuron fires, and where that comes from */
  readonly profile?: Profile;
  readonly profileSource: string;
  /** What sparsity costs and saves on the text */
  readonly quality?: SparsityReport;
  readonly plan: PlanReport;
  readonly speed: readonly SpeedRow[];
  /** How it was made: names and texts */
  readonly provenance: readonly (readonly string[])[];
  /** The command that made the page, and those that make its parts */
  readonly commands: readonly string[];
}

/** The page. */
export async function toHtml(report: Report): Promise<Html> {
  const name = nameOf(report.inspection);
  return page(
    `${name}: sparsity report`,
    `<h1>${textOf(name)}</h1>\n`,
    paragraph(
      `Sparsity report: ${
        describe({ model: report.plan.model, file: report.inspection.file })
      }`,
    ),
    summarySection(report),
    modelSection(report.inspection),
    await sparsitySection(report),
    ...await profileSections(report),
    await perplexitySection(report),
    ...await qualitySections(report),
    await planSection(report.plan),
    speedSection(report),
    section(
      "How this was made",
      facts(report.provenance),
      shellLines(...report.commands),
    ),
  );
}

/** What the file says that its model is called, or what the file is called. */
function nameOf({ name, file }: Inspection): string {
  const given = file.metadata.get("general.name")?.value;
  return typeof given === "string" && given.trim() ? given : basename(name);
}

/** What the page found out, on its first page. */
function summarySection(report: Report): Html {
  const { inspection, sparsity, profile, quality, plan, speed } = report;
  const counted = sparsity?.profile ?? profile;
  const rows = [
    ["model", describe({ model: plan.model, file: inspection.file })],
    ...counted ? firingRows(counted) : [],
    ...quality ? perplexityRow(perplexityOf(quality)) : [],
    ...decodingRows(speed),
    [
      "plan for this machine",
      `${tokensPerSecond(plan.prediction).toFixed(1)} tokens/s predicted, ${
        plan.bytes > 0
          ? `${formatBytes(plan.bytes)} on the GPU`
          : "all on the CPU"
      }`,
    ],
  ];
  return section("Summary", facts(rows));
}

function decodingRows(speed: readonly SpeedRow[]): string[][] {
  const dense = speed.find(({ mode }) => mode === "dense");
  return speed.map((row) => {
    const median = medianOf(row.generation);
    const text = `${median.toFixed(1)} tokens/s`;
    const times = dense && row !== dense
      ? `, ${(median / medianOf(dense.generation)).toFixed(2)} times dense`
      : "";
    return [`decoding here, ${row.mode}`, text + times];
  });
}

function firingRows(counted: Profile): string[][] {
  const shares = sharesOf(counted);
  const cdfs = activationCdf(counted);
  const hottest = (share: number) => percent(meanActivationShare(cdfs, share));
  return [
    [
      "neurons that fire for a token",
      `${percent(mean(shares.map(({ active }) => active)))} (gate > 0: ${
        percent(mean(shares.map(({ gatePositive }) => gatePositive)))
      })`,
    ],
    [
      "hot neurons",
      `the hottest 10% take ${
        hottest(0.1)
      } of all activations, the hottest 26% ${hottest(0.26)}`,
    ],
  ];
}

/** A change of perplexity that goes for none, where its error leaves no doubt. */
const slight = 0.01;

/** The perplexity, and with how few neurons it is about the same. */
function perplexityRow(report: PerplexityReport): string[][] {
  const { rows } = report;
  const [, ...cells] = perplexityRows(report);
  const base = mostKept(rows.map(({ keep }) => keep));
  const fewest = rows.reduce(
    (best, { keep = 1, change, changeError }, i) =>
      Math.abs(change) + changeError <= slight && keep < (rows[best].keep ?? 1)
        ? i
        : best,
    base,
  );
  const textOf = ([kept, perplexity, , change]: readonly string[]) =>
    `${perplexity} of ${kept}${change === "+0.00%" ? "" : ` (${change})`}`;
  const shown = fewest === base ? [base] : [base, fewest];
  return [[
    "perplexity, by neurons kept",
    shown.map((row) => textOf(cells[row])).join("; "),
  ]];
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function modelSection(inspection: Inspection): Html {
  const types = inspection.byType.map((
    { name, tensors, parameters, bytes },
  ) => [
    name,
    tensors,
    formatCount(parameters),
    formatBytes(bytes),
  ]);
  return section(
    "The model",
    facts(inspectionSummary(inspection)),
    table(
      [["type", "tensors", "weights", "bytes"], ...types],
      "Tensors by type",
    ),
    facts(metadataRows(inspection), "Metadata"),
  );
}

/** Most characters of a value of the metadata that are shown. */
const longest = 200;

/** What the header says of the model; the tokenizer's part, and lists, are left out. */
function metadataRows({ file }: Inspection): string[][] {
  return [...file.metadata].flatMap(([key, { value }]) =>
    key.startsWith("tokenizer.") || typeof value === "object"
      ? []
      : [[key, shown(value)]]
  );
}

function shown(value: Exclude<MetadataValue, object>): string {
  // f32 has seven digits; the others are rounding.
  if (typeof value === "number") return String(Number(value.toPrecision(7)));
  return String(value).slice(0, longest);
}

const notCounted =
  "No text was given, and nobody has counted how often neurons fire.";

async function sparsitySection(report: Report): Promise<Html> {
  const { sparsity, profile, profileSource, inspection } = report;
  const counted = sparsity?.profile ?? profile;
  if (!counted) {
    const { activation } = inspection.model!;
    const reason = activation === "swiglu"
      ? "The activation, swiglu, is never zero: every neuron counts for every token."
      : notCounted;
    return section("Sparsity by layer", paragraph(reason));
  }
  const where = sparsity
    ? `${sparsity.tokens} tokens of the text`
    : profileSource;
  const byLayer = section(
    "Sparsity by layer",
    figure(
      await layerFigure(sharesOf(counted)),
      `Share of a layer's neurons whose gate is positive, and whose product is not zero, for an average token; ${where}.`,
    ),
    table(sparsityRows(counted)),
  );
  if (!sparsity) return byLayer;
  return byLayer + section(
    "Sparsity by position",
    figure(
      await positionFigure(sparsity.stretches),
      `The same by position in the window, which begins with an empty context; ${where}.`,
    ),
  );
}

function sparsityRows(profile: Profile): (string | number)[][] {
  const cdfs = activationCdf(profile);
  const shares = sharesOf(profile);
  const never = profile.layers.map(({ active }) =>
    active.filter((count) => count === 0).length / active.length
  );
  const columns: [heading: string, values: number[]][] = [
    ["gate > 0", shares.map(({ gatePositive }) => gatePositive)],
    ["product ≠ 0", shares.map(({ active }) => active)],
    ["never fired", never],
    ["hottest 10% take", cdfs.map((cdf) => activationShare(cdf, 0.1))],
    ["hottest 26% take", cdfs.map((cdf) => activationShare(cdf, 0.26))],
  ];
  return [
    ["layer", ...columns.map(([heading]) => heading)],
    ...shares.map((_, layer) => [
      layer,
      ...columns.map(([, values]) => percent(values[layer])),
    ]),
    ["mean", ...columns.map(([, values]) => percent(mean(values)))],
  ];
}

async function profileSections(
  { profile, profileSource, inspection }: Report,
): Promise<Html[]> {
  if (!profile) return [];
  const cdf = cdfReport(nameOf(inspection), profile);
  return [
    section(
      "Distribution of activations",
      figure(
        await cdfFigure([cdf]),
        `Share of a layer's activations that its hottest neurons take, an activation being a product that is not zero; ${profileSource}.`,
      ),
      table(cdfRows([cdf])),
    ),
    section(
      "Hot neurons",
      figure(
        await hotMap(profile),
        `How often neurons fire, by layer, each layer's hottest first; ${profileSource}.`,
      ),
    ),
  ];
}

async function perplexitySection({ quality }: Report): Promise<Html> {
  const title = "Perplexity by neurons kept";
  if (!quality) return section(title, paragraph("No text was given."));
  const perplexity = perplexityOf(quality);
  const { chunks, contextSize, rows } = perplexity;
  return section(
    title,
    paragraph(
      `In each layer the neurons of the largest |product| are kept for each token. llama-perplexity's method: ${chunks} chunks of ${contextSize} tokens, the second half of each scored, ${
        rows[0].tokens
      } tokens in all.`,
    ),
    table(perplexityRows(perplexity)),
    figure(
      await perplexityFigure(perplexity),
      "Perplexity against the share of each layer's neurons that is kept.",
    ),
  );
}

/** What the figures of quality show. */
const captions: Readonly<Record<string, string>> = {
  quality:
    "KL divergence of the next token's distribution from the dense model's, and perplexity, against the bytes that a token reads which is written by itself, by mode: the share of neurons kept, the threshold of |h|, and the score of the predictor.",
  live:
    "Share of a layer's neurons whose product is not zero, over tokens: quartiles, 5% and 95%, and the mean.",
  union:
    "Share of a layer's neurons that are live in at least one of so many consecutive tokens: what a step of several tokens reads.",
  predictor:
    "Of the live neurons the share that the predictor selects (recall), and of the selected the share that is live (precision).",
  experts: "Share of tokens that choose each expert of each layer.",
};

async function qualitySections({ quality }: Report): Promise<Html[]> {
  if (!quality) return [];
  const figures = new Map(figuresOf(quality));
  return await Promise.all(
    partsOf(quality).map(async ({ title, rows, figure: name }) => {
      const draw = name === undefined ? undefined : figures.get(name);
      return section(
        title,
        ...draw ? [figure(await draw(), captions[name!])] : [],
        table(rows),
      );
    }),
  );
}

async function planSection(plan: PlanReport): Promise<Html> {
  return section(
    "Plan for this machine",
    facts(summaryOf(plan)),
    facts(totalsOf(plan), "Decoding"),
    figure(
      await planFigure(plan),
      plan.machine.gpu
        ? "What is on the GPU, and the time that each layer is expected to take."
        : "The time that each layer is expected to take.",
    ),
    ...plan.machine.gpu ? [table(layerRows(plan), "By layer")] : [],
  );
}

function speedSection({ speed }: Report): Html {
  const { prompt, generation, repetitions } = speedTests;
  return section(
    "Speed on this machine",
    table(rowsOfSpeed(speed)),
    paragraph(
      `Medians of ${repetitions} runs, from the slowest to the fastest, after one that does not count, of a prompt of ${prompt} tokens and of ${generation} tokens one by one; ${
        speed.map(({ mode, generation }) => `${mode}: ${generation.backend}`)
          .join("; ")
      }. The prediction is of decoding, from rates measured before the model was loaded and how often neurons fire; the limit is what the bytes that a token read would take alone, at the rates measured around each run. Of a model so small that it stays in the cache, both say little.`,
    ),
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}
