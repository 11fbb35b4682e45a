/**
 * A place's neurons on the CPU. A neuron whose gate is not positive adds
 * exactly zero, so its rows of up and down need not be read. Nor need any of
 * an expert that no token chose: the neurons of one expert after another are
 * computed, each for its tokens; where there is no router, one has all.
 * What they add is computed by `down.ts`.
 *
 * Rows are in the order in which the place stores them: the file's, or hottest
 * first where a profile says so. The first `hot` rows are read without a test.
 */
import { hotRowsOf, pickRatio } from "../../plan/hot_rows.ts";
import type { Rates } from "../../plan/machine.ts";
import { scatterPays } from "../../plan/scatter.ts";
import { indexAt, lengthOf } from "../../model/index_set.ts";
import { withinExpert } from "../../model/experts.ts";
import { expertsOf, neuronsInOrder } from "../../plan/plan.ts";
import type { Batch } from "../batch.ts";
import type { CountName } from "../stats.ts";
import {
  Activations,
  allocateRows,
  type F32Rows,
  type PackedMatrix,
  rowAt,
} from "../../kernels/matrix.ts";
import { joined, multiplyAll } from "../../kernels/joined.ts";
import { roundUp } from "../../kernels/packing.ts";
import {
  type Bank,
  type Counters,
  type CpuPlaceOptions,
  isDense,
} from "./options.ts";
import { Down, type Layer } from "./down.ts";
import type { GroupRows } from "./group_rows.ts";
import { Predictor } from "./predictor.ts";
import { type ExpertTokens, idsOf, ownOf, Router } from "./router.ts";
import { liesSideBySide, NeuronKernel } from "./interleaved_rows.ts";
import { rowsAtLeast } from "./neuron_cache.ts";
import type { NormedRows } from "./norms.ts";
import type { LayerWeights } from "./weights.ts";

/** The numbers by which kernels know activations. */
const activationIds = {
  drelu: 0,
  reglu: 1,
  swiglu: 2,
  relu2: 3,
  geglu: 4,
  swiglu_oai: 5,
};

/** The smallest positive f32. */
const smallest = 2 ** -149;

/** Neurons of one expert for some tokens, while they are computed. */
interface Neurons {
  readonly index: number;
  /** The number of their expert among those that the place has */
  readonly own: number;
  readonly weights: LayerWeights;
  /** Gate and up, where all of both is read */
  readonly gateAndUp?: readonly PackedMatrix[];
  /** Its tokens, and how many */
  readonly tokens: readonly number[];
  readonly n: number;
  /** What gate and up read, and what a predictor does that is not linear */
  readonly normed: Activations;
  readonly residual: Activations;
  /** Values of its tokens */
  readonly h: F32Rows;
}

