import type { ByteSource } from "../../bytes/byte_source.ts";
import { instantiate, WasmMemory } from "../../kernels/memory.ts";
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
    const samples = new LayerSamples(
      memory,
      model,
      tokens,
      training?.examples ?? 0,
    );
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
