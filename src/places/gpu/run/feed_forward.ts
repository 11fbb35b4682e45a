/**
 * Neurons on the device. Gates are computed for all of them (or those that a
 * predictor selects), up where the gate is positive, down where h is not zero. Where
 * no row of up is left unread, one kernel computes gate and up.
 *
 * Of experts, those are computed that a token chooses, each as if it were a token of
 * its own: values h are `[tokens][used]` rows of one expert's neurons, times what the
 * expert counts, and down adds up those of a token.
 */
import { isSparse } from "../../../model/activation.ts";
import { indexAt } from "../../../model/index_set.ts";
import {
  downRows,
  downRowsGrid,
  downRowsTiles,
  downRowsVec,
  downRowsVecGrid,
  keepAbove,
  keepAboveGrid,
} from "../kernels/neurons.ts";
import { counters, counterWords, tileCount } from "../kernels/products.ts";
import { addBias, addBiasGrid } from "../kernels/residual.ts";
import type { TokenRows } from "../memory/buffers.ts";
import {
  expertRowsOf,
  type FeedForwardLayout,
  upBiasFirst,
} from "../memory/layout.ts";
import type { DeviceMatrix, MatrixLayout } from "../memory/matrix.ts";
import { paddedTo256 } from "../memory/packing.ts";
import type { KernelContext, PlaceContext } from "./context.ts";
import {
  expertParamsOf,
  type Experts,
  Product,
  type ProductOptions,
} from "./product.ts";
import type { Half, NormedInput, Residual } from "./residual.ts";
import { expertsOf, Router } from "./router.ts";
import { SharedNorm } from "./shared_norm.ts";

/** What was counted for one layer since the last read-back. */
export type Counted = Readonly<Record<keyof typeof counters, number>>;

/** The figures as they were read last; they go round at 2^32. */
export class CounterReader {
  readonly #last: Uint32Array;

  constructor(readonly layers: number) {
    this.#last = new Uint32Array(counterWords * layers);
  }

  /** Takes all figures, and calls `grown` for each layer whose figures have: between two read-backs that is one, as a rule. */
  take(
    figures: Uint32Array,
    grown: (layer: number, single: Counted, tiled: Counted) => void,
  ): void {
    for (let layer = 0; layer < this.layers; layer++) {
      const at = counterWords * layer;
      const by = (i: number) => (figures[at + i] - this.#last[at + i]) >>> 0;
      let hasGrown = false;
      for (let i = 0; i < counterWords; i++) hasGrown ||= by(i) > 0;
      if (!hasGrown) continue;
      const set = (first: number): Counted => ({
        gate_positive: by(first + counters.gate_positive),
        active: by(first + counters.active),
        predicted: by(first + counters.predicted),
      });
      grown(layer, set(0), set(counterWords / 2));
    }
    this.#last.set(figures);
  }

  /** Leaves out what was counted until these figures: nobody asked for it. */
  skip(figures: Uint32Array): void {
    this.#last.set(figures);
  }
}

interface Layer {
  /** Of each expert */
  readonly neurons: number;
  /** How many have some here */
  readonly expertCount: number;
  readonly input: NormedInput;
  /** What the router reads, and the router; none where one expert has all */
  readonly routed?: { readonly input: NormedInput; readonly router: Router };
  /** fc1 and fc2 */
  readonly predictor: readonly Product[];
  readonly gate?: DeviceMatrix;
  readonly up: DeviceMatrix;
  /** What computes h, one after another: in steps of a token, and of several */
  readonly one: readonly Product[];
  readonly several: readonly Product[];
  readonly subNorm?: SharedNorm;
  readonly down: Down;
  readonly half: Half;
  readonly keepAbove?: GPUBindGroup;
}

/** Scratch of one place's neurons, and the kernels of its layers. */
export class FeedForward {
  /** h of the tokens, or of their choices, `[tokens * used, stride]`. */
  readonly ffnActivations: TokenRows;
  /** Experts that a token chooses; 1 where there is no router */
  readonly used: number;
  readonly #routerScores?: TokenRows;
  readonly #gate?: TokenRows;
  readonly #ranks?: TokenRows;
  readonly #scores?: TokenRows;
  readonly #thresholds?: GPUBuffer;
  readonly #keepAbove: GPUComputePipeline;
  readonly #layers: readonly (Layer | undefined)[];
  /** Whether the activation leaves neurons zero, and the mode makes use of it */
  readonly #isSparse: boolean;
  /** Of experts that other places chose, `[tokens][used]`: whether they are here; all are, where it is left out */
  #areHere?: readonly boolean[];

