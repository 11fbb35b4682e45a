import { CulmError, FormatError, LimitError, UsageError } from "../errors.ts";
import {
  abortSignal,
  type Checked,
  checkOptions,
  type OptionsOf,
  type OptionTable,
} from "../options.ts";
import { untilAborted } from "../platform/abort.ts";
import { bufferFor, type ByteSource, checkRange } from "./byte_source.ts";
import { fromBuffer } from "./memory.ts";

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
} as const satisfies OptionTable;

/** How a web server is asked. Everything may be left out. */
export type UrlOptions = OptionsOf<typeof urlOptions>;

/**
 * A file on a web server, read by HTTP ranges. Where the server ignores
 * ranges, the whole file is downloaded at once and kept in memory.
 *
 * @throws {UsageError} for wrong options, and where the server refuses (401, 403, 404, …).
 * @throws {FormatError} where its answer contradicts itself, or is empty.
 * @throws {CulmError} where it cannot be reached, or sends nothing for a while.
 */
export async function fromUrl(
  url: string | URL,
  options: UrlOptions = {},
): Promise<ByteSource> {
  const checked = checkOptions("fromUrl", urlOptions, options);
  const name = String(url);
  const closed = new AbortController();
  const ask = (offset: number, length: number) =>
    Exchange.start(name, offset, length, checked, closed.signal);
  const first = await ask(0, 1);
  const { response } = first;
  if (response.status === 416 && totalOf(response) === 0) {
    await response.body?.cancel();
    throw new FormatError(`Cannot read ${name}: the file is empty`);
  }
  if (response.status === 200) return await download(first);
  await expectRange(first, 0, 1);
  const size = totalOf(response);
  await response.body?.cancel();
  if (size === undefined) {
    throw new FormatError(
      `Cannot read ${name}: the server does not say how large the file is (Content-Range: ${
        response.headers.get("content-range")
      })`,
    );
  }
  const source = { name, size };
  return {
    ...source,
    isRemote: true,
    async read(offset, length, spare) {
      checkRange(source, offset, length);
      if (length === 0) return new Uint8Array(0);
      const part = await ask(offset, length);
      await expectRange(part, offset, length);
      await expectUnchanged(part, size, response.headers);
      return await readBody(part, length, spare);
    },
    close() {
      closed.abort(new UsageError(`Cannot read ${name}: it is closed`));
      return Promise.resolve();
    },
  };
}

/** A request and its answer, which are given up where nothing comes for a while. */
class Exchange {
  response!: Response;

  private constructor(
    readonly url: string,
    readonly timeout: number,
    readonly stalled: AbortController,
    readonly signal: AbortSignal,
  ) {}

  /** Asks for `length` bytes from `offset`; anything but 200, 206 or 416 throws. */
  static async start(
    url: string,
    offset: number,
    length: number,
    { signal, timeout }: Checked<typeof urlOptions>,
    closed: AbortSignal,
  ): Promise<Exchange> {
    const stalled = new AbortController();
    const stops = [stalled.signal, closed, ...signal ? [signal] : []];
    const stop = AbortSignal.any(stops);
    const exchange = new Exchange(url, timeout, stalled, stop);
    const response = await exchange.wait(
      fetch(url, {
        headers: { range: `bytes=${offset}-${offset + length - 1}` },
        signal: stop,
      }),
      (reason) => `Cannot reach ${url}: ${reason}`,
    );
    exchange.response = response;
    const { status, statusText } = response;
    if (status === 200 || status === 206 || status === 416) return exchange;
    await response.body?.cancel();
    const message =
      `Cannot read ${url}: the server answered ${status} ${statusText}`
        .trimEnd();
    throw status >= 400 && status < 500
      ? new UsageError(message)
      : new CulmError(message);
  }

