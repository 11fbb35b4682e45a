import type { Kernels } from "../../wasm/kernels.d.ts";
import { instantiate } from "../kernels/memory.ts";
import { type Requantisation, requantise } from "./requantise.ts";

/** Stores weights as other types, in a worker. Requested in this order: `start`, then any `store`. */
export class QuantiserService {
  #kernels!: Kernels;

  /** Takes the kernels. */
  start(module: WebAssembly.Module): void {
    this.#kernels = instantiate(module);
  }

  /**
   * Stores weights as another type.
   *
   * @throws {UsageError} as `quantise` does
   */
  store(weights: Requantisation): Uint8Array<ArrayBuffer> {
    return requantise(this.#kernels, weights);
  }
}