  constructor(
    readonly context: PlaceContext,
    readonly residual: Residual,
  ) {
    const { buffers, pipelines, layout } = context;
    const { strides, bytes } = layout;
    const { model, sparsity } = context.options;
    const { neurons } = strides;
    this.used = model.routing?.used ?? 1;
    if (bytes.routerScores > 0) {
      const { experts } = strides, { routerScores } = bytes;
      this.#routerScores = buffers.rows("experts", routerScores, experts);
    }
    if (bytes.gate > 0) {
      this.#gate = buffers.rows("gates", bytes.gate, neurons);
    }
    const size = bytes.ffnActivations;
    this.ffnActivations = buffers.rows("FFN activations", size, neurons);
    if (bytes.scores > 0) {
      this.#ranks = buffers.rows("ranks", bytes.ranks, strides.rank);
      this.#scores = buffers.rows("scores", bytes.scores, neurons);
    }
    if (bytes.thresholds > 0) {
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
      this.#thresholds = buffers.make("thresholds", bytes.thresholds, usage);
      if (sparsity.mode === "threshold") {
        const same = new Float32Array(bytes.thresholds / 4);
        buffers.device.gpu.queue.writeBuffer(
          this.#thresholds,
          0,
          same.fill(sparsity.value),
        );
      }
    }
    this.#isSparse = sparsity.mode !== "dense" && isSparse(model.activation);
    this.#keepAbove = pipelines.get(keepAbove);
    this.#layers = layout.layers.map(({ feedForward }, i) =>
      feedForward && this.#layer(i, feedForward)
    );
  }

