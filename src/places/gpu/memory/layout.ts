/**
 * What lies on the device, computed from a model's header and a plan alone: every
 * buffer and its bytes. The place makes just these, so that a plan can hold a
 * budget before anything is loaded.
 */
import { isSparse } from "../../../model/activation.ts";
import { heldExperts, withinExpert } from "../../../model/experts.ts";
import {
  complementOf,
  type IndexSet,
  lengthOf,
  listOf,
} from "../../../model/index_set.ts";
import type { Model } from "../../../model/model.ts";
import { ropeFactors } from "../../../model/rope.ts";
import type { LayerShards, PlaceShards, Shard } from "../../../model/shard.ts";
import { kvHeadsOf, type Part, type PlacePlan } from "../../../plan/plan.ts";
import { shardsOf } from "../../../plan/shards.ts";
import type { Sparsity } from "../../../plan/sparsity.ts";
import { type BatchLimits, pagePositions, pagesFor } from "../../batch.ts";
import { type CacheType, kvPositionBytes } from "../../cache_type.ts";
import { pickedAtMost, topLogitsRowLength } from "../../top_logits_row.ts";
import { splitBytes } from "../kernels/attention.ts";
import { stretchSlots } from "../kernels/neurons.ts";
import { counterWords } from "../kernels/products.ts";
import { areIntegers } from "../kernels/weights.ts";
import { stepBytes } from "../kernels/step_words.ts";
import { pickingRoom } from "../kernels/top_logits.ts";
import { bufferBytes, uniformBytes } from "./buffers.ts";
import {
  matricesByType,
  matrixBytes,
  type MatrixLayout,
  matrixOf,
  rowsAtOnce,
  rowsOfPiece,
  stackOf,
} from "./matrix.ts";
import { paddedTo256 } from "./packing.ts";

/** What decides what lies on the device. */
export interface LayoutOptions {
  /** The model */
  readonly model: Model;
  /** What of it lies there */
  readonly plan: PlacePlan;
  /** Which neurons are computed */
  readonly sparsity: Sparsity;
  /** Most tokens of a step, and positions of a sequence */
  readonly limits: BatchLimits;
  /** How keys and values are kept */
  readonly cacheType: CacheType;
  /** Bytes of a matrix that lie in one buffer, at most: 128 MiB where left out, as WebGPU promises */
  readonly pieceBytes?: number;
}

/** Greedy tokens whose steps are submitted together, at most. */
export const aheadTokens = 4;

export type FeedForwardLayout = ReturnType<typeof feedForwardLayout>;

/** One layer; what the place has no part of is left out. */
type LayerLayout = ReturnType<typeof layerLayout>;

type HeadLayout = ReturnType<typeof headLayout>;

/** Buffers of one size that results are read back through. */
export interface StagingLayout {
  readonly bytes: number;
  readonly count: number;
}

export type DeviceLayout = ReturnType<typeof layoutOf>;

