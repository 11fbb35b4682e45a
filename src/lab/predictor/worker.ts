/**
 * Makes layers of a predictor, as messages ask. Bundled into
 * `worker.bundle.js`, which is started as text so that no permission is needed.
 *
 * @module
 */
import type { ByteSource } from "../../bytes/byte_source.ts";
import { LayerWork } from "./layer_work.ts";
import type { FromWorker, HeldTensor, ToWorker } from "./messages.ts";

interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker): void;
}

const scope = self as unknown as WorkerScope;
let work: LayerWork;
/** The layer's */
let tensors: readonly HeldTensor[];

/** The model's file, as far as the layer reads it. */
const source: ByteSource = {
  name: "layer",
  size: Infinity,
  read: (offset, length) => {
    const { offset: start, bytes } = tensors.find((tensor) =>
      offset >= tensor.offset && offset < tensor.offset + tensor.bytes.length
    )!;
    const first = offset - start;
    return Promise.resolve(bytes.slice(first, first + length));
  },
  close: () => Promise.resolve(),
};

scope.onmessage = async ({ data }) => {
  try {
    scope.postMessage(await answer(data));
  } catch (error) {
    const { name, message } = error as Error;
    scope.postMessage({ kind: "error", name, message });
  }
};

async function answer(message: ToWorker): Promise<FromWorker> {
  if (message.kind === "start") {
    const { module, plan } = message;
    work = new LayerWork(
      module,
      plan,
      source,
      (layer, rank, done) =>
        scope.postMessage({ kind: "step", layer, rank, done }),
    );
    return { kind: "ready" };
  }
  const { layer, states } = message;
  tensors = message.tensors;
  const made = await work.make(layer, states, () => Promise.resolve());
  return { kind: "made", made };
}
