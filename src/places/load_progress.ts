/** Progress of loading. */
import { untilAborted } from "../platform/abort.ts";

/** How far loading has come, in bytes. */
export interface Progress {
  /** What is going on: a model of the hub is being fetched, or weights are being loaded. */
  readonly stage: "download" | "weights";
  /** Bytes that are in place. */
  readonly loaded: number;
  /** Bytes that will be; of weights, by all places together. */
  readonly total: number;
}

/** Counts the bytes that all places have loaded; stops them when the caller aborts. */
export class LoadProgress {
  #loaded = 0;

  constructor(
    readonly total: number,
    readonly report: (progress: Progress) => void = () => {},
    readonly signal?: AbortSignal,
  ) {}

  /** Waits for `work`, at most until the caller aborts: then throws the signal's reason. */
  async untilAborted<T>(work: Promise<T>): Promise<T> {
    return await untilAborted(work, this.signal);
  }

  /** Counts `bytes` more; throws the signal's reason if it was aborted. */
  add(bytes: number): void {
    this.signal?.throwIfAborted();
    this.#loaded += bytes;
    const { total } = this;
    this.report({ stage: "weights", loaded: this.#loaded, total });
  }
}
