/** Requests for ranges of a file on a web server, given up where nothing comes for a while. */
import * as v from "valibot";
import { CulmError, FormatError, UsageError } from "../errors.ts";
import {
  abortSignal,
  type OptionsOf,
  type OptionTable,
  type SchemaOf,
} from "../options.ts";
import { untilAborted } from "../platform/abort.ts";

/** How a web server is asked. */
export const urlOptions = {
  /** Stops every request, those of the source's reads included. */
  signal: { schema: abortSignal, description: "stops every request" },
  /** For how long nothing may come before a request is given up, in ms. */
  timeout: {
    exclusiveMinimum: 0,
    maximum: 2 ** 31 - 1, // of a timer
    default: 60_000,
    description: "for how long nothing may come, in ms",
  },
  /** Sent with every request to the URL's own origin, and to no other. */
  headers: {
    schema: v.record(
      v.string(),
      v.string(),
      "an object of strings",
    ) as SchemaOf<Readonly<Record<string, string>>>,
    description: "sent to the URL's own origin",
  },
} as const satisfies OptionTable;

/** How a web server is asked. Everything may be left out. */
export type UrlOptions = OptionsOf<typeof urlOptions>;

/** What may have passed when it is tried again: a server that is busy, a connection that broke. */
export class PassingError extends CulmError {
  /** `after`: how long the server asks to wait, in ms. */
  constructor(
    message: string,
    readonly after?: number,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What is said of an answer that is none: of any status but 200, 206 and 416. */
export function refusal(url: string, response: Response): CulmError {
  const { status, statusText, headers } = response;
  const message =
    `Cannot read ${url}: the server answered ${status} ${statusText}`
      .trimEnd();
  const isPassing = status >= 500 || status === 408 || status === 429;
  if (isPassing) return new PassingError(message, waitOf(headers));
  return status >= 400 ? new UsageError(message) : new CulmError(message);
}

/** How long a server asks to wait, in ms: it says seconds, or a date. */
function waitOf(headers: Headers): number | undefined {
  const text = headers.get("retry-after");
  if (text === null) return undefined;
  const ms = /^\d+$/.test(text)
    ? 1000 * Number(text)
    : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

/** What tells a file from others that were, or will be, at the same address; none where the server does not say. */
export function versionOf({ headers }: Response): string | undefined {
  return headers.get("etag") ?? headers.get("last-modified") ?? undefined;
}

/** A file on a web server. */
export class RemoteFile {
  /**
   * Where the URL led: asked in its place, for hubs count requests, until that
   * is refused, for such addresses expire.
   */
  #address: string | undefined;

  /** `refused` says what an answer that is none means. */
  constructor(
    readonly url: string,
    readonly options: UrlOptions = {},
    readonly refused: typeof refusal = refusal,
  ) {}

  /**
   * Asks for `length` bytes from `offset`.
   *
   * @throws {UsageError} where the server refuses
   * @throws {CulmError} where it cannot be reached
   */
  async ask(offset: number, length: number): Promise<Exchange> {
    const { url, refused } = this;
    const headers = { range: `bytes=${offset}-${offset + length - 1}` };
    const address = this.#address;
    if (address !== undefined) {
      this.#address = undefined;
      const exchange = await this.#send(address, headers);
      if (exchange.isAnswer) {
        this.#address = address;
        return exchange;
      }
      await exchange.cancel();
    }
    const exchange = await this.#send(url, headers);
    const { response } = exchange;
    if (!exchange.isAnswer) {
      await exchange.cancel();
      throw refused(url, response);
    }
    if (response.redirected) this.#address = response.url;
    return exchange;
  }

  #send(address: string, headers: Record<string, string>): Promise<Exchange> {
    const { url, options } = this;
    const isOwn = new URL(address).origin === new URL(url).origin;
    return Exchange.start(
      url,
      address,
      { ...isOwn ? options.headers : {}, ...headers },
      options,
    );
  }
}

/** A request and its answer. */
export class Exchange {
  response!: Response;

  private constructor(
    readonly url: string,
    readonly timeout: number,
    readonly stalled: AbortController,
    readonly signal: AbortSignal,
  ) {}

  /** Sends a request to `address`, which messages call `url`. */
  static async start(
    url: string,
    address: string,
    headers: Record<string, string>,
    { signal, timeout = 60_000 }: UrlOptions,
  ): Promise<Exchange> {
    const stalled = new AbortController();
    const stop = AbortSignal.any([stalled.signal, ...signal ? [signal] : []]);
    const exchange = new Exchange(url, timeout, stalled, stop);
    exchange.response = await exchange.wait(
      fetch(address, { headers, signal: stop }),
      (reason) => `Cannot reach ${url}: ${reason}`,
    );
    return exchange;
  }

  /** Whether it is an answer to a request for a range. */
  get isAnswer(): boolean {
    return [200, 206, 416].includes(this.response.status);
  }

  /** The file's size as `Content-Range: bytes 0-0/1234` gives it. */
  get total(): number | undefined {
    const range = this.response.headers.get("content-range");
    const total = range?.match(/\/(\d+)$/)?.[1];
    const size = Number(total);
    return total !== undefined && Number.isSafeInteger(size) ? size : undefined;
  }

  /** Lets go of the answer. */
  async cancel(): Promise<void> {
    await this.response.body?.cancel();
  }

  /** Waits for what the server sends next. */
  async wait<T>(
    work: Promise<T>,
    failure: (reason: string) => string,
  ): Promise<T> {
    const { url, timeout, stalled, signal } = this;
    const timer = setTimeout(() => {
      stalled.abort(
        new PassingError(
          `Cannot read ${url}: nothing has come for ${timeout / 1000} s`,
        ),
      );
    }, timeout);
    try {
      return await untilAborted(work, signal);
    } catch (error) {
      signal.throwIfAborted();
      const { message, name } = error as Error;
      const options = { cause: error };
      throw name === "NotCapable" // The sandbox's word, which stays.
        ? new UsageError(failure(message), options)
        : new PassingError(failure(message), undefined, options);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Checks that the answer is for exactly the bytes that were asked for.
   *
   * @throws {FormatError} where it is not
   */
  async expectRange(offset: number, length: number): Promise<void> {
    const { url, response } = this;
    const range = response.headers.get("content-range");
    const expected = `bytes ${offset}-${offset + length - 1}/`;
    const declared = response.headers.get("content-length");
    if (response.status !== 206 || !range?.startsWith(expected)) {
      await this.cancel();
      throw new FormatError(
        `Cannot read ${url}: asked for ${expected}…, the server answered ${response.status} with Content-Range ${range}`,
      );
    }
    if (declared !== null && Number(declared) !== length) {
      await this.cancel();
      throw new FormatError(
        `Cannot read ${url}: asked for ${length} bytes, the server announces ${declared}`,
      );
    }
  }

  /** The body's chunks; leaving the loop early cancels the download. */
  async *chunks(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const { body } = this.response;
    if (body === null) return;
    const reader = body.getReader();
    try {
      while (true) {
        const { done, value } = await this.wait(
          reader.read(),
          (reason) =>
            `Cannot read ${this.url}: the connection broke (${reason})`,
        );
        if (done) return;
        yield value;
      }
    } finally {
      await reader.cancel().catch(() => {});
    }
  }
}
