/** The workers that start while a test runs, so that it can have one die. */
export class RecordedWorkers implements Disposable {
  /** First to last. */
  readonly started: Worker[] = [];
  readonly #real = globalThis.Worker;

  /** Records from here on, until it is disposed of. */
  constructor() {
    const { started } = this;
    globalThis.Worker = class extends this.#real {
      constructor(url: string | URL, options?: WorkerOptions) {
        super(url, options);
        started.push(this);
      }
    };
  }

  /** Records no more. */
  [Symbol.dispose](): void {
    globalThis.Worker = this.#real;
  }
}