  get streamed(): Product[] {
    return this.#layers.flatMap((layer) =>
      !layer
        ? []
        : layer.predictor.length > 0
        ? layer.predictor
        : layer.one.slice(0, 1)
    );
  }

  /** Takes which experts of a layer tokens chose; returns that by the device's numbers. */
  takeChoices(index: number, choices: Uint32Array): Uint32Array {
    const { expertOrder, expertCount } = this.context.layout.layers[index]
      .feedForward!;
    const own = choices.slice(), areHere: boolean[] = [];
    for (let i = 0; i < own.length; i += 2) {
      own[i] = expertOrder.indexOf(choices[i]);
      areHere.push(own[i] < expertCount);
    }
    this.#areHere = areHere;
    return own;
  }

  /** Whether the expert of a choice, of those that were taken last, has neurons here. */
  isHere(choice: number): boolean {
    return this.#areHere?.[choice] ?? true;
  }

  /** Choices of `tokens` tokens whose experts have neurons here. */
  #choicesHere(tokens: number): number {
    return this.#areHere?.filter(Boolean).length ?? tokens * this.used;
  }

  /** Chooses the experts of tokens. */
  route(index: number, n: number): void {
    this.#areHere = undefined;
    const { counts, options: { model: { expertCount } } } = this.context;
    const { input, router } = this.#layers[index]!.routed!;
    input.encode(n);
    router.encode(n);
    counts.add(index, "streamed", router.bytes(n));
    counts.add(index, "experts", n * expertCount);
    counts.add(index, "chosenExperts", n * this.used);
    // Those of several tokens may be the same; each reads its own.
    const most = Math.min(expertCount, n * this.used);
    counts.add(index, "readExperts", most);
  }

  activate(index: number, n: number): void {
    const { counts, options: { sparsity } } = this.context;
    const layer = this.#layers[index]!;
    const { input, predictor, gate, up } = layer;
    const choices = this.#choicesHere(n);
    const neurons = choices * layer.neurons;
    input.encode(n);
    for (const product of predictor) product.encode(n);
    for (const product of n > 1 ? layer.several : layer.one) product.encode(n);
    counts.add(index, "neurons", neurons);
    for (const product of predictor) {
      counts.add(index, "streamed", product.bytes(n, choices));
    }
    // Tiles of tokens read all rows; of experts, each choice reads its own.
    const isTiled = n > 1 && !this.#isRouted;
    if (gate && (predictor.length === 0 || isTiled)) {
      counts.add(index, "gateRows", neurons);
      counts.add(index, "streamed", this.#streamedBytes(layer, gate, n));
    }
    if (!this.#masksUp(layer) || isTiled) {
      counts.add(index, "upRows", neurons);
      counts.add(index, "streamed", this.#streamedBytes(layer, up, n));
    }
    if (sparsity.mode === "threshold") this.#keep(layer, n);
  }

  /** Bytes of a matrix that a step of `tokens` tokens reads, where it reads all rows. */
  #streamedBytes(
    { expertCount }: Layer,
    { byteLength }: DeviceMatrix,
    tokens: number,
  ): number {
    return byteLength *
      (this.#isRouted
        ? this.#choicesHere(tokens) / expertCount
        : tileCount(tokens));
  }

  /** Whether tokens choose among experts. */
  get #isRouted(): boolean {
    return this.context.options.model.routing !== undefined;
  }

  neuronsOf(index: number): number {
    return this.#layers[index]!.neurons;
  }

  /** What norms the values h of all neurons as one. */
  sharedNorm(index: number): SharedNorm {
    return this.#layers[index]!.subNorm!;
  }

  /** Sets every |h| of token t that is not above `thresholds[t]` to zero. */
  keepAbove(index: number, thresholds: Float32Array): void {
    this.context.commands.write(
      this.#thresholds!,
      thresholds.slice().buffer,
      thresholds.byteLength,
    );
    this.#keep(this.#layers[index]!, thresholds.length);
  }

  /** Adds the neurons' share to the residual, or lines it up to be added. */
  down(index: number, n: number): void {
    const { counts } = this.context;
    const { down, half, neurons } = this.#layers[index]!;
    const choices = this.#choicesHere(n);
    down.encode(n);
    this.residual.added(half);
    if (down.streams(n)) {
      counts.add(index, "streamed", down.bytes(n, choices));
    }
    if (!down.byNeuron) counts.add(index, "downRows", choices * neurons);
  }

  /** Takes what the kernels of a layer counted, for single tokens and in tiles. */
  counted(index: number, single: Counted, tiled: Counted): void {
    const layer = this.#layers[index];
    if (!layer) return;
    const { counts } = this.context;
    const { gate, up, down, predictor } = layer;
    const both = (name: keyof Counted) => single[name] + tiled[name];
    counts.add(index, "gatePositive", both("gate_positive"));
    counts.add(index, "active", both("active"));
    counts.add(index, "predicted", both("predicted"));
    let picked = 0;
    if (gate && predictor.length > 0) {
      counts.add(index, "gateRows", single.predicted);
      picked += single.predicted * gate.rowBytes;
    }
    if (this.#masksUp(layer)) {
      counts.add(index, "upRows", single.gate_positive);
      picked += single.gate_positive * up.rowBytes;
    }
    if (down.byNeuron) {
      counts.add(index, "downRows", both("active"));
      picked += single.active * down.matrix.rowBytes;
    }
    counts.add(index, "picked", picked);
  }

  /** Whether rows of up are computed only where the gate is positive. */
  #masksUp({ gate }: { readonly gate?: unknown }): boolean {
    return this.#isSparse && gate !== undefined;
  }

  #keep(layer: Layer, n: number): void {
    const grid = keepAboveGrid(layer.neurons, n * this.used);
    const { commands } = this.context;
    commands.dispatch(this.#keepAbove, layer.keepAbove!, grid);
  }

  #layer(index: number, layout: FeedForwardLayout): Layer {
    const { context, residual } = this;
    const { weights, options: { model, plan, sparsity } } = context;
    const threshold = sparsity.mode === "predictor"
      ? sparsity.threshold
      : undefined;
    const vectors = weights.layers[index];
    const input = residual.normed(vectors.ffn_norm, vectors.ffn_norm_bias);
    const half = residual.half(vectors.post_ffw_norm);
    const { neurons, predictor, gate, up, router } = layout;
    const own = plan.parts[index].neurons;
    const paddedRows = paddedTo256(neurons);
    const counter = counterWords * index;
    // Scores of a predictor that reads x as it is are divided as x is.
    const scoreScale = model.linearPredictor ? 1 : model.residualScale;
    const predicted = predictor && {
      scores: this.#scores!.buffer,
      threshold: (threshold ?? model.sparseThresholds[index]) / scoreScale,
    };
    const chosen = expertsOf(model, layout.expertCount);
    const experts = chosen && {
      ...chosen,
      results: "each" as const,
      reads: "tokens" as const,
    };
    const h = {
      ...input.read,
      experts,
      out: this.ffnActivations,
      counter,
      gateThreshold: model.gateThreshold,
      epilogue: model.activation,
      paddedRows,
    };
    const products = this.#products(layout, h, predicted, vectors.ffn_bias);
    return {
      neurons,
      expertCount: layout.expertCount,
      input,
      routed: router && this.#routed(router, input, vectors.router_bias),
      gate: gate && weights.of(gate),
      up: weights.of(up),
      ...products,
      predictor: predictor
        ? [
          new Product(context, weights.of(predictor.fc1), {
            ...(model.linearPredictor ? input.read : { x: residual }),
            experts,
            out: this.#ranks!,
            epilogue: model.linearPredictor ? "store" : "relu",
            paddedRows: paddedTo256(expertRowsOf(predictor.fc1)),
          }),
          new Product(context, weights.of(predictor.fc2), {
            x: this.#ranks!,
            experts: experts && { ...experts, reads: "choices" },
            out: this.#scores!,
          }),
        ]
        : [],
      subNorm: vectors.ffn_sub_norm && new SharedNorm(context, {
        x: this.ffnActivations,
        shares: [{
          first: 0,
          size: neurons,
          count: 1,
          unit: 1,
          columns: { start: 0, end: model.feedForwardSize },
          columnOf: (i) => indexAt(own, i),
        }],
        weight: vectors.ffn_sub_norm,
      }),
      down: new Down(
        context,
        weights.of(layout.down),
        layout,
        this.ffnActivations,
        residual,
        vectors.ffn_down_bias,
        half.out,
        chosen,
      ),
      half,
      keepAbove: this.#thresholds && context.pipelines.bind(keepAbove, {
        step: context.step,
        params: context.uniforms.add(keepAbove, {
          length: neurons,
          stride: this.ffnActivations.stride,
          slots: this.used,
        }),
        thresholds: this.#thresholds,
        h: this.ffnActivations.buffer,
      }),
    };
  }

  #routed(
    layout: MatrixLayout,
    normed: NormedInput,
    bias?: GPUBufferBinding,
  ): Layer["routed"] {
    const { context } = this;
    const { weights, options: { model } } = context;
    const input = model.routing!.readsLayerInput
      ? this.residual.normed()
      : normed;
    const router = new Router(
      context,
      model,
      weights.of(layout),
      { ...input.read, bias },
      this.#routerScores!,
    );
    return { input, router };
  }

  /** What computes the values h of a layer: gate and up together, or up behind gate. */
  #products(
    layout: FeedForwardLayout,
    h: ProductOptions,
    predicted: ProductOptions["mask"],
    bias: GPUBufferBinding | undefined,
  ): Pick<Layer, "one" | "several"> {
    const { context } = this;
    const { weights } = context;
    const { gate, up, joint } = layout;
    const upBias = upBiasFirst(layout);
    const upMatrix = weights.of(up);
    if (!gate) {
      const options = { ...h, bias, mask: predicted };
      const own = [new Product(context, upMatrix, options)];
      return { one: own, several: own };
    }
    const gateMatrix = weights.of(gate);
    const together = joint && [
      new Product(context, gateMatrix, {
        ...h,
        up: upMatrix,
        bias,
        upBias,
        mask: predicted,
        serves: joint === "several" ? joint : undefined,
      }),
    ];
    if (joint === "all") return { one: together!, several: together! };
    const serves = joint && "one";
    const gates = this.#gate!, scores = gates.buffer;
    const apart = [
      new Product(context, gateMatrix, {
        x: h.x,
        norm: h.norm,
        factor: h.factor,
        experts: h.experts,
        out: gates,
        bias,
        counter: h.counter,
        mask: predicted,
        serves,
      }),
      new Product(context, upMatrix, {
        ...h,
        bias: bias && behind(bias, 4 * upBias),
        mask: this.#masksUp({ gate }) ? { scores } : undefined,
        gate: scores,
        serves,
      }),
    ];
    return { one: apart, several: together ?? apart };
  }
}

