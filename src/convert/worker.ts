/**
 * Stores weights as other types, as messages ask. Bundled into
 * `worker.bundle.js`, which is started as text so that no permission is needed.
 *
 * @module
 */
import { instantiate } from "../kernels/memory.ts";
import type { Kernels } from "../../wasm/kernels.d.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import { requantise } from "./requantise.ts";

interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
}

const scope = self as unknown as WorkerScope;
let kernels: Kernels;

scope.onmessage = ({ data }) => {
  try {
    answer(data);
  } catch (error) {
    const { name, message } = error as Error;
    scope.postMessage({ kind: "error", name, message });
  }
};

function answer(message: ToWorker): void {
  switch (message.kind) {
    case "start":
      kernels = instantiate(message.module);
      scope.postMessage({ kind: "ready" });
      break;
    case "weights": {
      const bytes = requantise(kernels, message.weights);
      scope.postMessage({ kind: "stored", bytes }, [bytes.buffer]);
    }
  }
}