/** Scratch of one bank's neurons. */
export class FeedForward {
  readonly #gate: F32Rows;
  /** By layer, what up makes of the input; behind the gates, where all of both is read */
  readonly #ups: readonly F32Rows[];
  /** By layer, and expert in memory: gate and up, where all of both is read */
  readonly #gatesAndUps: readonly (
    | readonly (readonly PackedMatrix[] | undefined)[]
    | undefined
  )[];
  readonly #router: Router;
  /** By layer, the experts that the place has */
  readonly #held: readonly (readonly number[])[];
  /** What the tokens of an expert read, where it has not all of the step's */
  readonly #gathered: Record<"normed" | "residual", Activations>;
  /** A row for each token of each expert */
  readonly #h: Activations;
  readonly #down: Down;
  readonly #predictor: Predictor;
  readonly #ids: number;
  readonly #kernel: NeuronKernel;
  /** Hot rows of each layer, as the plan has them */
  hotRows: readonly number[];
  /** The file's ids of each layer's neurons, where they are counted */
  readonly #fileIds: Uint32Array[] = [];
  /** The layer whose h stand in `#h` */
  #layer!: Layer;
  #neurons!: Neurons;
  #batch!: Batch;
  /** What the router made of the tokens */
  #routed?: readonly ExpertTokens[];

  constructor(
    readonly options: CpuPlaceOptions,
    readonly bank: Bank,
    readonly counters: Counters,
    /** How fast the place reads its rows */
    readonly rates: Rates,
  ) {
    const { memory, weights: { experts } } = bank;
    const { model, plan, limits: { tokens: maxTokens }, sparsity } = options;
    const { hiddenSize, routing, linearPredictor } = model;
    const neurons = Math.max(
      ...plan.parts.map((part) => lengthOf(withinExpert(model, part.neurons))),
    );
    this.#held = plan.parts.map((part) => expertsOf(model, part));
    const rows = (width: number) => allocateRows(memory, maxTokens, width);
    const isJoined = isDense(options);
    this.#gate = rows(isJoined ? 2 * neurons : neurons);
    const { pointer, stride } = this.#gate;
    const up = isJoined ? undefined : rows(neurons);
    this.#ups = experts.map((layer) =>
      up ??
        { pointer: pointer + 4 * (layer?.[0].ffn_up.rows ?? 0), stride }
    );
    this.#gatesAndUps = experts.map((layer) =>
      layer?.map(({ ffn_gate, ffn_up }) =>
        ffn_gate && isJoined && !this.#isPartial(ffn_up)
          ? joined([ffn_gate, ffn_up])
          : undefined
      )
    );
    this.#router = new Router(options, bank);
    const input = (isRead: boolean) =>
      new Activations(memory, isRead ? maxTokens : 0, hiddenSize);
    this.#gathered = {
      normed: input(routing !== undefined),
      residual: input(
        routing !== undefined && sparsity.mode === "predictor" &&
          !linearPredictor,
      ),
    };
    this.#h = new Activations(memory, this.#router.used * maxTokens, neurons);
    this.#down = new Down(options, bank, counters, this.#h, neurons);
    this.#predictor = new Predictor(options, bank, neurons);
    this.#ids = memory.allocate(4 * roundUp(neurons, 8));
    this.#kernel = new NeuronKernel(memory, activationIds[model.activation]);
    this.hotRows = hotRowsOf(plan);
  }

  /** Routes the tokens of a layer, by the residual or by that normed. */
  route(index: number, n: number): void {
    const { residual, normed } = this.bank;
    const { readsLayerInput } = this.options.model.routing!;
    if (readsLayerInput) residual.changed();
    this.#routed = this.#route(index, n, readsLayerInput ? residual : normed);
  }

  /** Writes what {@linkcode route} chose, `[tokens][used]`. */
  putChoices(choices: Uint32Array): void {
    const counts = new Float32Array(choices.buffer, choices.byteOffset);
    const { used } = this.#router;
    for (const { expert, tokens, weights = [], slots } of this.#routed ?? []) {
      tokens.forEach((token, t) => {
        const at = 2 * (token * used + slots[t]);
        choices[at] = expert;
        counts[at + 1] = weights[t];
      });
    }
  }

  /**
   * Computes h of the normed residual; a predictor that is not linear reads the
   * residual itself. Down's share goes to the bank's sums, by {@linkcode down} at
   * the latest.
   */
  activations(index: number, batch: Batch): void {
    const n = batch.length;
    const { sparsity } = this.options;
    this.#batch = batch;
    const experts = this.#routed
      ? this.#ownOf(index, this.#routed)
      : this.#router.all(n);
    this.#layer = { index, n, experts, done: false };
    const ahead = this.bank.experts && idsOf(experts);
    for (const tokens of experts) {
      ahead?.delete(tokens.expert);
      this.#activate(tokens, ahead);
    }
    this.#h.changed();
    if (sparsity.mode === "threshold") {
      const { value } = sparsity;
      this.keepAbove(Array.from(
        { length: n },
        (_, t) => batch.modeValueOf(index, t, value),
      ));
    }
  }

  #ownOf(
    index: number,
    experts: readonly ExpertTokens[],
  ): readonly ExpertTokens[] {
    const held = this.#held[index];
    return held.length === this.options.model.expertCount
      ? experts
      : ownOf(experts, held);
  }

  /** Which experts of a layer the tokens choose; counts them once, whatever places share them. */
  #route(index: number, n: number, x: Activations): readonly ExpertTokens[] {
    const { model: { routing, expertCount }, plan: { parts } } = this.options;
    const { experts, bytes } = this.#router.route(index, x, n);
    this.bank.experts?.expect(index, experts.map(({ expert }) => expert));
    const { layers } = this.counters;
    layers.add(index, "streamed", bytes);
    const { neurons, inputs } = parts[index];
    // The first of the CPU's places; the only one has inputs of its own.
    const isFirst = lengthOf(neurons) > 0 &&
      (!inputs || indexAt(neurons, 0) === indexAt(inputs.neurons, 0));
    if (routing && isFirst) {
      layers.add(index, "experts", n * expertCount);
      layers.add(index, "chosenExperts", n * routing.used);
      layers.add(index, "readExperts", experts.length);
      if (this.counters.neurons?.isOn) {
        for (const { expert, tokens } of experts) {
          this.counters.neurons.addExpert(index, expert, tokens.length);
        }
      }
    }
    return experts;
  }

  /** Computes h of one expert's neurons for its tokens. */
  #activate(tokens: ExpertTokens, ahead?: ReadonlySet<number>): void {
    const { sparsity, measureRecall } = this.options;
    const neurons = this.#neurons = this.#neuronsOf(tokens, ahead);
    const { index, n, weights, gateAndUp, h } = neurons;
    const { fc1, fc2, ffn_gate } = weights;
    const predicts = fc1 && fc2 && sparsity.mode === "predictor";
    this.#count("neurons", n * weights.ffn_up.rows);
    this.#count("hot", n * this.hotRows[index]);
    if (predicts) {
      this.#predicted();
    } else if (!ffn_gate) {
      this.#stream("upRows", weights.ffn_up, 0, this.#up);
      weights.ffn_up_bias?.addTo(this.#up, n);
    } else {
      if (gateAndUp) this.#streamBoth(gateAndUp);
      else this.#stream("gateRows", ffn_gate, 0, this.#gate);
      weights.ffn_gate_bias?.addTo(this.#gate, n);
      this.#dropSmallGates();
      if (gateAndUp) weights.ffn_up_bias?.addTo(this.#up, n);
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
      if (!tokens.weights) continue;
      const { kernels } = this.bank.memory;
      kernels.scale(rowAt(h, t), weights.ffn_up.rows, tokens.weights[t]);
    }
  }

  /**
   * What there is of an expert's neurons, with its tokens' rows gathered, where
   * these are not all. Where it is not in memory it takes the room of others,
   * of those `ahead` last.
   */
  #neuronsOf(
    { expert, own, tokens, first }: ExpertTokens,
    ahead?: ReadonlySet<number>,
  ): Neurons {
    const { index, n } = this.#layer;
    const { normed, residual, experts, weights } = this.bank;
    const slot = ahead ? experts!.slot("values", index, expert, ahead) : own;
    const isAll = tokens.length === n;
    return {
      index,
      own,
      tokens,
      weights: weights.experts[index]![slot],
      gateAndUp: this.#gatesAndUps[index]![slot],
      n: tokens.length,
      normed: isAll ? normed : this.#gather("normed", tokens),
      residual: isAll ? residual : this.#gather("residual", tokens),
      h: this.#valuesFrom(first),
    };
  }

  /** The values h from a row on. */
  #valuesFrom(row: number): F32Rows {
    const { pointer, stride } = this.#h;
    return { pointer: pointer + 4 * row * stride, stride };
  }

  #gather(name: "normed" | "residual", tokens: readonly number[]): Activations {
    const { memory, [name]: all } = this.bank;
    const own = this.#gathered[name], { hiddenSize } = this.options.model;
    if (own.isEmpty) return own;
    tokens.forEach((token, t) => {
      const row = memory.f32(rowAt(all, token), hiddenSize);
      memory.f32(rowAt(own, t), hiddenSize).set(row);
    });
    own.changed();
    return own;
  }

  /** In place of {@linkcode activations} of one token: sets h of a share of the neurons to 1, of the others to 0. */
  fire(index: number, share: number): void {
    const held = this.#held[index];
    const count = Math.min(this.#router.used, held.length);
    const experts = Array.from({ length: count }, (_, own) => {
      const [all] = this.#router.all(1);
      return { ...all, expert: held[own], own, slots: [own], first: own };
    });
    this.#layer = { index, n: 1, experts, done: false };
    const [{ ffn_up }] = this.bank.weights.experts[index]!;
    for (const { first } of experts) {
      const row = this.bank.memory.f32(rowAt(this.#h, first), ffn_up.rows);
      for (let j = 0; j < row.length; j++) {
        row[j] = Math.random() < share ? 1 : 0;
      }
    }
    this.#h.changed();
  }

  /** The values h of the layer, `[tokens][neurons]`; of experts, of those that a token chose. */
  neurons(n: number): Float32Array[] {
    const { used } = this.#router, { index, experts } = this.#layer;
    const { rows } = this.bank.weights.experts[index]![0].ffn_up;
    const ofRow = (row: number) =>
      this.bank.memory.f32(rowAt(this.#h, row), rows);
    if (!this.options.model.routing) {
      return Array.from({ length: n }, (_, t) => ofRow(t));
    }
    const all = Array.from(
      { length: n },
      () => new Float32Array(used * rows),
    );
    for (const { tokens, slots, first } of experts) {
      tokens.forEach((token, t) =>
        all[token].set(ofRow(first + t), slots[t] * rows)
      );
    }
    return all;
  }

  /** Sets every |h| of token t that is not above `thresholds[t]` to zero. */
  keepAbove(thresholds: ArrayLike<number>): void {
    for (const { tokens, first } of this.#layer.experts) {
      const own = tokens.map((token) => thresholds[token]);
      this.#keepAbove(this.#valuesFrom(first), own);
    }
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
      weight: this.bank.weights.layers[layer]!.ffn_sub_norm!,
    };
    this.#h.changed();
  }

  /** Writes h of the layer to the columns of `ffn_down` in `rows`, `[tokens, stride]`. */
  putInputs(rows: Float32Array): void {
    this.#down.put(this.#layer, rows);
  }

  /** Takes h of all places. */
  takeInputs(rows: Float32Array): void {
    this.#down.take(this.#layer, rows);
  }

  /** Writes the place's share of down into the bank's sums; returns in how many terms. */
  down(): number {
    return this.#down.run(this.#layer);
  }

  /** What is added to the layer's sum. */
  get downBias(): Pick<PackedMatrix, "addTo"> | undefined {
    return this.#down.bias(this.#layer);
  }

  get #up(): F32Rows {
    return this.#ups[this.#layer.index];
  }

  /** Multiplies all rows of gate and up. */
  #streamBoth(both: readonly PackedMatrix[]): void {
    const { n, normed, weights: { ffn_up } } = this.#neurons;
    const bytes = multiplyAll(both, normed, n, this.#gate);
    this.#count("streamed", bytes);
    this.#count("gateRows", n * ffn_up.rows);
    this.#count("upRows", n * ffn_up.rows);
  }

  /** Whether rows of some neurons alone are in memory. */
  #isPartial(matrix: PackedMatrix): boolean {
    return this.bank.neurons?.holds(matrix) ?? false;
  }

  /** Multiplies rows of a matrix of which some are in memory: of each token its own. */
  #multiplyPartial(
    name: CountName,
    matrix: PackedMatrix,
    out: F32Rows,
    rowsOf: (t: number) => Uint32Array,
  ): void {
    const { n, normed: x } = this.#neurons;
    const rows = Array.from({ length: n }, (_, t) => rowsOf(t));
    const count = this.bank.neurons!.multiply(matrix, x, rows, out);
    this.#count("picked", count * matrix.rowBytes);
    this.#count(name, count);
  }

  /** Multiplies all rows from `first` on. */
  #stream(
    name: CountName,
    matrix: PackedMatrix,
    first: number,
    out: F32Rows,
    count = matrix.rows - first,
  ): void {
    if (this.#isPartial(matrix)) {
      const rows = Uint32Array.from({ length: count }, (_, i) => first + i);
      return this.#multiplyPartial(name, matrix, out, () => rows);
    }
    const { n, normed: x } = this.#neurons;
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
    if (this.#isPartial(matrix)) {
      const ids = this.bank.memory.u32(this.#ids, count);
      const rows = ids.map((id) => first + id);
      return this.#multiplyPartial(name, matrix, out, () => rows);
    }
    const { normed: x } = this.#neurons;
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
    if (this.#isPartial(matrix)) {
      const { memory } = this.bank;
      return this.#multiplyPartial(name, matrix, out, (t) => {
        const values = memory.f32(rowAt(asked, t), matrix.rows);
        return rowsAtLeast(values, least);
      });
    }
    const { n, normed: x } = this.#neurons;
    this.#count(name, matrix.multiplyWhere(x, n, asked, least, out));
    this.#count("streamed", matrix.rows * matrix.rowBytes);
  }

  /** Up where the gate is positive; all of it where that is faster. */
  #cascade(hot: number): void {
    const { n, weights: { ffn_up, ffn_up_bias } } = this.#neurons;
    if (isDense(this.options)) this.#stream("upRows", ffn_up, 0, this.#up);
    else if (this.#isPartial(ffn_up)) {
      this.#scatter("upRows", ffn_up, this.#gate, smallest, this.#up);
    } else if (n === 1) this.#cascadeOfOne(hot);
    else this.#cascadeOfSeveral();
    ffn_up_bias?.addTo(this.#up, n);
  }

  #cascadeOfSeveral(): void {
    const { n, weights: { ffn_up } } = this.#neurons;
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
    const { ffn_up } = this.#neurons.weights;
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
   * selects. Where recall is measured all is computed, and what is not selected
   * is dropped.
   */
  #predicted(): void {
    const { index, weights, tokens, n, normed, residual } = this.#neurons;
    const { ffn_up, ffn_gate_bias } = weights, { rows } = ffn_up;
    const ffn_gate = weights.ffn_gate!;
    const predictor = this.#predictor;
    const hot = this.hotRows[index];
    const input = { normed, residual };
    const bytes = predictor.score(index, weights, input, n, hot);
    this.#count("streamed", bytes);
    if (this.options.measureRecall) this.#measureRecall();
    tokens.forEach((token, t) =>
      predictor.takeThreshold(
        t,
        rows,
        this.#batch.modeValueOf(index, token, NaN),
      )
    );
    const picks = n === 1 && !this.options.measureRecall &&
      this.options.model.gateThreshold === 0;
    if (picks && liesSideBySide(weights)) {
      const groups = this.#down.groups[index]!;
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
      for (let t = 0; t < n; t++) predictor.drop(t, rows, this.#gate);
      return;
    }
    if (n === 1) {
      this.#stream("gateRows", ffn_gate, 0, this.#gate, hot);
      this.bank.memory.clear(rowAt(this.#gate, 0) + 4 * hot, rows - hot);
      this.#pick("gateRows", ffn_gate, hot, cold, this.#gate);
    } else if (
      this.#isPartial(ffn_gate) ||
      scatterPays(this.rates, n, asked / (n * rows))
    ) {
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

  /** Computes all neurons, and counts which of them fire, and how the predictor scores these. */
  #measureRecall(): void {
    const { index, weights, n } = this.#neurons;
    const { ffn_up, ffn_gate_bias, ffn_up_bias } = weights, { rows } = ffn_up;
    this.#stream("gateRows", weights.ffn_gate!, 0, this.#gate);
    ffn_gate_bias?.addTo(this.#gate, n);
    this.#dropSmallGates();
    this.#stream("upRows", ffn_up, 0, this.#up);
    ffn_up_bias?.addTo(this.#up, n);
    const { memory } = this.bank;
    const rowOf = (of: F32Rows, t: number) => memory.f32(rowAt(of, t), rows);
    for (let t = 0; t < n; t++) {
      this.#count("truth", this.#combine(t));
      this.#count("truthMass", this.#mass(t));
      const scores = rowOf(this.#predictor.scores, t);
      this.counters.scores?.add(index, scores, rowOf(this.#neurons.h, t));
    }
  }

  /** Takes gates up to the model's threshold for 0. */
  #dropSmallGates(): void {
    const { gateThreshold } = this.options.model, { n } = this.#neurons;
    if (gateThreshold === 0) return;
    this.#keepAbove(this.#gate, new Array<number>(n).fill(gateThreshold));
  }

  /** Zeroes what is not above its token's threshold, in size. */
  #keepAbove(rows: F32Rows, thresholds: readonly number[]): void {
    const { experts } = this.bank.weights;
    const { rows: count } = experts[this.#layer.index]![0].ffn_up;
    thresholds.forEach((threshold, t) =>
      this.bank.memory.kernels.keep_above(rowAt(rows, t), count, threshold)
    );
  }

  /** Gate, up and down of the `count` neurons of `#ids`, which lie side by side. */
  #pickNeurons(groups: GroupRows, count: number): void {
    const { normed, sums } = this.bank;
    const ffn_gate = this.#neurons.weights.ffn_gate!;
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
    const { ffn_up } = this.#neurons.weights, { kernels } = this.bank.memory;
    return kernels.count_positive(rowAt(this.#gates, t), ffn_up.rows);
  }

  /** What decides which neurons fire. */
  get #gates(): F32Rows {
    return this.#neurons.weights.ffn_gate ? this.#gate : this.#up;
  }

  /** Writes which rows from `first` on have a positive gate for the one token, counted from there; returns how many. */
  #selectPositive(first: number): number {
    return this.bank.memory.kernels.select_positive(
      this.#gate.pointer + 4 * first,
      this.#neurons.weights.ffn_up.rows - first,
      this.#ids,
    );
  }

  /** h = activation(gate, up) of one token, or activation(up); returns how many are not zero. */
  #combine(t: number): number {
    const { kernels } = this.bank.memory;
    const { ffn_gate, ffn_up: { rows } } = this.#neurons.weights;
    const id = activationIds[this.options.model.activation];
    const up = rowAt(this.#up, t), h = rowAt(this.#neurons.h, t);
    return ffn_gate
      ? kernels.gated(id, rowAt(this.#gate, t), up, h, rows)
      : kernels.ungated(id, up, h, rows);
  }

  /** Σ |h| of one token. */
  #mass(t: number): number {
    const { h: rows, weights: { ffn_up } } = this.#neurons;
    const h = this.bank.memory.f32(rowAt(rows, t), ffn_up.rows);
    return h.reduce((sum, value) => sum + Math.abs(value), 0);
  }

  /** Counts each neuron of one token, as long as the caller wants that. */
  #countNeurons(t: number): void {
    const { neurons } = this.counters;
    if (!neurons?.isOn) return;
    const { index, own, h, weights: { ffn_up: { rows } } } = this.#neurons;
    const { parts } = this.options.plan;
    const all = this.#fileIds[index] ??= neuronsInOrder(parts[index]);
    const ids = all.subarray(own * rows, (own + 1) * rows);
    const row = (from: F32Rows) => this.bank.memory.f32(rowAt(from, t), rows);
    neurons.add(index, row(this.#gates), row(h), ids);
  }

  #count(name: CountName, amount: number): void {
    this.counters.layers.add(this.#layer.index, name, amount);
  }
}