/** What lies where on the device. */
export function layoutOf(options: LayoutOptions) {
  const { model, plan, limits, sparsity, pieceBytes = 128 << 20 } = options;
  const shards = shardsOf(model, plan);
  const layers = shards.layers.map((layer, i) =>
    layerLayout(model, layer, plan.parts[i], sparsity, pieceBytes)
  );
  const head = lengthOf(plan.vocab) > 0 ? headLayout(shards) : undefined;
  const output_norm = vectorOf(shards.output_norm);
  const output_norm_bias = vectorOf(shards.output_norm_bias);
  const strides = stridesOf(model, layers);
  const vocab = lengthOf(plan.vocab);
  const logitRows = Math.min(limits.tokens, 32);
  const picked = pickedAtMost(model.vocabSize, plan.vocab);
  const picking = pickingRoom(vocab, picked);
  const positionBytes = kvPositionBytes(options.cacheType, model.headSize);
  const pageBytes = layers.map(({ attention }) =>
    (attention?.kvHeads ?? 0) * pagePositions * positionBytes
  );
  const counters = 4 * counterWords * model.layers.length;
  const rows = (count: number, stride: number) => 4 * count * stride;
  const { tokens } = limits;
  const has = (holds: (layer: FeedForwardLayout) => unknown) =>
    layers.some(({ feedForward }) => feedForward && holds(feedForward));
  // The sums of experts' neurons do not wait in slots.
  const byNeuron = !model.routing && has(({ downByNeuron }) => downByNeuron);
  const predicts = has(({ predictor }) => predictor);
  // A row of neurons for each expert that a token chose
  const choices = tokens * (model.routing?.used ?? 1);
  const keeps = sparsity.mode === "threshold" || sparsity.mode === "top-k";
  // Bytes of the buffers beside the matrices; none where 0.
  const bytes = {
    step: stepBytes(limits, model),
    uniforms: uniformBytes *
      (uniformCount(model, pieceBytes, layers, head) +
        (picked ? picking.levels : 0)),
    vectors: 4 *
      [
        output_norm,
        output_norm_bias,
        ...layers.flatMap(({ vectors }) => Object.values(vectors)),
      ].reduce((sum, vector) => sum + (vector?.length ?? 0), 0),
    counters,
    x: rows(tokens, strides.hidden),
    partials: rows(
      tokens + (byNeuron ? stretchSlots(tokens) : 0),
      strides.hidden,
    ),
    // What a norm reads before the residual gets it
    term: isTermNormed(model) ? rows(tokens, strides.hidden) : 0,
    // The residual around its mean
    centred: model.norm === "layer" ? rows(tokens, strides.hidden) : 0,
    // 1 / rms, where norms are shared with other places
    scales: sharesNorms(model) ? rows(tokens, 2) : 0,
    qkv: rows(tokens, strides.qkv),
    attended: rows(tokens, strides.attended),
    // Results of workgroups that share a head's positions
    splits: strides.attended > 0
      ? splitBytes(limits.contextSize, model.headSize)
      : 0,
    gate: rows(
      Math.max(0, ...layers.map((layer) => gateRows(layer, choices))),
      strides.neurons,
    ),
    ffnActivations: rows(choices, strides.neurons),
    ranks: rows(choices, strides.rank),
    scores: predicts ? rows(choices, strides.neurons) : 0,
    // Of the experts
    routerScores: has(({ router }) => router)
      ? rows(tokens, strides.experts)
      : 0,
    thresholds: keeps && strides.neurons > 0 ? 4 * tokens : 0,
    logits: rows(logitRows, vocab),
    // Entries between the levels that pick the largest logits, and those logits
    picked: picked && 2 * rows(logitRows, picking.row),
    top: picked && rows(logitRows, topLogitsRowLength(picked)),
    // Results of greedy tokens that are computed ahead
    ahead: picked && isWhole(model, plan)
      ? aheadTokens * (4 * topLogitsRowLength(1) + counters)
      : 0,
    // On its way from page to page
    page: Math.max(...pageBytes),
  };
  const staging: StagingLayout[] = [
    { bytes: rows(1, strides.hidden), count: 128 },
    { bytes: rows(1, vocab), count: vocab > 0 ? 8 : 0 },
    { bytes: bytes.ahead, count: bytes.ahead > 0 ? 8 : 0 },
    {
      bytes: Math.max(
        bytes.x,
        bytes.logits,
        bytes.page,
        sparsity.mode === "top-k" ? bytes.ffnActivations : 0,
        ...sharesNorms(model)
          ? [bytes.qkv, bytes.attended, bytes.ffnActivations]
          : [],
      ),
      count: 2,
    },
  ];
  return {
    shards,
    /** Divisors of the rotation's frequencies, where the file has them */
    ropeFactors: ropeFactors(shards, model, limits.contextSize),
    /** Bytes of a matrix that lie in one buffer, at most */
    pieceBytes,
    layers,
    head,
    output_norm,
    output_norm_bias,
    strides,
    bytes,
    /** Bytes of one page, by layer */
    pageBytes,
    /** Pages of keys and values made at the start: room for one sequence */
    pages: pagesFor(limits.contextSize),
    /** Tokens whose logits are computed at once */
    logitRows,
    /** The most logits that are picked of a row; 0 = none can be */
    picked,
    staging: staging
      .filter(({ count }) => count > 0)
      .map(({ bytes, count }) => ({ bytes: bytes + counters, count }))
      .sort((a, b) => a.bytes - b.bytes),
  };
}

