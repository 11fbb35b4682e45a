/**
 * What was opened, and is closed behind the others, newest first, unless it is
 * moved elsewhere: of `AsyncDisposableStack`, which Node 22 does not have, what
 * is used.
 */
export class Opened implements AsyncDisposable {
  #closers: (() => unknown)[] = [];

  /** Closes it at the end. */
  use<Resource extends AsyncDisposable>(resource: Resource): Resource {
    this.defer(() => resource[Symbol.asyncDispose]());
    return resource;
  }

  /** Calls it at the end. */
  defer(close: () => unknown): void {
    this.#closers.push(close);
  }

  /** All of it, which is not closed with this one then. */
  move(): Opened {
    const moved = new Opened();
    moved.#closers = this.#closers;
    this.#closers = [];
    return moved;
  }

  /** Closes all, also where closing one fails; throws the first such error. */
  async [Symbol.asyncDispose](): Promise<void> {
    const close = this.#closers.pop();
    if (!close) return;
    try {
      await close();
    } finally {
      await this[Symbol.asyncDispose]();
    }
  }
}

/**
 * What was taken, and is given back, newest first: of `DisposableStack`, which
 * Node 22 does not have either.
 */
export class Taken implements Disposable {
  readonly #givers: (() => void)[] = [];

  /** Gives it back at the end. */
  use<Resource extends Disposable>(resource: Resource): Resource {
    this.defer(() => resource[Symbol.dispose]());
    return resource;
  }

  /** Calls it at the end. */
  defer(giveBack: () => void): void {
    this.#givers.push(giveBack);
  }

  /** Gives all back, also where giving one back fails; throws the first such error. */
  [Symbol.dispose](): void {
    const giveBack = this.#givers.pop();
    if (!giveBack) return;
    try {
      giveBack();
    } finally {
      this[Symbol.dispose]();
    }
  }
}
