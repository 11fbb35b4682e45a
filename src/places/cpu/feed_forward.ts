/**
 * A place's neurons on the CPU. A neuron whose gate is not positive adds
 * exactly zero, so its rows of up and down need not be read.
 *
 * Rows are in the order in which the place stores them: the file's, or hottest
 * first where a profile says so. The first `hot` rows are read without a test.
 */
import { hotRowsOf, pickRatio } from "../../plan/hot_rows.ts";
import type { Rates } from "../../plan/machine.ts";
import { scatterPays } from "../../plan/scatter.ts";
import { lengthOf } from "../../model/index_set.ts";
import { neuronsInOrder } from "../../plan/plan.ts";
import type { Batch } from "../batch.ts";
import type { CountName } from "../stats.ts";
import {
  Activations,
  allocateRows,
  type F32Rows,
  type PackedMatrix,
} from "../../kernels/matrix.ts";
import { joined, multiplyAll } from "../../kernels/joined.ts";
import { roundUp } from "../../kernels/packing.ts";
import {
  type Bank,
  type Counters,
  type CpuPlaceOptions,
  isDense,
} from "./options.ts";
import { DownColumns } from "./down_columns.ts";
import { GroupRows } from "./group_rows.ts";
import { Predictor } from "./predictor.ts";
import { liesSideBySide, NeuronKernel } from "./interleaved_rows.ts";
import type { NormedRows } from "./norms.ts";
import type { LayerWeights } from "./weights.ts";

/** The numbers by which kernels know activations. */
const activationIds = { drelu: 0, reglu: 1, swiglu: 2, relu2: 3, geglu: 4 };

/** The smallest positive f32. */
const smallest = 2 ** -149;

/** A layer's neurons, while they are computed. */
interface Layer {
  readonly index: number;
  readonly weights: LayerWeights;
  /** Tokens of the step */
  readonly n: number;
  /** Whether down's share is there already */
  done: boolean;
}

/** Scratch of one bank's neurons. */
export class FeedForward {
  readonly #gate: F32Rows;
  /** By layer, what up makes of the input; behind the gates, where all of both is read */
  readonly #ups: readonly F32Rows[];
  /** By layer, gate and up, where all of both is read */
  readonly #gateAndUp: readonly (readonly PackedMatrix[] | undefined)[];
  readonly #h: Activations;
  readonly #columns: DownColumns;
  readonly #predictor: Predictor;
  readonly #ids: number;
  readonly #kernel: NeuronKernel;
  /** By layer, where down has a row for each neuron */
  readonly #groups: readonly (GroupRows | undefined)[];
  /** Hot rows of each layer, as the plan has them */
  hotRows: readonly number[];
  /** The file's ids of each layer's neurons, where they are counted */
  readonly #fileIds: Uint32Array[] = [];
  /** The layer whose h stand in `#h` */
  #layer!: Layer;

