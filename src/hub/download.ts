/** One file, from a web server into a file, from where that ends: in order, so that it always is a beginning. */
import {
  type Exchange,
  PassingError,
  type RemoteFile,
  versionOf,
} from "../bytes/exchange.ts";
import type { PartFile } from "../bytes/part_file.ts";
import { chunksOf } from "../bytes/stream.ts";
import { FormatError } from "../errors.ts";
import { type RunningHash, startHash } from "../platform/hash.ts";
import { Patience, type PatienceOptions } from "./patience.ts";
import type { HubFile } from "./repository.ts";

/** Bytes that are asked for at a time. */
const RANGE_BYTES = 1 << 20;
/** Ranges under way at once. */
const MOST_RANGES = 8;
/** Bytes that are read at a time of what is there already. */
const READ_BYTES = 4 << 20;

/** How a file is fetched. */
export interface DownloadOptions extends PatienceOptions {
  /** Told how many bytes are there. */
  readonly onProgress?: (bytes: number) => void;
  /** What tells this version of the file from others, where the server does and no hash is known. */
  readonly version?: string;
}

/**
 * Fetches what lacks of a file, and checks that it is what its hash says, where
 * that is known. What was fetched stays where that is stopped, and goes away
 * where it is wrong.
 *
 * @throws {FormatError} where the file is another than the listing says
 * @throws {CulmError} where the server cannot be reached, or the disk is full
 */
export async function download(
  remote: RemoteFile,
  { hash, size }: Pick<HubFile, "size"> & Partial<HubFile>,
  part: PartFile,
  { onProgress, ...options }: DownloadOptions,
): Promise<void> {
  if (await part.size() > size) await part.truncate(0);
  // It takes longer than a fast network.
  const sum = hash === undefined ? undefined : sumFor(size, hash);
  let at = sum ? await readInto(sum, part, options.signal) : await part.size();
  onProgress?.(at);
  for await (const chunk of bytesFrom(remote, at, size, options)) {
    await part.write(chunk, at);
    sum?.update(chunk);
    at += chunk.length;
    onProgress?.(at);
  }
  const found = sum?.hex();
  if (found !== hash) {
    await part.truncate(0);
    throw new FormatError(
      `Cannot use ${remote.url}: its bytes have the hash ${found}, and should have ${hash}; they were removed`,
    );
  }
  // Else a power cut could leave a file of the right name with other bytes.
  await part.flush();
}

/** What a file's bytes are summed up by: SHA-256, or as git knows files. */
function sumFor(size: number, hash: string): RunningHash {
  if (hash.length !== 40) return startHash("sha256");
  const sum = startHash("sha1");
  sum.update(new TextEncoder().encode(`blob ${size}\0`));
  return sum;
}

/** Reads what is there. Returns its length. */
async function readInto(
  sum: RunningHash,
  part: PartFile,
  signal?: AbortSignal,
): Promise<number> {
  const buffer = new Uint8Array(READ_BYTES);
  for (let at = 0;;) {
    signal?.throwIfAborted();
    const length = await part.read(buffer, at);
    if (length === 0) return at;
    sum.update(buffer.subarray(0, length));
    at += length;
  }
}

/** The bytes from `start` on, in order; several ranges are under way at once. */
async function* bytesFrom(
  remote: RemoteFile,
  start: number,
  size: number,
  options: DownloadOptions,
): AsyncGenerator<Uint8Array> {
  if (start === size) return;
  const stop = new AbortController();
  const signals = [stop.signal, ...options.signal ? [options.signal] : []];
  const warn = once(options.onWarning);
  const each = {
    ...options,
    onWarning: warn,
    signal: AbortSignal.any(signals),
  };
  const ranges: ReadableStream<Uint8Array>[] = [];
  let next = start;
  const begin = (end: number, first?: Exchange) => {
    ranges.push(ahead(bytesOf(remote, next, end, each, first), end - next));
    next = end;
  };
  try {
    const end = Math.min(size, start + RANGE_BYTES);
    const first = await firstOf(remote, start, end, each);
    await expectSize(first, size);
    // A server that knows no ranges sends all, once.
    begin(first.response.status === 200 ? size : end, first);
    while (ranges.length > 0) {
      while (ranges.length < MOST_RANGES && next < size) {
        begin(Math.min(size, next + RANGE_BYTES));
      }
      yield* chunksOf(ranges[0]);
      ranges.shift();
    }
  } finally {
    stop.abort();
    for (const range of ranges) await range.cancel().catch(() => {});
  }
}

/** Asks for a range, and tries again where that may help. */
async function firstOf(
  remote: RemoteFile,
  start: number,
  end: number,
  options: PatienceOptions,
): Promise<Exchange> {
  const patience = new Patience(options);
  while (true) {
    try {
      return await remote.ask(start, end - start);
    } catch (error) {
      await patience.bear(error);
    }
  }
}

/** @throws {FormatError} where the server says that the file has another size */
async function expectSize(exchange: Exchange, size: number): Promise<void> {
  const { response: { status, headers }, total, url } = exchange;
  const length = headers.get("content-length");
  const said = status === 200 && length !== null ? Number(length) : total;
  if (said === undefined || said === size) return;
  await exchange.cancel();
  throw new FormatError(
    `Cannot read ${url}: the server has ${said} bytes, the hub says ${size}`,
  );
}

/** @throws {FormatError} where the server has replaced the file */
async function expectVersion(
  exchange: Exchange,
  version: string | undefined,
): Promise<void> {
  const { url, response } = exchange;
  if (version === undefined || versionOf(response) === version) return;
  await exchange.cancel();
  throw new FormatError(
    `Cannot read ${url}: the file was replaced while it was read (${version}, now ${
      versionOf(response) ?? "none"
    })`,
  );
}

/** Reads ahead of who takes the chunks, by so many bytes. */
function ahead(
  chunks: AsyncGenerator<Uint8Array>,
  bytes: number,
): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await chunks.return(undefined);
    },
  }, new ByteLengthQueuingStrategy({ highWaterMark: bytes }));
}

/** The bytes `start..end`, from where a connection broke on; of an answer that has all, those alone. */
async function* bytesOf(
  remote: RemoteFile,
  start: number,
  end: number,
  options: DownloadOptions,
  first?: Exchange,
): AsyncGenerator<Uint8Array> {
  const patience = new Patience(options);
  let answer = first;
  for (let at = start; at < end;) {
    try {
      const exchange = answer ?? await remote.ask(at, end - at);
      answer = undefined;
      const isWhole = exchange.response.status === 200;
      if (!isWhole) await exchange.expectRange(at, end - at);
      await expectVersion(exchange, options.version);
      let position = isWhole ? 0 : at;
      for await (const chunk of exchange.chunks()) {
        const wanted = chunk.subarray(
          Math.max(0, at - position),
          Math.max(0, end - position),
        );
        position += chunk.length;
        if (wanted.length === 0) continue;
        at += wanted.length;
        patience.restore();
        yield wanted;
        if (at === end) return;
      }
      throw new PassingError(
        `Cannot read ${remote.url}: the connection broke at byte ${at} of ${end}`,
      );
    } catch (error) {
      await patience.bear(error);
    }
  }
}

/** Tells once what several say at the same time. */
function once(
  tell: ((message: string) => void) | undefined,
): ((message: string) => void) | undefined {
  let until = 0;
  return tell && ((message) => {
    if (performance.now() < until) return;
    until = performance.now() + 1000;
    tell(message);
  });
}
