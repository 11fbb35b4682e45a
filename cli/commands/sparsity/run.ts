/**
 * Measuring what a researcher asks of a sparse model. Each mode is loaded in
 * turn; work that is stopped goes on when it is given again.
 *
 * @module
 */
// @ts-types="../../../src/std/basename.d.ts"
import { basename } from "@std/path/basename";
import {
  type Decoding,
  type DivergenceScore,
  estimateDivergence,
  type NeuronActivity,
  type Selection,
  sumActivities,
  sumSelections,
} from "../../../lab.ts";
import { Checkpoint, checkState, sha256 } from "../../checkpoint.ts";
import { Interrupt } from "../../interrupt.ts";
import { describe, loadModel, modelFingerprint } from "../../model_file.ts";
import { cacheTypeOf, type LoadFlags } from "../../options.ts";
import { printable, ProgressBar } from "../../terminal.ts";
import { rowOf } from "../perplexity/output.ts";
import type { QualityRow, SparsityReport } from "./output.ts";
import {
  cutText,
  type Header,
  type MeasureFlags,
  type Mode,
  modesOf,
  type Phase,
  phasesOf,
  type Piece,
  type Result,
  type Text,
  type Thresholds,
  type Way,
} from "./work.ts";

/** For whom it is measured. */
export interface MeasureOptions {
  /** The command whose unfinished work it is */
  readonly command: string;
  /** What the text is called */
  readonly textName: string;
}

/**
 * Loads the model in each mode, and measures a text.
 *
 * @throws {UsageError} where the text is shorter than two chunks of `-c`, or other work is unfinished
 */
export async function measureSparsity(
  flags: MeasureFlags,
  header: Header,
  content: string,
  { command, textName }: MeasureOptions,
): Promise<SparsityReport> {
  await checkState(command, flags);
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  const text = cutText(flags, header, content);
  const modes = modesOf(flags, header), phases = phasesOf(modes, text);
  const { contextSize, keep, thresholds, scores, recall } = flags;
  using work = await Checkpoint.open(command, flags, [
    await modelFingerprint(flags, signal),
    await sha256(content),
    [contextSize, text.chunks.length, keep, thresholds, scores, recall],
    [text.windows.map(({ length }) => length), text.decoded.length],
    [cacheTypeOf(flags), header.hasPredictor, flags.predictor],
  ], readResult);
  const pieces = phases.flatMap(({ pieces }) => pieces);
  await work.goOn(
    pieces.length,
    "parts",
    () => runPhases(flags, phases, work, interrupt),
  );
  return {
    name: printable(basename(flags.model ?? "tiny-bamboo")),
    model: describe(header),
    text: printable(textName),
    contextSize,
    chunks: text.chunks.length,
    decodeTokens: text.decoded.length,
    ...reportOf(modes, text, work.results),
  };
}

/** Does the pieces that are left, each phase with a model of its own. */
async function runPhases(
  flags: MeasureFlags,
  phases: readonly Phase[],
  work: Checkpoint<Result>,
  interrupt: Interrupt,
): Promise<void> {
  const all = phases.flatMap(({ pieces }) => pieces);
  const sum = (pieces: readonly Piece[]) =>
    pieces.reduce((all, { tokens }) => all + tokens, 0);
  const total = sum(all);
  let done = sum(all.slice(0, work.results.length));
  using bar = new ProgressBar("measuring", "tokens", done);
  let first = 0;
  for (const { label, sparsity, measured, pieces } of phases) {
    const left = pieces.slice(Math.max(0, work.results.length - first));
    first += pieces.length;
    if (left.length === 0) continue;
    // Every row is picked that a mask asks for, so that what is read is the mask's; on the CPU, which counts.
    const rows = { profile: false, hotShare: 0, gpu: "off" } as const;
    const loadFlags: LoadFlags = { ...flags, ...rows, sparsity };
    await using model = await loadModel(loadFlags, interrupt, measured);
    for (const piece of left) {
      const result = await piece.run(model, {
        signal: interrupt.signal,
        onTokens: (count) => bar.update(done += count, total, `${label}, `),
      }, work.results);
      await work.add(result);
    }
  }
}

/** Numbers and lists of them, however deep, as a result has them. */
function readResult(value: unknown): Result | undefined {
  const isSound = (part: unknown): boolean =>
    typeof part === "number"
      ? Number.isFinite(part)
      : typeof part === "object" && part !== null &&
        Object.values(part).every(isSound);
  return typeof value === "object" && isSound(value)
    ? value as Result
    : undefined;
}

/** What the results say together. */
function reportOf(
  modes: readonly Mode[],
  text: Text,
  results: readonly Result[],
): Pick<SparsityReport, "rows" | "activity" | "predictor"> {
  let next = 0;
  const take = <T extends Result>(count: number) =>
    results.slice(next, next += count) as T[];
  const activities = take<NeuronActivity>(text.windows.length);
  const [exact, dense] = take<Decoding>(2);
  const rows: QualityRow[] = [];
  let predictor: Selection[] | undefined;
  for (const { sparsity, ways, recalls } of modes) {
    // What they were measured by.
    if (recalls) take<Thresholds>(1);
    const chunks = take<DivergenceScore[]>(text.chunks.length);
    const decodings = take<Decoding>(ways.length);
    const column = (i: number) => chunks.map((scores) => scores[i]);
    const base = column(0);
    if (rows.length === 0) {
      // What all neurons give, be the zeros among them read or not.
      rows.push(
        qualityRow({ name: "dense", keep: 1 }, base, base, dense),
        qualityRow({ name: "exact" }, base, base, exact),
      );
    }
    ways.forEach((way, i) => {
      const scores = column(i + 1);
      const row = qualityRow(way, scores, base, decodings[i]);
      if (sparsity.mode !== "predictor") return rows.push(row);
      const layers = sumSelections(scores.map(({ predicted }) => predicted));
      predictor ??= layers;
      rows.push({ ...row, ...selectionShares(totalSelection(layers)) });
    });
  }
  return {
    rows,
    activity: activities.length > 0 ? sumActivities(activities) : undefined,
    predictor: predictor?.map(selectionShares),
  };
}

function qualityRow(
  { name, keep }: Pick<Way, "name" | "keep">,
  scores: readonly DivergenceScore[],
  base: readonly DivergenceScore[],
  { bytes, tokens, downRows, neurons }: Decoding,
): QualityRow {
  return {
    ...rowOf(name, keep, scores, base),
    ...estimateDivergence(scores),
    bytes: bytes / tokens,
    downRows: downRows / neurons,
  };
}

function totalSelection(layers: readonly Selection[]): Selection {
  const [sum] = sumSelections(layers.map((layer) => [layer]));
  return sum;
}

/** Shares of the neurons that are selected, of the live ones that are, and of the selected that are live. */
function selectionShares(
  { neurons, predicted, truth, recalled }: Selection,
): Required<Pick<QualityRow, "selected" | "recall" | "precision">> {
  return {
    selected: predicted / neurons,
    recall: recalled / truth,
    precision: recalled / predicted,
  };
}