  constructor(
    readonly options: CpuPlaceOptions,
    readonly bank: Bank,
    readonly counters: Counters,
    /** How fast the place reads its rows */
    readonly rates: Rates,
  ) {
    const { memory, weights: { layers } } = bank;
    const { model, plan, limits: { tokens: maxTokens } } = options;
    const neurons = Math.max(
      ...plan.parts.map((part) => lengthOf(part.neurons)),
    );
    const rows = (width: number) => allocateRows(memory, maxTokens, width);
    const isJoined = isDense(options);
    this.#gate = rows(isJoined ? 2 * neurons : neurons);
    const { pointer, stride } = this.#gate;
    const up = isJoined ? undefined : rows(neurons);
    this.#ups = layers.map((layer) =>
      up ?? { pointer: pointer + 4 * (layer?.ffn_up.rows ?? 0), stride }
    );
    this.#gateAndUp = layers.map((layer) =>
      layer?.ffn_gate && isJoined
        ? joined([layer.ffn_gate, layer.ffn_up])
        : undefined
    );
    this.#h = new Activations(memory, maxTokens, neurons);
    this.#columns = new DownColumns(memory, maxTokens, plan.parts, layers);
    this.#predictor = new Predictor(options, bank, neurons);
    this.#ids = memory.allocate(4 * roundUp(neurons, 8));
    this.#kernel = new NeuronKernel(memory, activationIds[model.activation]);
    this.#groups = layers.map((weights, i) =>
      weights?.ffn_down_t &&
      new GroupRows(memory, model.feedForwardSize, plan.parts[i])
    );
    this.hotRows = hotRowsOf(plan);
  }

  /**
   * Computes h of the normed residual; a predictor that is not linear reads the
   * residual itself. Down's share goes to the bank's sums, by {@linkcode down} at
   * the latest.
   */
  activations(index: number, batch: Batch): void {
    const weights = this.bank.weights.layers[index]!;
    const n = batch.length;
    const { sparsity, measureRecall } = this.options, { mode } = sparsity;
    this.#layer = { index, weights, n, done: false };
    this.#count("neurons", n * weights.ffn_up.rows);
    this.#count("hot", n * this.hotRows[index]);
    const { fc1, fc2, ffn_gate } = weights;
    const predicts = fc1 && fc2 && mode === "predictor";
    if (predicts) {
      this.#predicted();
    } else if (!ffn_gate) {
      this.#stream("upRows", weights.ffn_up, 0, this.#up);
      weights.ffn_up_bias?.addTo(this.#up, n);
    } else {
      const both = this.#gateAndUp[index];
      if (both) this.#streamBoth(both);
      else this.#stream("gateRows", ffn_gate, 0, this.#gate);
      weights.ffn_gate_bias?.addTo(this.#gate, n);
      this.#dropSmallGates();
      if (both) weights.ffn_up_bias?.addTo(this.#up, n);
      else this.#cascade(this.hotRows[index]);
    }
    for (let t = 0; t < n; t++) {
      if (!this.#layer.done) this.#count("gatePositive", this.#positives(t));
      const active = this.#combine(t);
      this.#count("active", active);
      if (measureRecall && predicts) {
        this.#count("recalled", active);
        this.#count("recalledMass", this.#mass(t));
      }
      this.#countNeurons(t);
    }
    this.#h.changed();
    if (mode === "threshold") {
      this.keepAbove(n, Array.from({ length: n }, () => sparsity.value));
    }
  }

  /** In place of {@linkcode activations} of one token: sets h of a share of the neurons to 1, of the others to 0. */
  fire(index: number, share: number): void {
    const weights = this.bank.weights.layers[index]!;
    this.#layer = { index, weights, n: 1, done: false };
    const h = this.bank.memory.f32(at(this.#h, 0), weights.ffn_up.rows);
    for (let j = 0; j < h.length; j++) h[j] = Math.random() < share ? 1 : 0;
    this.#h.changed();
  }

  /** The values h of the layer, `[tokens][neurons]`. */
  neurons(n: number): Float32Array[] {
    const { rows } = this.#layer.weights.ffn_up;
    return Array.from(
      { length: n },
      (_, t) => this.bank.memory.f32(at(this.#h, t), rows),
    );
  }

  /** Sets every |h| of token t that is not above `thresholds[t]` to zero. */
  keepAbove(n: number, thresholds: ArrayLike<number>): void {
    this.#keepAbove(this.#h, n, thresholds);
    this.#h.changed();
  }

  /** What is normed as one with other places' neurons: the values h. */
  *normedAsOne(layer: number): Generator<NormedRows> {
    const { model: { feedForwardSize }, plan: { parts } } = this.options;
    yield {
      rows: this.#h,
      unit: 1,
      ids: parts[layer].firing?.order ?? parts[layer].neurons,
      columns: { start: 0, end: feedForwardSize },
      weight: this.#layer.weights.ffn_sub_norm!,
    };
    this.#h.changed();
  }

  /** Writes h of the layer to the columns of `ffn_down` in `rows`, `[tokens, stride]`. */
  putInputs(rows: Float32Array): void {
    const { index, n } = this.#layer;
    this.#columns.put(index, this.#h, n, rows);
  }

  /** Takes h of all places. */
  takeInputs(rows: Float32Array): void {
    const { index, n } = this.#layer;
    this.#columns.take(index, n, rows);
  }

  /** Writes the place's share of down into the bank's sums; returns in how many terms. */
  down(): number {
    const { index, weights, n, done } = this.#layer, { sums } = this.bank;
    const { ffn_down, ffn_down_t } = weights;
    if (ffn_down) {
      const h = this.options.plan.outputs
        ? this.#columns.taken()
        : this.#columns.fill(index, this.#h, n);
      const bytes = ffn_down.multiplyOutputs(h, n, sums.levels[0]);
      this.#count("streamed", bytes);
      this.#count("downRows", n * weights.ffn_up.rows);
      return 1;
    }
    const groups = this.#groups[index]!;
    if (!done) {
      const rows = sums.addRows(ffn_down_t!, groups, this.#h, n);
      this.#count("picked", rows * ffn_down_t!.rowBytes);
      this.#count("downRows", n * rows);
    }
    return groups.terms;
  }

  get #up(): F32Rows {
    return this.#ups[this.#layer.index];
  }

  /** Multiplies all rows of gate and up. */
  #streamBoth(both: readonly PackedMatrix[]): void {
    const { n, weights: { ffn_up } } = this.#layer;
    const bytes = multiplyAll(both, this.bank.normed, n, this.#gate);
    this.#count("streamed", bytes);
    this.#count("gateRows", n * ffn_up.rows);
    this.#count("upRows", n * ffn_up.rows);
  }

  /** Multiplies all rows from `first` on. */
  #stream(
    name: CountName,
    matrix: PackedMatrix,
    first: number,
    out: F32Rows,
    count = matrix.rows - first,
  ): void {
    const { n } = this.#layer, x = this.bank.normed;
    const rows = { pointer: out.pointer + 4 * first, stride: out.stride };
    const bytes = matrix.multiplyRange(x, n, first, count, rows);
    this.#count("streamed", bytes);
    this.#count(name, n * count);
  }

  /** Multiplies the `count` rows of `#ids`, which count from `first`. */
  #pick(
    name: CountName,
    matrix: PackedMatrix,
    first: number,
    count: number,
    out: F32Rows,
  ): void {
    const x = this.bank.normed;
    const pointer = out.pointer + 4 * first;
    const bytes = matrix.multiplyRows(x, first, this.#ids, count, pointer);
    this.#count("picked", bytes);
    this.#count(name, count);
  }

  /** Computes what is needed of a matrix for several tokens: where `asked` is at least `least`. */
  #scatter(
    name: CountName,
    matrix: PackedMatrix,
    asked: F32Rows,
    least: number,
    out: F32Rows,
  ): void {
    const { n } = this.#layer, x = this.bank.normed;
    this.#count(name, matrix.multiplyWhere(x, n, asked, least, out));
    this.#count("streamed", matrix.rows * matrix.rowBytes);
  }

  /** Up where the gate is positive; all of it where that is faster. */
  #cascade(hot: number): void {
    const { n, weights: { ffn_up_bias } } = this.#layer;
    if (n === 1) this.#cascadeOfOne(hot);
    else this.#cascadeOfSeveral();
    ffn_up_bias?.addTo(this.#up, n);
  }

  #cascadeOfSeveral(): void {
    const { n, weights: { ffn_up } } = this.#layer;
    let positive = 0;
    for (let t = 0; t < n; t++) positive += this.#positives(t);
    if (scatterPays(this.rates, n, positive / (n * ffn_up.rows))) {
      this.#scatter("upRows", ffn_up, this.#gate, smallest, this.#up);
    } else this.#stream("upRows", ffn_up, 0, this.#up);
  }

  /**
   * Up for one token: the hot rows, and of the others those whose gate is
   * positive; all of them where so many are that picking would take longer and
   * the caller has not fixed the border.
   */
  #cascadeOfOne(hot: number): void {
    const { ffn_up } = this.#layer.weights;
    this.#stream("upRows", ffn_up, 0, this.#up, hot);
    const count = this.#selectPositive(hot);
    const isFixed = this.options.hotShare !== undefined;
    const most = isFixed ? 1 : pickRatio(this.rates);
    if (count <= most * (ffn_up.rows - hot)) {
      this.#pick("upRows", ffn_up, hot, count, this.#up);
    } else {
      this.#stream("upRows", ffn_up, hot, this.#up);
    }
  }

  /**
   * Gate and up of the hot rows, and of the others those that the predictor
   * selects. Where recall is measured all is computed, and what was not selected
   * for is dropped.
   */
  #predicted(): void {
    const { index, weights, n } = this.#layer;
    const { ffn_up, ffn_gate_bias } = weights, { rows } = ffn_up;
    const ffn_gate = weights.ffn_gate!;
    const predictor = this.#predictor;
    const hot = this.hotRows[index];
    const bytes = predictor.score(index, n, hot);
    this.#count("streamed", bytes);
    const picks = n === 1 && !this.options.measureRecall &&
      this.options.model.gateThreshold === 0;
    if (picks && liesSideBySide(weights)) {
      const groups = this.#groups[index]!;
      const count = predictor.selectInOrder(groups, this.#ids);
      return this.#pickNeurons(groups, count);
    }
    let cold = 0;
    for (let t = 0; t < n; t++) {
      cold += predictor.select(t, hot, rows, this.#ids);
    }
    const asked = n * hot + cold;
    this.#count("predicted", asked);
    if (this.options.measureRecall) {
      this.#stream("gateRows", ffn_gate, 0, this.#gate);
      ffn_gate_bias?.addTo(this.#gate, n);
      this.#dropSmallGates();
      this.#stream("upRows", ffn_up, 0, this.#up);
      weights.ffn_up_bias?.addTo(this.#up, n);
      for (let t = 0; t < n; t++) {
        this.#count("truth", this.#combine(t));
        this.#count("truthMass", this.#mass(t));
        predictor.drop(t, rows, this.#gate);
      }
      return;
    }
    if (n === 1) {
      this.#stream("gateRows", ffn_gate, 0, this.#gate, hot);
      this.bank.memory.clear(at(this.#gate, 0) + 4 * hot, rows - hot);
      this.#pick("gateRows", ffn_gate, hot, cold, this.#gate);
    } else if (scatterPays(this.rates, n, asked / (n * rows))) {
      const { scores, threshold } = predictor;
      this.bank.memory.clear(this.#gate.pointer, n * this.#gate.stride);
      this.#scatter("gateRows", ffn_gate, scores, threshold, this.#gate);
    } else {
      this.#stream("gateRows", ffn_gate, 0, this.#gate);
      for (let t = 0; t < n; t++) predictor.drop(t, rows, this.#gate);
    }
    if (ffn_gate_bias) {
      ffn_gate_bias.addTo(this.#gate, n);
      for (let t = 0; t < n; t++) predictor.drop(t, rows, this.#gate);
    }
    this.#dropSmallGates();
    this.#cascade(hot);
  }

  /** Takes gates up to the model's threshold for 0. */
  #dropSmallGates(): void {
    const { gateThreshold } = this.options.model, { n } = this.#layer;
    if (gateThreshold === 0) return;
    this.#keepAbove(this.#gate, n, new Array<number>(n).fill(gateThreshold));
  }

  /** Zeroes what is not above its token's threshold, in size. */
  #keepAbove(rows: F32Rows, n: number, thresholds: ArrayLike<number>): void {
    const { rows: count } = this.#layer.weights.ffn_up;
    for (let t = 0; t < n; t++) {
      this.bank.memory.kernels.keep_above(at(rows, t), count, thresholds[t]);
    }
  }

  /** Gate, up and down of the `count` neurons of `#ids`, which lie side by side. */
  #pickNeurons(groups: GroupRows, count: number): void {
    const { normed, sums } = this.bank;
    const ffn_gate = this.#layer.weights.ffn_gate!;
    const { gate, up, down } = this.#kernel
      .run(
        { ffn_gate },
        normed,
        this.#ids,
        count,
        this.#gate,
        this.#up,
        groups,
        sums,
      );
    this.#count("predicted", count);
    this.#count("gateRows", gate);
    this.#count("gatePositive", up);
    this.#count("upRows", up);
    this.#count("downRows", down);
    this.#count("picked", (gate + up + down) * ffn_gate.rowBytes);
    this.#layer.done = true;
  }

  /** How many rows have a positive gate, or up where there is none. */
  #positives(t: number): number {
    const { ffn_up } = this.#layer.weights, { kernels } = this.bank.memory;
    return kernels.count_positive(at(this.#gates, t), ffn_up.rows);
  }

  /** What decides which neurons fire. */
  get #gates(): F32Rows {
    return this.#layer.weights.ffn_gate ? this.#gate : this.#up;
  }

  /** Writes which rows from `first` on have a positive gate for the one token, counted from there; returns how many. */
  #selectPositive(first: number): number {
    return this.bank.memory.kernels.select_positive(
      this.#gate.pointer + 4 * first,
      this.#layer.weights.ffn_up.rows - first,
      this.#ids,
    );
  }

  /** h = activation(gate, up) of one token, or activation(up); returns how many are not zero. */
  #combine(t: number): number {
    const { kernels } = this.bank.memory;
    const { ffn_gate, ffn_up: { rows } } = this.#layer.weights;
    const id = activationIds[this.options.model.activation];
    const up = at(this.#up, t), h = at(this.#h, t);
    return ffn_gate
      ? kernels.gated(id, at(this.#gate, t), up, h, rows)
      : kernels.ungated(id, up, h, rows);
  }

  /** Σ |h| of one token. */
  #mass(t: number): number {
    const { rows } = this.#layer.weights.ffn_up;
    const h = this.bank.memory.f32(at(this.#h, t), rows);
    return h.reduce((sum, value) => sum + Math.abs(value), 0);
  }

  /** Counts each neuron of one token, as long as the caller wants that. */
  #countNeurons(t: number): void {
    const { neurons } = this.counters, { index } = this.#layer;
    if (!neurons?.isOn) return;
    const { parts } = this.options.plan;
    const ids = this.#fileIds[index] ??= neuronsInOrder(parts[index]);
    const row = (rows: F32Rows) =>
      this.bank.memory.f32(at(rows, t), ids.length);
    neurons.add(index, row(this.#gates), row(this.#h), ids);
  }

  #count(name: CountName, amount: number): void {
    this.counters.layers.add(this.#layer.index, name, amount);
  }
}

/** Where the row of a token begins. */
function at(rows: F32Rows, t: number): number {
  return rows.pointer + 4 * t * rows.stride;
}
