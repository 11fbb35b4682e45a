import type { ByteSource } from "../../bytes/byte_source.ts";
import { instantiate, WasmMemory } from "../../kernels/memory.ts";
import type { Emit } from "../../platform/rpc_server.ts";
import { Random } from "../../random.ts";
import { FactorisedLayers } from "./factorised.ts";
import { LayerSamples } from "./layer_samples.ts";
import type {
  LayerMaker,
  MadeLayer,
  OnTrainingStep,
  PredictorPlan,
} from "./predictor_plan.ts";
import { TrainedLayers } from "./trained.ts";

/** Makes one layer after another in the same memory; each comes out as if it were alone. */
export class LayerWork {
  readonly #samples: LayerSamples;
  readonly #maker: LayerMaker;

  /** @throws {LimitError} where a layer does not fit one WASM memory */
  constructor(
    module: WebAssembly.Module,
    plan: PredictorPlan,
    readonly source: ByteSource,
    onStep?: OnTrainingStep,
  ) {
    const { model, tokens, rank, recall, training } = plan;
    const memory = new WasmMemory(instantiate(module));
    const labelled = training?.examples ?? 0;
    const samples = new LayerSamples(memory, model, tokens, labelled);
    this.#samples = samples;
    this.#maker = training
      ? new TrainedLayers(samples, source, { ...plan, ...training, onStep })
      : new FactorisedLayers(samples, rank, recall);
  }

  /** Makes a layer of its states, `[tokens, hiddenSize]`; `pause` is awaited now and then. */
  async make(
    layer: number,
    states: Float32Array,
    pause: () => Promise<void>,
  ): Promise<MadeLayer> {
    const random = new Random(layer);
    await this.#samples.load(layer, states, this.source, random, pause);
    return await this.#maker.make(layer, random, pause);
  }
}

/** A tensor's bytes, and where they lie in the model's file. */
export interface HeldTensor {
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Makes layers of a predictor, in a worker. Requested in this order: `start`, then `make`, one layer at a time. */
export class LayerService {
  #work!: LayerWork;
  /** The layer's */
  #tensors: readonly HeldTensor[] = [];

  /** `emit` is given the steps of a layer. */
  constructor(readonly emit: Emit<Parameters<OnTrainingStep>>) {}

  /** @throws {LimitError} where a layer does not fit one WASM memory */
  start(module: WebAssembly.Module, plan: PredictorPlan): void {
    const onStep: OnTrainingStep = (...step) => this.emit(step);
    this.#work = new LayerWork(module, plan, this.#source(), onStep);
  }

  /** Makes a layer of its states, `[tokens, hiddenSize]`, and its tensors. */
  make(
    layer: number,
    states: Float32Array,
    tensors: readonly HeldTensor[],
  ): Promise<MadeLayer> {
    this.#tensors = tensors;
    return this.#work.make(layer, states, () => Promise.resolve());
  }

  /** The model's file, as far as the layer reads it. */
  #source(): ByteSource {
    return {
      name: "layer",
      size: Infinity,
      read: (offset, length) => {
        const { offset: start, bytes } = this.#tensors.find((tensor) =>
          offset >= tensor.offset &&
          offset + length <= tensor.offset + tensor.bytes.length
        )!;
        const first = offset - start;
        return Promise.resolve(bytes.slice(first, first + length));
      },
      close: () => Promise.resolve(),
    };
  }
}
