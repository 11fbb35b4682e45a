/**
 * Measuring what a researcher asks of a sparse model. Each mode is loaded in
 * turn; work that is stopped goes on when it is given again.
 *
 * @module
 */
// @ts-types="../../../src/std/basename.d.ts"
import { basename } from "@std/path/basename";
import type {
  LanguageModel,
  LoadOptions,
  SequenceOptions,
  Sparsity,
} from "../../../mod.ts";
import {
  countActivity,
  countDecoding,
  type Decoding,
  type DivergenceScore,
  estimateDivergence,
  type NeuronActivity,
  type RunOptions,
  scoreDivergence,
  type Selection,
  sumActivities,
  sumSelections,
  textChunks,
} from "../../../lab.ts";
import {
  describeModel,
  type GgufFile,
  isSparse,
  type Model,
  readGguf,
  tokenizerFromGguf,
} from "../../../gguf.ts";
import {
  Checkpoint,
  checkState,
  sha256,
  type StateFlags,
} from "../../checkpoint.ts";
import { Interrupt } from "../../interrupt.ts";
import {
  describe,
  loadModel,
  modelFingerprint,
  openModel,
} from "../../model_file.ts";
import { findPredictor } from "../../model_predictor.ts";
import { cacheTypeOf, type LoadFlags } from "../../options.ts";
import { printable, ProgressBar } from "../../terminal.ts";
import { rowOf } from "../perplexity/output.ts";
import { firstTokens, windowsOf } from "../profile/run.ts";
import type { QualityRow, SparsityReport } from "./output.ts";

/** What is measured, and how. */
export interface MeasureFlags extends Omit<LoadFlags, "sparsity">, StateFlags {
  /** Most chunks to score */
  readonly chunks?: number;
  /** Most tokens in which live neurons are counted */
  readonly tokens: number;
  /** Tokens whose bytes are counted */
  readonly decodeTokens: number;
  /** Shares of neurons kept, a row each */
  readonly keep: readonly number[];
  /** Thresholds of |h|, a row each */
  readonly thresholds: readonly number[];
  /** A predictor's scores, a row each beside its own threshold */
  readonly scores: readonly number[];
}

/** For whom it is measured. */
export interface MeasureOptions {
  /** The command whose unfinished work it is */
  readonly command: string;
  /** What the text is called */
  readonly textName: string;
}

/** A model's header, and what its parts are. */
export interface Header {
  readonly file: GgufFile;
  readonly model: Model;
  /** Whether it has a predictor, or one is beside it */
  readonly hasPredictor: boolean;
  /** Whether there are neurons, or experts, that a token leaves out */
  readonly isSparse: boolean;
}

/** Reads what the file says. */
export async function readHeader(
  flags: Omit<LoadFlags, "sparsity">,
  signal?: AbortSignal,
): Promise<Header> {
  const source = await openModel(flags, signal);
  try {
    const file = await readGguf(source);
    const model = describeModel(file, flags);
    const asked = { ...flags, sparsity: { mode: "predictor" } as const };
    const isReluSparse = isSparse(model.activation);
    return {
      file,
      model,
      hasPredictor: isReluSparse &&
        (await findPredictor(asked) !== undefined ||
          model.layers.some(({ fc1 }) => fc1)),
      isSparse: isReluSparse || model.routing !== undefined,
    };
  } finally {
    await source.close();
  }
}

/** What one piece of work gave. */
type Result = NeuronActivity | Decoding | readonly DivergenceScore[];

/** A piece of work, and how many tokens it runs. */
interface Piece {
  readonly tokens: number;
  run(model: LanguageModel, options: RunOptions): Promise<Result>;
}

/** Work that one loaded model does. */
interface Phase {
  readonly label: string;
  readonly sparsity: Sparsity;
  readonly measured?: Pick<LoadOptions, "countNeurons" | "measureRecall">;
  readonly pieces: readonly Piece[];
}

/** A row to measure: what `--sparsity` calls it, and what a sequence of it is like. */
interface Way {
  readonly name: string;
  readonly keep?: number;
  readonly sequence: SequenceOptions;
}

/** Ways that one load of the model has. */
interface Mode {
  readonly sparsity: Sparsity;
  /** As dense as it can be */
  readonly dense: SequenceOptions;
  readonly ways: readonly Way[];
}

/** Below every score of a predictor, so that all neurons are selected. */
const leastScore = -1e30;