/** Whether a place has all of a model. */
function isWhole(
  { headCount, feedForwardSize, vocabSize }: Model,
  { parts, vocab }: PlacePlan,
): boolean {
  return lengthOf(vocab) === vocabSize &&
    parts.every(({ heads, neurons }) =>
      lengthOf(heads) === headCount && lengthOf(neurons) === feedForwardSize
    );
}

/** Whether anything that is added to the residual is normed before. */
function isTermNormed({ layers }: Model): boolean {
  return layers.some(({ post_attention_norm, post_ffw_norm }) =>
    post_attention_norm ?? post_ffw_norm
  );
}

/** Whether what all heads, or neurons, compute is normed as one. */
function sharesNorms({ qkNorm, layers }: Model): boolean {
  return qkNorm === "whole" ||
    layers.some(({ attn_sub_norm, ffn_sub_norm }) =>
      attn_sub_norm ?? ffn_sub_norm
    );
}

/** Every matrix of a layout once, with those that lie in the same buffer. */
export function* allStacks(
  { layers, head }: { layers: readonly LayerLayout[]; head?: HeadLayout },
): Generator<readonly MatrixLayout[]> {
  if (head) {
    yield [head.token_embd];
    if (head.output !== head.token_embd) yield [head.output];
  }
  for (const { attention, feedForward } of layers) {
    if (attention) {
      yield* attention.projections;
      yield [attention.output];
    }
    if (feedForward) {
      const { router, gate, up, down, predictor } = feedForward;
      if (router) yield [router];
      if (predictor) yield* [[predictor.fc1], [predictor.fc2]];
      if (!gate) yield [up];
      else if (feedForward.joint) yield [gate, up];
      else yield* [[gate], [up]];
      yield [down];
    }
  }
}

/** Bytes on the device, of weights and in all; further sequences' keys and values come on top. */
export function deviceBytes(
  options: LayoutOptions,
): { weights: number; all: number } {
  const layout = layoutOf(options);
  let weights = 0, all = 0;
  for (const stack of allStacks(layout)) {
    for (const matrix of stack) weights += matrixBytes(matrix);
    all += stackOf(stack).bytes;
  }
  for (const bytes of Object.values(layout.bytes)) {
    if (bytes > 0) all += bufferBytes(bytes);
  }
  for (const bytes of layout.pageBytes) all += layout.pages * bytes;
  for (const { bytes, count } of layout.staging) {
    all += count * bufferBytes(bytes);
  }
  return { weights, all };
}

function layerLayout(
  model: Model,
  shards: LayerShards,
  part: Part,
  sparsity: Sparsity,
  pieceBytes: number,
) {
  const attention = lengthOf(part.heads) > 0
    ? attentionLayout(model, shards, part, pieceBytes)
    : undefined;
  const feedForward = lengthOf(part.neurons) > 0
    ? feedForwardLayout(model, shards, part, sparsity, pieceBytes)
    : undefined;
  const vectors: LayerVectors<VectorLayout> = {
    attn_norm: vectorOf(shards.attn_norm),
    attn_norm_bias: vectorOf(shards.attn_norm_bias),
    qk_norm: attention && qkNorm(model, shards, attention),
    attn_sub_norm: attention &&
      vectorOf(shards.attn_sub_norm, attention.elements),
    post_attention_norm: attention && vectorOf(shards.post_attention_norm),
    ffn_norm: vectorOf(shards.ffn_norm),
    ffn_norm_bias: vectorOf(shards.ffn_norm_bias),
    ffn_sub_norm: feedForward &&
      vectorOf(shards.ffn_sub_norm, part.neurons),
    post_ffw_norm: feedForward && vectorOf(shards.post_ffw_norm),
    attn_sinks: attention && vectorOf(shards.attn_sinks),
    qkv_bias: attention && qkvBias(model, shards, attention),
    attn_output_bias: attention && vectorOf(shards.attn_output_bias),
    ffn_bias: feedForward && ffnBias(shards, feedForward),
    router_bias: feedForward && vectorOf(shards.ffn_gate_inp_bias),
    ffn_down_bias: feedForward && downBias(model, shards, feedForward),
  };
  return { vectors, attention, feedForward };
}