/** What lies `bytes` bytes behind the beginning of something bound. */
function behind(
  { buffer, offset = 0, size = 0 }: GPUBufferBinding,
  bytes: number,
): GPUBufferBinding {
  return { buffer, offset: offset + bytes, size: size - bytes };
}

/** Adds Σ h · down to the residual; the matrix has a row for each neuron, or for each output. */
export class Down {
  /** Whether the matrix has a row for each neuron, and only those are read whose h is not zero. */
  readonly byNeuron: boolean;
  readonly #product?: Product;
  /** Where the product does not add it */
  readonly #bias?: { pipeline: GPUComputePipeline; group: GPUBindGroup };
  readonly #pieces: readonly {
    one: { pipeline: GPUComputePipeline; group: GPUBindGroup };
    many: { pipeline: GPUComputePipeline; group: GPUBindGroup };
  }[] = [];

  constructor(
    readonly context: KernelContext,
    readonly matrix: DeviceMatrix,
    { downByNeuron }: Pick<FeedForwardLayout, "downByNeuron">,
    h: TokenRows,
    readonly residual: Pick<
      Residual,
      "buffer" | "stride" | "partials" | "stretchesWait"
    >,
    bias?: GPUBufferBinding,
    /** What it is added to */
    out: TokenRows = residual,
    readonly experts?: Experts,
  ) {
    this.byNeuron = downByNeuron;
    const { pipelines, uniforms, step } = context;
    const routed = experts !== undefined;
    if (bias && (downByNeuron || routed)) {
      const { used: slots = 1, routes = 0 } = experts ?? {};
      const params = uniforms.add(addBias, {
        columns: this.#columns,
        stride: residual.stride,
        slots,
        routes,
      });
      this.#bias = {
        pipeline: pipelines.get(addBias, { routed }),
        group: pipelines.bind(addBias, { step, params, bias, x: out.buffer }),
      };
    }
    if (!downByNeuron) {
      this.#product = new Product(context, matrix, {
        x: h,
        out,
        bias: routed ? undefined : bias,
        experts: experts && { ...experts, results: "sum", reads: "choices" },
        epilogue: "add",
      });
      return;
    }
    const one = downRowsVec(matrix.type), many = downRows(matrix.type);
    this.#pieces = matrix.pieces.map((piece) => {
      const { buffer, first, rows } = piece;
      const expertRows = experts && matrix.rows / experts.count;
      const hStride = h.stride * (experts?.used ?? 1);
      const params = uniforms.add(one, {
        rows: routed ? hStride : rows,
        first: routed ? 0 : first,
        ...expertParamsOf(experts, piece, expertRows),
        expert_rows: expertRows ?? rows,
        width: h.stride,
        groups: matrix.groups,
        h_stride: hStride,
        stride: residual.stride / 4,
      });
      const bound = { step, params, matrix: buffer, h: h.buffer };
      const { partials } = residual;
      return {
        one: {
          pipeline: pipelines.get(one, { routed }),
          group: pipelines.bind(one, { ...bound, x: out.buffer }),
        },
        many: {
          pipeline: pipelines.get(many, { adds: first > 0 }),
          group: pipelines.bind(many, { ...bound, partials }),
        },
      };
    });
  }

  /** Numbers that it adds to a token's. */
  get #columns(): number {
    const { matrix: { rows, columns }, experts } = this;
    return this.byNeuron ? columns : rows / (experts?.count ?? 1);
  }

  /** Adds to the residual, or lines it up to be added. */
  encode(tokens: number): void {
    const { commands } = this.context;
    this.#product?.encode(tokens);
    if (this.#bias) {
      const { pipeline, group } = this.#bias;
      commands.dispatch(pipeline, group, addBiasGrid(this.#columns, tokens));
    }
    const { groups } = this.matrix;
    const isOne = !this.#isTiled(tokens);
    for (const { one, many } of this.#pieces) {
      if (isOne) {
        const grid = downRowsVecGrid(groups, tokens);
        commands.dispatch(one.pipeline, one.group, grid);
      } else {
        const grid = downRowsGrid(groups, tokens);
        commands.dispatch(many.pipeline, many.group, grid);
      }
    }
    if (this.byNeuron && !isOne) this.residual.stretchesWait = true;
  }

  /** Whether several tokens share the rows that are read; each reads those of its experts. */
  #isTiled(tokens: number): boolean {
    return tokens > 1 && !this.experts;
  }

  /** Whether all rows are read in a step of `tokens` tokens, whatever h is. */
  streams(tokens: number): boolean {
    return !this.byNeuron || this.#isTiled(tokens);
  }

  /** Bytes of weights that a step of `tokens` tokens, or of so many choices of experts, reads, at most. */
  bytes(tokens: number, choices?: number): number {
    return this.#product?.bytes(tokens, choices) ??
      this.matrix.byteLength * downRowsTiles(tokens);
  }
}
