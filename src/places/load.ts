/**
 * Progress of loading.
 *
 * @module
 */

/** How far loading has come, in bytes. */
export interface Progress {
  readonly stage: "header" | "weights";
  readonly loaded: number;
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

  /** Counts `bytes` more; throws the signal's reason if it was aborted. */
  add(bytes: number): void {
    this.signal?.throwIfAborted();
    this.#loaded += bytes;
    const { total } = this;
    this.report({ stage: "weights", loaded: this.#loaded, total });
  }
}