function feedForwardLayout(
  model: Model,
  shards: LayerShards,
  { neurons, hot }: Part,
  { mode }: Sparsity,
  pieceBytes: number,
) {
  const { activation, expertCount, routing } = model;
  const held = heldExperts(model, neurons);
  const { ffn_gate_inp, ffn_gate, ffn_up, ffn_down, ffn_down_t, fc1, fc2 } =
    shards;
  const matrix = (shard: Shard, own?: IndexSet) =>
    matrixOf(shard, own, routing && held.length);
  const within = withinExpert(model, neurons);
  // Hot neurons of a profile are computed whether a predictor selects them or not.
  const predicts = mode === "predictor" && fc1 && fc2 && !hot;
  const picks = predicts || mode !== "dense" && isSparse(activation);
  const gate = ffn_gate && matrix(ffn_gate), up = matrix(ffn_up);
  const isJoint = gate?.type === up.type &&
    stackOf([gate, up]).bytes <= pieceBytes;
  // Of several tokens too, those of an expert are computed one by one.
  const several = routing ? undefined : "several" as const;
  return {
    /** Of each expert */
    neurons: lengthOf(within),
    /** How many experts have some here */
    expertCount: held.length,
    /** All experts in the order in which the device numbers them: those first of whom it has neurons */
    expertOrder: Uint32Array.from([
      ...held,
      ...listOf(complementOf(Uint32Array.from(held), expertCount)),
    ]),
    router: ffn_gate_inp && matrixOf(ffn_gate_inp),
    gate,
    up,
    /**
     * Steps in which one kernel computes gate and up, which then lie in one
     * buffer: those of several tokens, where a single one's gates leave rows of up
     * unread. Rows of two types, or too many, have a kernel each.
     */
    joint: !isJoint ? undefined : picks ? several : "all" as const,
    down: ffn_down ? matrix(ffn_down, within) : matrix(ffn_down_t!),
    /** Whether down has a row for each neuron, else for each output */
    downByNeuron: !ffn_down,
    predictor: predicts ? { fc1: matrix(fc1), fc2: matrix(fc2) } : undefined,
  };
}

function headLayout({ token_embd, output }: PlaceShards) {
  const embedding = matrixOf(token_embd);
  return {
    token_embd: embedding,
    /** The same object where the two are tied */
    output: output === token_embd ? embedding : matrixOf(output),
  };
}

/** Numbers from one token's row to the next one's, in each kind of rows. */
function stridesOf(model: Model, layers: readonly LayerLayout[]) {
  const widest = (width: (layer: LayerLayout) => number | undefined) =>
    Math.max(0, ...layers.map((layer) => width(layer) ?? 0));
  const { headSize } = model;
  return {
    hidden: paddedTo256(model.hiddenSize),
    qkv: widest(({ attention }) =>
      attention && (attention.heads + 2 * attention.kvHeads) * headSize
    ),
    attended: paddedTo256(
      widest(({ attention }) => attention && attention.heads * headSize),
    ),
    neurons: paddedTo256(widest(({ feedForward }) => feedForward?.neurons)),
    rank: paddedTo256(
      widest(({ feedForward }) =>
        feedForward?.predictor && expertRowsOf(feedForward.predictor.fc1)
      ),
    ),
    experts: paddedTo256(model.expertCount),
  };
}

/** Rows of a matrix that are of one expert. */
export function expertRowsOf(
  { rows, expertRows = rows }: MatrixLayout,
): number {
  return expertRows;
}

/** Rows of gates that are kept for up, in a step of so many tokens, or choices. */
function gateRows({ feedForward }: LayerLayout, choices: number): number {
  const { gate, joint } = feedForward ?? {};
  if (!gate || joint === "all") return 0;
  return joint ? 1 : choices;
}

