import { PassingError } from "../bytes/exchange.ts";
import { untilAborted } from "../platform/abort.ts";

/** How failures are borne. */
export interface PatienceOptions {
  /** Gives up. */
  readonly signal?: AbortSignal;
  /** Told what is waited for. */
  readonly onWarning?: (message: string) => void;
  /** How long to wait behind the first failure, in ms; twice as long behind each that follows. Default 1,000. */
  readonly firstPause?: number;
  /** Which failure in a row is the last. Default 5. */
  readonly mostFailures?: number;
}

/** The longest that a server may ask to wait, in ms. */
const LONGEST_PAUSE = 300_000;

/** Bears failures that may pass: so many in a row, with longer and longer pauses. */
export class Patience {
  #failures = 0;

  constructor(readonly options: PatienceOptions) {}

  /** Something has come: failures are counted anew. */
  restore(): void {
    this.#failures = 0;
  }

  /** Waits where `error` may pass; throws it where it will not, or has come too often. */
  async bear(error: unknown): Promise<void> {
    const { signal, onWarning, firstPause = 1000, mostFailures = 5 } =
      this.options;
    if (!(error instanceof PassingError)) throw error;
    const pause = error.after ?? firstPause * 2 ** this.#failures;
    if (++this.#failures === mostFailures || pause > LONGEST_PAUSE) {
      throw error;
    }
    const seconds = Math.ceil(pause / 1000);
    onWarning?.(`${error.message}; trying again in ${seconds} s`);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const paused = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, pause);
    });
    try {
      await untilAborted(paused, signal);
    } finally {
      clearTimeout(timer);
    }
  }
}
