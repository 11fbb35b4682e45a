import type { ByteSource } from "../../bytes/byte_source.ts";
import type { Emit } from "../../platform/rpc_server.ts";
import { LayerWork } from "./layer_work.ts";
import type {
  MadeLayer,
  OnTrainingStep,
  PredictorPlan,
} from "./predictor_plan.ts";

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
    this.#work = new LayerWork(
      module,
      plan,
      this.#source(),
      (...step) => this.emit(step),
    );
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
          offset < tensor.offset + tensor.bytes.length
        )!;
        const first = offset - start;
        return Promise.resolve(bytes.slice(first, first + length));
      },
      close: () => Promise.resolve(),
    };
  }
}