/** Sets of uniform parameters, at most: for each buffer of weights, for what is added to the residual, for heads, neurons, their bias and experts, for norms that are no part of another kernel. */
function uniformCount(
  { norm }: Model,
  pieceBytes: number,
  layers: readonly LayerLayout[],
  head?: HeadLayout,
): number {
  const pieces = (matrix: MatrixLayout) =>
    Math.ceil(matrix.rows / rowsOfPiece(matrix, pieceBytes));
  // A tied embedding is the output too.
  let count = 1 + 3 * layers.length + (head ? pieces(head.output) : 0);
  for (const { vectors, feedForward } of layers) {
    count += ownNorms.filter((name) => vectors[name]).length;
    // Gate and up, by themselves too
    if (feedForward?.joint === "several") count += 2;
    if (feedForward?.router) count++;
  }
  if (norm === "layer") count += 2 * layers.length + (head ? 1 : 0);
  for (const [first] of allStacks({ layers, head })) count += pieces(first);
  return count;
}

/** Norms that may be kernels of their own though they are not around the mean. */
const ownNorms = [
  "qk_norm",
  "attn_sub_norm",
  "post_attention_norm",
  "ffn_sub_norm",
  "post_ffw_norm",
] as const;

export type AttentionLayout = ReturnType<typeof attentionLayout>;

/** Lays out the heads of a part; a buffer takes `pieceBytes` at most. */
function attentionLayout(
  model: Model,
  { attn_q, attn_k, attn_v, attn_output }: LayerShards,
  { heads }: Part,
  pieceBytes: number,
) {
  const matrices = matricesByType([attn_q, attn_k, attn_v]);
  const order = matrices.flatMap(({ shards }) => shards);
  const firstOf = (shard: Shard) =>
    order.slice(0, order.indexOf(shard))
      .reduce((sum, { rows }) => sum + lengthOf(rows), 0);
  const own = {
    start: heads.start * model.headSize,
    end: heads.end * model.headSize,
  };
  return {
    heads: lengthOf(heads),
    kvHeads: lengthOf(kvHeadsOf(model, heads)),
    /** Each is one product: of matrices that lie in one buffer, where they are several */
    projections: fitOneBuffer(matrices, pieceBytes)
      ? [matrices]
      : matrices.map((matrix) => [matrix]),
    /** The first column of queries, keys and values among a token's */
    first: { q: firstOf(attn_q), k: firstOf(attn_k), v: firstOf(attn_v) },
    output: matrixOf(attn_output, own),
    /** Of what all of the model's heads compute, those that these do */
    elements: own,
  };
}

/** Whether one kernel can read matrices of several types: all of integers, or of floats. */
function fitOneBuffer(
  matrices: readonly MatrixLayout[],
  pieceBytes: number,
): boolean {
  const [first, ...others] = matrices.map(({ type }) => areIntegers([type]));
  return stackOf(matrices).bytes <= pieceBytes &&
    others.every((isOfIntegers) => isOfIntegers === first) &&
    matrices.slice(0, -1).every(({ rows }) => rows % rowsAtOnce === 0);
}

/** A vector, and the shards whose elements it holds. */
export interface VectorLayout {
  /** Its numbers, filled up with zeros to a multiple of 256 */
  readonly length: number;
  readonly parts: readonly VectorPart[];
}

/** The elements of a shard, or some of a whole one's, in any order, and where the first is. */
export interface VectorPart {
  readonly shard: Shard;
  readonly first: number;
  readonly elements?: IndexSet;
}

type BiasedName =
  | "attn_norm"
  | "qkv"
  | "attn_output"
  | "ffn_norm"
  | "router"
  | "ffn"
  | "ffn_down";

/**
 * Something for each vector of a layer. `qkv_bias` lies as a token's queries, keys
 * and values do; in `ffn_bias` up's lie behind the gates', filled up to a multiple of
 * 256, where there are gates; in `qk_norm` the keys' weights lie behind the queries';
 * those of sub-norms are of the place's own heads and neurons.
 */
