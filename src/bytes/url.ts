import { CulmError, FormatError, LimitError, UsageError } from "../errors.ts";
import { bufferFor, type ByteSource, checkRange } from "./byte_source.ts";
import { fromBuffer } from "./memory.ts";

/**
 * A file on a web server, read by HTTP ranges. Where the server ignores
 * ranges, the whole file is downloaded at once and kept in memory.
 *
 * @throws {UsageError} where the server refuses (401, 403, 404, …).
 * @throws {FormatError} where its answer contradicts itself, or is empty.
 * @throws {CulmError} where it cannot be reached.
 */
export async function fromUrl(url: string | URL): Promise<ByteSource> {
  const name = String(url);
  const response = await request(name, 0, 1);
  if (response.status === 416 && totalOf(response) === 0) {
    await response.body?.cancel();
    throw new FormatError(`Cannot read ${name}: the file is empty`);
  }
  if (response.status === 200) return await download(name, response);
  await expectRange(name, response, 0, 1);
  const size = totalOf(response);
  const etag = response.headers.get("etag");
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
    async read(offset, length, spare) {
      checkRange(source, offset, length);
      if (length === 0) return new Uint8Array(0);
      const part = await request(name, offset, length);
      await expectRange(name, part, offset, length);
      await expectUnchanged(name, part, size, etag);
      return await readBody(name, part, length, spare);
    },
    close: () => Promise.resolve(),
  };
}

/** Asks for `length` bytes from `offset`; anything but 200, 206 or 416 throws. */
async function request(
  url: string,
  offset: number,
  length: number,
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, {
      headers: { range: `bytes=${offset}-${offset + length - 1}` },
    });
  } catch (error) {
    throw new CulmError(
      `Cannot reach ${url}: ${(error as Error).message}`,
      { cause: error },
    );
  }
  const { status, statusText } = response;
  if (status === 200 || status === 206 || status === 416) return response;
  await response.body?.cancel();
  const message =
    `Cannot read ${url}: the server answered ${status} ${statusText}`
      .trimEnd();
  throw status >= 400 && status < 500
    ? new UsageError(message)
    : new CulmError(message);
}

/** Checks that the answer is for exactly the bytes that were asked for. */
async function expectRange(
  url: string,
  response: Response,
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

/** A file that is replaced while it loads would give a mixture of two models. */
async function expectUnchanged(
  url: string,
  response: Response,
  size: number,
  etag: string | null,
): Promise<void> {
  const sizeNow = totalOf(response);
  if (sizeNow !== undefined && sizeNow !== size) {
    await response.body?.cancel();
    throw new FormatError(
      `Cannot read ${url}: the file had ${size} bytes at first and now has ${sizeNow}`,
    );
  }
  const etagNow = response.headers.get("etag");
  if (etag !== null && etagNow !== null && etagNow !== etag) {
    await response.body?.cancel();
    throw new FormatError(
      `Cannot read ${url}: the file was replaced while it was read (ETag ${etag}, now ${etagNow})`,
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
async function download(url: string, response: Response): Promise<ByteSource> {
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
    ? await readToEnd(url, response)
    : await readBody(url, response, Number(declared));
  if (bytes.length === 0) {
    throw new FormatError(`Cannot read ${url}: the file is empty`);
  }
  return fromBuffer(bytes, url);
}

/** Reads a body that must be exactly `length` bytes long. */
async function readBody(
  url: string,
  response: Response,
  length: number,
  spare?: ArrayBuffer,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = allocate(url, length, spare);
  let filled = 0;
  for await (const chunk of chunksOf(url, response)) {
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
  url: string,
  response: Response,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunksOf(url, response)) {
    chunks.push(chunk);
    size += chunk.length;
  }
  const bytes = allocate(url, size);
  let filled = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, filled);
    filled += chunk.length;
  }
  return bytes;
}

/** The body's chunks; leaving the loop early cancels the download. */
async function* chunksOf(
  url: string,
  response: Response,
): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  const reader = response.body.getReader();
  try {
    while (true) {
      const { done, value } = await reader.read().catch((error) => {
        throw new CulmError(
          `Cannot read ${url}: the connection broke (${error.message})`,
          { cause: error },
        );
      });
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