  /** Waits for what the server sends next. */
  async wait<T>(
    work: Promise<T>,
    failure: (reason: string) => string,
  ): Promise<T> {
    const { url, timeout, stalled, signal } = this;
    const timer = setTimeout(() => {
      stalled.abort(
        new CulmError(
          `Cannot read ${url}: nothing has come for ${timeout / 1000} s`,
        ),
      );
    }, timeout);
    try {
      return await untilAborted(work, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw new CulmError(failure((error as Error).message), { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Checks that the answer is for exactly the bytes that were asked for. */
async function expectRange(
  { url, response }: Exchange,
  offset: number,
  length: number,
): Promise<void> {
  const range = response.headers.get("content-range");
  const expected = `bytes ${offset}-${offset + length - 1}/`;
  const declared = response.headers.get("content-length");
  if (response.status !== 206 || !range?.startsWith(expected)) {
    await response.body?.cancel();
    throw new FormatError(
      `Cannot read ${url}: asked for ${expected}…, the server answered ${response.status} with Content-Range ${range}`,
    );
  }
  if (declared !== null && Number(declared) !== length) {
    await response.body?.cancel();
    throw new FormatError(
      `Cannot read ${url}: asked for ${length} bytes, the server announces ${declared}`,
    );
  }
}

/** Headers of which a change tells that a file was replaced, with the name for people. */
const versions = [["etag", "ETag"], ["last-modified", "Last-Modified"]];

/** A file that is replaced while it loads would give a mixture of two models. */
async function expectUnchanged(
  { url, response }: Exchange,
  size: number,
  before: Headers,
): Promise<void> {
  const sizeNow = totalOf(response);
  if (sizeNow !== undefined && sizeNow !== size) {
    await response.body?.cancel();
    throw new FormatError(
      `Cannot read ${url}: the file had ${size} bytes at first and now has ${sizeNow}`,
    );
  }
  for (const [header, name] of versions) {
    const then = before.get(header), now = response.headers.get(header);
    if (then === now) continue;
    await response.body?.cancel();
    throw new FormatError(
      `Cannot read ${url}: the file was replaced while it was read (${name} ${
        then ?? "none"
      }, now ${now ?? "none"})`,
    );
  }
}

/** The file's size as `Content-Range: bytes 0-0/1234` gives it. */
function totalOf(response: Response): number | undefined {
  const total = response.headers.get("content-range")?.match(/\/(\d+)$/)?.[1];
  const size = Number(total);
  return total !== undefined && Number.isSafeInteger(size) ? size : undefined;
}

/** Reads the whole answer to a request whose range was ignored. */
async function download(exchange: Exchange): Promise<ByteSource> {
  const { url, response } = exchange;
  const encoding = response.headers.get("content-encoding");
  if (encoding !== null && encoding !== "identity") {
    // Whether the body arrives decoded differs between runtimes.
    await response.body?.cancel();
    throw new FormatError(
      `Cannot read ${url}: the server ignores ranges and sends it compressed (${encoding})`,
    );
  }
  const declared = response.headers.get("content-length");
  const bytes = declared === null
    ? await readToEnd(exchange)
    : await readBody(exchange, Number(declared));
  if (bytes.length === 0) {
    throw new FormatError(`Cannot read ${url}: the file is empty`);
  }
  return fromBuffer(bytes, url);
}

/** Reads a body that must be exactly `length` bytes long. */
async function readBody(
  exchange: Exchange,
  length: number,
  spare?: ArrayBuffer,
): Promise<Uint8Array<ArrayBuffer>> {
  const { url } = exchange;
  const bytes = allocate(url, length, spare);
  let filled = 0;
  for await (const chunk of chunksOf(exchange)) {
    if (filled + chunk.length > length) {
      throw new FormatError(
        `Cannot read ${url}: asked for ${length} bytes, the server sent at least ${
          filled + chunk.length
        }`,
      );
    }
    bytes.set(chunk, filled);
    filled += chunk.length;
  }
  if (filled < length) {
    throw new FormatError(
      `Cannot read ${url}: expected ${length} bytes, the server sent ${filled}`,
    );
  }
  return bytes;
}

async function readToEnd(
  exchange: Exchange,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunksOf(exchange)) {
    chunks.push(chunk);
    size += chunk.length;
  }
  const bytes = allocate(exchange.url, size);
  let filled = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, filled);
    filled += chunk.length;
  }
  return bytes;
}

/** The body's chunks; leaving the loop early cancels the download. */
async function* chunksOf(exchange: Exchange): AsyncGenerator<Uint8Array> {
  const { body } = exchange.response;
  if (body === null) return;
  const reader = body.getReader();
  try {
    while (true) {
      const { done, value } = await exchange.wait(
        reader.read(),
        (reason) =>
          `Cannot read ${exchange.url}: the connection broke (${reason})`,
      );
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function allocate(
  url: string,
  length: number,
  spare?: ArrayBuffer,
): Uint8Array<ArrayBuffer> {
  try {
    return bufferFor(length, spare);
  } catch {
    throw new LimitError(
      `Cannot hold ${url} in memory: ${length} bytes are more than one buffer takes here`,
    );
  }
}