export type LayerVectors<T> = {
  readonly [
    N in
      | "attn_norm"
      | "qk_norm"
      | "attn_sub_norm"
      | "attn_sinks"
      | "post_attention_norm"
      | "ffn_norm"
      | "ffn_sub_norm"
      | "post_ffw_norm"
      | `${BiasedName}_bias`
  ]?: T;
};

/** Turns what there is for each vector of a layer into something else. */
export function mapVectors<T extends object, U>(
  vectors: LayerVectors<T>,
  to: (from: T) => U,
): LayerVectors<U> {
  const entries = Object.entries<T | undefined>(vectors)
    .map(([name, vector]) => [name, vector && to(vector)]);
  return Object.fromEntries(entries);
}

function vectorOf(shard: Shard): VectorLayout;
/** The vector of one shard, where there is one, or of some of its elements. */
function vectorOf(shard?: Shard, elements?: IndexSet): VectorLayout | undefined;
function vectorOf(
  shard?: Shard,
  elements?: IndexSet,
): VectorLayout | undefined {
  return shard && vectorOfParts([{ shard, first: 0, elements }]);
}

function vectorOfParts(parts: readonly VectorPart[]): VectorLayout {
  const ends = parts.map(({ shard, first, elements = shard.columns }) =>
    first + lengthOf(elements)
  );
  return { length: paddedTo256(Math.max(...ends)), parts };
}

/** Weights by which queries and keys are normed: of a head, or of all that are here. */
function qkNorm(
  { qkNorm, headSize }: Model,
  { attn_q_norm, attn_k_norm }: LayerShards,
  { heads }: AttentionLayout,
): VectorLayout | undefined {
  if (!attn_q_norm || !attn_k_norm) return undefined;
  const first = headSize * (qkNorm === "head" ? 1 : heads);
  return vectorOfParts([
    { shard: attn_q_norm, first: 0 },
    { shard: attn_k_norm, first },
  ]);
}

/** The biases of queries, keys and values. */
function qkvBias(
  { headSize }: Model,
  { attn_q_bias, attn_k_bias, attn_v_bias }: LayerShards,
  { heads, kvHeads, first }: AttentionLayout,
): VectorLayout | undefined {
  return vectorOfSome([
    { shard: attn_q_bias, first: first.q },
    { shard: attn_k_bias, first: first.k },
    { shard: attn_v_bias, first: first.v },
  ], (heads + 2 * kvHeads) * headSize);
}

/** Where the biases of up begin, in a vector with those of gate: of one expert, or of all. */
export function upBiasFirst({ gate }: FeedForwardLayout): number {
  return gate ? paddedTo256(gate.rows) : 0;
}

/** The biases of gate and up. */
function ffnBias(
  { ffn_gate_bias, ffn_up_bias }: LayerShards,
  layout: FeedForwardLayout,
): VectorLayout | undefined {
  const upFirst = upBiasFirst(layout);
  return vectorOfSome([
    { shard: ffn_gate_bias, first: 0 },
    { shard: ffn_up_bias, first: upFirst },
  ], upFirst + layout.up.rows);
}

/** The biases of down, of all experts, as the device numbers them. */
function downBias(
  { hiddenSize }: Model,
  { ffn_down_bias }: LayerShards,
  { expertOrder }: FeedForwardLayout,
): VectorLayout | undefined {
  return ffn_down_bias && vectorOf(
    ffn_down_bias,
    Uint32Array.from(
      { length: expertOrder.length * hiddenSize },
      (_, i) =>
        expertOrder[Math.floor(i / hiddenSize)] * hiddenSize + i % hiddenSize,
    ),
  );
}

/** The vector of those parts that a model has, `length` long, zeros where it has none. */
function vectorOfSome(
  parts: readonly { readonly shard?: Shard; readonly first: number }[],
  length: number,
): VectorLayout | undefined {
  const there = parts.filter((part): part is VectorPart =>
    part.shard !== undefined
  );
  return there.length > 0
    ? { length: paddedTo256(length), parts: there }
    : undefined;
}