function modesOf(
  { keep, thresholds, scores }: MeasureFlags,
  { hasPredictor }: Header,
): Mode[] {
  const shares = keep.filter((share) => share < 1);
  const modes: Mode[] = [
    {
      sparsity: { mode: "top-k", share: 1 },
      dense: { keep: 1 },
      ways: shares.map((keep) => ({
        name: `top-k=${keep}`,
        keep,
        sequence: { keep },
      })),
    },
    {
      sparsity: { mode: "threshold", value: 0 },
      dense: { threshold: 0 },
      ways: thresholds.map((threshold) => ({
        name: `threshold=${threshold}`,
        sequence: { threshold },
      })),
    },
    {
      sparsity: { mode: "predictor" },
      dense: { threshold: leastScore },
      ways: hasPredictor
        ? [
          { name: "predictor", sequence: {} },
          ...scores.map((threshold) => ({
            name: `predictor=${threshold}`,
            sequence: { threshold },
          })),
        ]
        : [],
    },
  ];
  // The first is there in any case: dense's row is its.
  return modes.filter(({ ways }, i) => i === 0 || ways.length > 0);
}

/** The text, cut in the ways that parts need it. */
interface Text {
  readonly chunks: readonly Int32Array[];
  /** In which live neurons are counted */
  readonly windows: readonly (readonly number[])[];
  /** Whose bytes are counted */
  readonly decoded: readonly number[];
}

function cutText(
  flags: MeasureFlags,
  { file, isSparse }: Header,
  text: string,
): Text {
  const { contextSize, chunks: most = Infinity, tokens, decodeTokens } = flags;
  const tokenizer = tokenizerFromGguf(file);
  const windows = windowsOf(tokenizer, [text], contextSize);
  return {
    chunks: textChunks(tokenizer, text, contextSize).slice(0, most),
    windows: isSparse ? firstTokens(windows, tokens) : [],
    decoded: windows[0].slice(0, decodeTokens),
  };
}

const exact: Sparsity = { mode: "exact" };

/** All that is to be done, in the order in which {@linkcode reportOf} reads it. */
function phasesOf(modes: readonly Mode[], text: Text): Phase[] {
  const decoding = (sequence: SequenceOptions): Piece => ({
    tokens: text.decoded.length,
    run: ({ engine }, options) =>
      countDecoding(engine, text.decoded, sequence, options),
  });
  const scoring = ({ dense, ways }: Mode): Piece[] => {
    const sequences = [dense, ...ways.map(({ sequence }) => sequence)];
    return text.chunks.map((chunk) => ({
      tokens: (chunk.length - 1) * sequences.length,
      run: ({ engine }, options) =>
        scoreDivergence(engine, chunk, sequences, options),
    }));
  };
  const phases: Phase[] = [
    {
      label: "live neurons",
      sparsity: exact,
      measured: { countNeurons: true },
      pieces: [
        ...text.windows.map((ids): Piece => ({
          tokens: ids.length,
          run: ({ engine, model }, options) =>
            countActivity(engine, model, ids, options),
        })),
        decoding({}),
      ],
    },
    { label: "dense", sparsity: { mode: "dense" }, pieces: [decoding({})] },
  ];
  for (const mode of modes) {
    const { sparsity, ways } = mode, label = sparsity.mode;
    const decodings = ways.map(({ sequence }) => decoding(sequence));
    if (sparsity.mode !== "predictor") {
      const pieces = [...scoring(mode), ...decodings];
      phases.push({ label, sparsity, pieces });
      continue;
    }
    // Where recall is measured all is computed, and read.
    const measured = { measureRecall: true };
    phases.push(
      { label: "recall", sparsity, measured, pieces: scoring(mode) },
      { label, sparsity, pieces: decodings },
    );
  }
  return phases;
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
  const { contextSize, keep, thresholds, scores } = flags;
  using work = await Checkpoint.open(command, flags, [
    await modelFingerprint(flags, signal),
    await sha256(content),
    [contextSize, text.chunks.length, keep, thresholds, scores],
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
    // Every row is picked that a mask asks for, so that what is read is the mask's.
    const loadFlags = { ...flags, sparsity, profile: false, hotShare: 0 };
    await using model = await loadModel(
      loadFlags as LoadFlags,
      interrupt,
      measured,
    );
    for (const piece of left) {
      const result = await piece.run(model, {
        signal: interrupt.signal,
        onTokens: (count) => bar.update(done += count, total, `${label}, `),
      });
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
  for (const { sparsity, ways } of modes) {
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
