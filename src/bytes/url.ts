import { FormatError, LimitError, UsageError } from "../errors.ts";
import { bufferFor, type ByteSource, checkRange } from "./byte_source.ts";
import { checkOptions } from "../options.ts";
import {
  type Exchange,
  refusal,
  RemoteFile,
  type UrlOptions,
  urlOptions,
} from "./exchange.ts";
import { fromBuffer } from "./memory.ts";

export { type UrlOptions, urlOptions } from "./exchange.ts";

/**
 * A file on a web server, read by HTTP ranges. Where the server ignores
 * ranges, the whole file is downloaded at once and kept in memory. Where the URL
 * leads to another address, that is read from until it is refused.
 *
 * @throws {UsageError} for wrong options, and where the server refuses (401, 403, 404, …).
 * @throws {FormatError} where its answer contradicts itself, or is empty.
 * @throws {CulmError} where it cannot be reached, or sends nothing for a while.
 */
export async function fromUrl(
  url: string | URL,
  options: UrlOptions = {},
): Promise<ByteSource> {
  return await fromServer(url, options, refusal);
}

/** As {@linkcode fromUrl}; `refused` says what a server's refusals mean. */
export async function fromServer(
  url: string | URL,
  options: UrlOptions,
  refused: typeof refusal,
): Promise<ByteSource> {
  const checked = checkOptions("fromUrl", urlOptions, options);
  const name = String(url);
  const closed = new AbortController();
  const stops = [closed.signal, ...checked.signal ? [checked.signal] : []];
  const signal = AbortSignal.any(stops);
  const file = new RemoteFile(name, { ...checked, signal }, refused);
  const first = await file.ask(0, 1);
  const { response, total: size } = first;
  if (response.status === 416 && size === 0) {
    await first.cancel();
    throw new FormatError(`Cannot read ${name}: the file is empty`);
  }
  if (response.status === 200) return await download(first);
  await first.expectRange(0, 1);
  await first.cancel();
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
      const part = await file.ask(offset, length);
      await part.expectRange(offset, length);
      await expectUnchanged(part, size, response.headers);
      return await readBody(part, length, spare);
    },
    close() {
      closed.abort(new UsageError(`Cannot read ${name}: it is closed`));
      return Promise.resolve();
    },
  };
}

/** Headers of which a change tells that a file was replaced, with the name for people. */
const versions = [["etag", "ETag"], ["last-modified", "Last-Modified"]];

/** A file that is replaced while it loads would give a mixture of two models. */
async function expectUnchanged(
  exchange: Exchange,
  size: number,
  before: Headers,
): Promise<void> {
  const { url, response, total: sizeNow } = exchange;
  if (sizeNow !== undefined && sizeNow !== size) {
    await exchange.cancel();
    throw new FormatError(
      `Cannot read ${url}: the file had ${size} bytes at first and now has ${sizeNow}`,
    );
  }
  for (const [header, name] of versions) {
    const then = before.get(header), now = response.headers.get(header);
    if (then === now) continue;
    await exchange.cancel();
    throw new FormatError(
      `Cannot read ${url}: the file was replaced while it was read (${name} ${
        then ?? "none"
      }, now ${now ?? "none"})`,
    );
  }
}

/** Reads the whole answer to a request whose range was ignored. */
async function download(exchange: Exchange): Promise<ByteSource> {
  const { url, response } = exchange;
  const encoding = response.headers.get("content-encoding");
  if (encoding !== null && encoding !== "identity") {
    // Whether the body arrives decoded differs between runtimes.
    await exchange.cancel();
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
  for await (const chunk of exchange.chunks()) {
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
  for await (const chunk of exchange.chunks()) {
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
