/**
 * What is to be measured of a sparse model: which modes, in which pieces of work.
 *
 * @module
 */
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
  type NeuronActivity,
  type RunOptions,
  scoreDivergence,
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
import type { StateFlags } from "../../checkpoint.ts";
import { openModel } from "../../model_file.ts";
import { findPredictor } from "../../model_predictor.ts";
import type { LoadFlags } from "../../options.ts";
import { firstTokens, lengthOf, windowsOf } from "../profile/run.ts";

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
  /** Shares of the live neurons that a predictor is to select, a row each */
  readonly recall: readonly number[];
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

/** For each recall that is wanted, the thresholds of a predictor by layer. */
export type Thresholds = readonly (readonly number[])[];

/** What one piece of work gave. */
export type Result =
  | NeuronActivity
  | Decoding
  | Thresholds
  | readonly DivergenceScore[];

/** A piece of work, and how many tokens it runs. */
export interface Piece {
  readonly tokens: number;
  /** `before`: what the pieces before it gave */
  run(
    model: LanguageModel,
    options: RunOptions,
    before: readonly Result[],
  ): Promise<Result>;
}

/** Work that one loaded model does. */
export interface Phase {
  readonly label: string;
  readonly sparsity: Sparsity;
  readonly measured?: Pick<
    LoadOptions,
    "cacheSize" | "countNeurons" | "measureRecall"
  >;
  readonly pieces: readonly Piece[];
}

/** A row to measure: what `--sparsity` calls it, and what a sequence of it is like. */
export interface Way {
  readonly name: string;
  readonly keep?: number;
  readonly sequence: SequenceOptions;
  /** Which of the mode's recalls it has the thresholds of */
  readonly recall?: number;
}

/** Ways that one load of the model has. */
export interface Mode {
  readonly sparsity: Sparsity;
  /** As dense as it can be */
  readonly dense: SequenceOptions;
  readonly ways: readonly Way[];
  /** Whose thresholds are found before anything else */
  readonly recalls?: readonly number[];
}

/** Positions of keys and values that are kept together. */
const pageSize = 32;

/** Below every score of a predictor, so that all neurons are selected. */
const leastScore = -1e30;

/** The modes that a model has, and the rows that flags want of each. */
export function modesOf(
  { keep, thresholds, scores, recall }: MeasureFlags,
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
      recalls: recall,
      ways: hasPredictor
        ? [
          { name: "predictor", sequence: {} },
          ...scores.map((threshold) => ({
            name: `predictor=${threshold}`,
            sequence: { threshold },
          })),
          ...recall.map((share, recall) => ({
            name: `recall=${share}`,
            sequence: {},
            recall,
          })),
        ]
        : [],
    },
  ];
  // The first is there in any case: dense's row is its.
  return modes.filter(({ ways }, i) => i === 0 || ways.length > 0);
}

/** The text, cut in the ways that parts need it. */
export interface Text {
  readonly chunks: readonly Int32Array[];
  /** In which live neurons are counted */
  readonly windows: readonly (readonly number[])[];
  /** Whose bytes are counted */
  readonly decoded: readonly number[];
}

/** @throws {UsageError} where the text is shorter than two chunks */
export function cutText(
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

/** All that is to be done, in the order in which results are read. */
export function phasesOf(modes: readonly Mode[], text: Text): Phase[] {
  const decoding = (way: Pick<Way, "sequence" | "recall">): Piece => ({
    tokens: text.decoded.length,
    run: ({ engine }, options, before) =>
      countDecoding(engine, text.decoded, sequenceOf(way, before), options),
  });
  const scoring = ({ dense, ways }: Mode): Piece[] =>
    text.chunks.map((chunk) => ({
      tokens: (chunk.length - 1) * (ways.length + 1),
      run: ({ engine }, options, before) => {
        const sequences = ways.map((way) => sequenceOf(way, before));
        return scoreDivergence(engine, chunk, [dense, ...sequences], options);
      },
    }));
  // All ways of a mode are open at the same time, each in pages of its own.
  const roomFor = ({ ways }: Mode) =>
    (ways.length + 1) * (text.chunks[0].length + pageSize);
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
        decoding({ sequence: {} }),
      ],
    },
    {
      label: "dense",
      sparsity: { mode: "dense" },
      pieces: [decoding({ sequence: {} })],
    },
  ];
  for (const mode of modes) {
    const { sparsity, ways } = mode, label = sparsity.mode;
    const decodings = ways.map(decoding);
    if (sparsity.mode !== "predictor") {
      const pieces = [...scoring(mode), ...decodings];
      const measured = { cacheSize: roomFor(mode) };
      phases.push({ label, sparsity, measured, pieces });
      continue;
    }
    // Where recall is measured all is computed, and read.
    const measured = { measureRecall: true, cacheSize: roomFor(mode) };
    phases.push(
      {
        label: "recall",
        sparsity,
        measured,
        pieces: [findingThresholds(mode, text), ...scoring(mode)],
      },
      { label, sparsity, pieces: decodings },
    );
  }
  return phases;
}

/** Runs the text densely, and finds the thresholds of each recall. */
function findingThresholds({ dense, recalls = [] }: Mode, text: Text): Piece {
  return {
    tokens: lengthOf(text.windows),
    run: async ({ engine }, { signal, onTokens }) => {
      for (const ids of text.windows) {
        using sequence = engine.createSequence(dense);
        await engine.evaluate(sequence, ids, "none", signal);
        onTokens?.(ids.length);
      }
      return recalls.map((recall) =>
        // JSON has no Infinity, the threshold where nothing fires.
        engine.recallThresholds(recall).map((least) =>
          Math.min(least, Number.MAX_VALUE)
        )
      );
    },
  };
}

/** What a sequence of a way is like, given what was found before it. */
function sequenceOf(
  { sequence, recall }: Pick<Way, "sequence" | "recall">,
  before: readonly Result[],
): SequenceOptions {
  if (recall === undefined) return sequence;
  const found = before.findLast(isThresholds)!;
  return { threshold: found[recall] };
}

function isThresholds(result: Result): result is Thresholds {
  return Array.isArray(result) && Array.isArray(result[0]);
}
