import { startWorkers } from "../../platform/rpc_worker.ts";
import type { ByteSource } from "../../bytes/byte_source.ts";
import { PlaceError } from "../../errors.ts";
import type { LayerTensors } from "../../model/model.ts";
import { fileSpan } from "../../model/shard.ts";
import { loadKernels } from "../../kernels/kernels.ts";
import { TimeSlice } from "../../platform/time_slice.ts";
import {
  type HeldTensor,
  type LayerService,
  LayerWork,
} from "./layer_service.ts";
import type {
  MadeLayer,
  OnTrainingStep,
  PredictorPlan,
} from "./predictor_plan.ts";
import type { States } from "./ffn_inputs.ts";

/** Bytes that the layers which are made at once may take, about. */
const mostBytes = 8 * 2 ** 30;

/** Makes a layer; one at a time. */
export type MakeLayer = (layer: number) => Promise<MadeLayer>;

/**
 * At most `threads` workers, as far as memory permits; with less than two, or
 * where they cannot be had, the caller's thread. `signal` stops them.
 *
 * @throws {LimitError} where a layer does not fit one WASM memory
 */
export async function startMakers(
  threads: number,
  plan: PredictorPlan,
  source: ByteSource,
  states: States,
  signal: AbortSignal,
  onStep?: OnTrainingStep,
): Promise<readonly MakeLayer[]> {
  const { module } = await loadKernels();
  const count = Math.min(threads, Math.floor(mostBytes / bytesOf(plan)));
  const workers = count < 2
    ? []
    : await startWorkers<LayerService, Parameters<OnTrainingStep>>(
      count,
      {
        role: "predictor",
        name: "culm predictor",
        foreign: (message) =>
          new PlaceError(`Cannot make a predictor: ${message}`),
        onEvent: (step) => onStep?.(...step),
      },
      (worker) => worker.call("start", [module, plan]),
    );
  if (workers.length === 0) {
    const work = new LayerWork(module, plan, source, onStep);
    const slice = new TimeSlice();
    const pause = async () => {
      if (slice.isOver) await slice.yield();
      signal.throwIfAborted();
    };
    return [(layer) => work.make(layer, states.layers[layer], pause)];
  }
  const stop = () =>
    workers.forEach((worker) => worker.terminate(signal.reason));
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  return workers.map((worker) => async (layer) => {
    const tensors = await tensorsOf(plan.model.layers[layer], source);
    const values = states.layers[layer].slice();
    return await worker.call(
      "make",
      [layer, values, tensors],
      [values.buffer, ...tensors.map(({ bytes }) => bytes.buffer)],
    );
  });
}

/** The tensors of a layer that its predictor is made of. */
function tensorsOf(
  { ffn_norm, ffn_gate, ffn_up }: LayerTensors,
  source: ByteSource,
): Promise<HeldTensor[]> {
  return Promise.all(
    [ffn_norm!, ffn_gate!, ffn_up].map(async (tensor) => {
      const { offset, length } = fileSpan(tensor);
      return { offset, bytes: await source.read(offset, length) };
    }),
  );
}

/** What making a layer takes, nearly: its inputs, which neurons fire for each, and two of its matrices as f32. */
function bytesOf(
  { model: { hiddenSize, feedForwardSize }, tokens, training }: PredictorPlan,
): number {
  const inputs = Math.max(tokens, training?.examples ?? 0);
  const labels = training ? feedForwardSize : 0;
  return inputs * (4 * hiddenSize + labels) + 8 * hiddenSize * feedForwardSize;
}
