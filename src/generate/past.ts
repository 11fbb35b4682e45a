/**
 * The past of a session as a file: its ids, and their keys and values.
 *
 * The file is sections, and behind each its digest: SHA-256 of the digest before,
 * if there is one, and the section.
 *
 * 1. `culmpast`, the version and the number of bytes of a description (u32 each);
 *    the description, as JSON; the ids (i32).
 * 2. For each page of 32 tokens, its keys and values:
 *    `[layer][position][KV head][key, value]`, rows as `places/kv_rows.ts` has
 *    them. The last page has as many positions as there are tokens left.
 *
 * All numbers are little-endian. Nothing depends on which place holds which heads.
 */
import { toHex } from "../platform/hex.ts";
import * as v from "valibot";
import { type ByteSource, viewOf } from "../bytes/byte_source.ts";
import type { Engine } from "../engine/engine.ts";
import type { Sequence } from "../engine/sequence.ts";
import { FormatError, LimitError, UsageError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import type { Model } from "../model/model.ts";
import { pagePositions } from "../places/batch.ts";
import { cacheTypes } from "../places/cache_type.ts";
import { kvLayerBytes } from "../places/kv_rows.ts";

const magic = "culmpast", version = 1;

/** Bytes before the description. */
const prologueBytes = 16;
const digestBytes = 32;
/** The longest description. */
const mostDescribed = 1 << 16;

const size = (most: number) =>
  v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(most));

const description = v.object({
  /** The model's fingerprint */
  model: v.string(),
  /** What people call the model */
  name: v.string(),
  /** What neurons were computed */
  sparsity: v.string(),
  cacheType: v.picklist(cacheTypes),
  layers: size(1 << 16),
  kvHeadCount: size(1 << 16),
  headSize: size(1 << 16),
  tokens: size(1 << 24),
});

type Description = v.InferOutput<typeof description>;

/** What a past belongs to. */
export interface PastOwner {
  readonly engine: Engine;
  readonly model: Model;
  /** The model's fingerprint */
  readonly fingerprint: string;
}

/** Whether a file that begins so is a past. */
export function isPast(start: Uint8Array): boolean {
  return new TextDecoder().decode(start.subarray(0, magic.length)) === magic;
}

/** A sequence as a file, section after section. */
export async function* writePast(
  owner: PastOwner,
  sequence: Sequence,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  const { length } = sequence;
  const ids = Int32Array.from({ length }, (_, i) => sequence.tokenAt(i));
  const head = headOf({ ...describe(owner), tokens: length }, ids);
  let digest = await digestOf(new Uint8Array(), head);
  yield head;
  yield digest;
  for await (const page of owner.engine.readPages(sequence)) {
    digest = await digestOf(digest, page);
    yield page;
    yield digest;
  }
}

/**
 * The sequence that a file holds.
 *
 * @throws {FormatError} where it is no past, or damaged
 * @throws {UsageError} where it is another model's, or of other settings
 * @throws {LimitError} where it does not fit the context, or memory
 */
export async function readPast(
  owner: PastOwner,
  source: ByteSource,
  signal?: AbortSignal,
): Promise<Sequence> {
  const { described, head, ids } = await readHead(source);
  const section = async (
    offset: number,
    length: number,
    before: Uint8Array,
  ) => {
    signal?.throwIfAborted();
    const bytes = await source.read(offset, length + digestBytes);
    const read = bytes.subarray(0, length), digest = bytes.subarray(length);
    const expected = await digestOf(before, read);
    if (!expected.every((byte, i) => byte === digest[i])) {
      throw fault(
        source,
        `bytes ${offset}..${offset + length} have digest ${
          toHex(expected).slice(0, 12)
        }, it says ${toHex(digest).slice(0, 12)}`,
      );
    }
    return { read, digest };
  };
  let { digest } = await section(0, head, new Uint8Array());
  check(owner, described, source);
  const { vocabSize } = owner.model;
  const stranger = ids.find((id) => id < 0 || id >= vocabSize);
  if (stranger !== undefined) {
    throw fault(source, `it has token ${stranger} of ${vocabSize}`);
  }
  const tokens = Array.from(ids);
  const positionBytes = described.layers * kvLayerBytes(described);
  const pageBytes = pagePositions * positionBytes + digestBytes;
  return await owner.engine.restorePages(tokens, async (page) => {
    const offset = head + digestBytes + page * pageBytes;
    const rest = tokens.length - page * pagePositions;
    const length = Math.min(pagePositions, rest) * positionBytes;
    const next = await section(offset, length, digest);
    digest = next.digest;
    return next.read;
  });
}

/** The first section, without its digest. */
function headOf(
  described: Description,
  ids: Int32Array<ArrayBuffer>,
): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(JSON.stringify(described));
  const idsAt = prologueBytes + json.length;
  const head = new Uint8Array(idsAt + 4 * ids.length);
  const view = viewOf(head);
  head.set(new TextEncoder().encode(magic));
  view.setUint32(8, version, true);
  view.setUint32(12, json.length, true);
  head.set(json, prologueBytes);
  ids.forEach((id, i) => view.setInt32(idsAt + 4 * i, id, true));
  return head;
}

/** What the first section says and how long it is, once the file's size fits that. */
async function readHead(source: ByteSource): Promise<
  { described: Description; head: number; ids: Int32Array }
> {
  if (source.size < prologueBytes) throw notPast(source);
  const prologue = await source.read(0, prologueBytes);
  if (!isPast(prologue)) throw notPast(source);
  const found = viewOf(prologue).getUint32(8, true);
  if (found !== version) {
    throw fault(source, `its version is ${found}, known is ${version}`);
  }
  const length = viewOf(prologue).getUint32(12, true);
  const most = Math.min(mostDescribed, source.size - prologueBytes);
  if (length > most) {
    throw fault(source, `its description has ${length} bytes, at most ${most}`);
  }
  const described = parse(await source.read(prologueBytes, length), source);
  const { tokens, layers } = described;
  const head = prologueBytes + length + 4 * tokens;
  const pages = Math.ceil(tokens / pagePositions);
  const size = head + digestBytes * (1 + pages) +
    tokens * layers * kvLayerBytes(described);
  if (size !== source.size) {
    throw fault(
      source,
      `${tokens} tokens take ${size} bytes, it has ${source.size}`,
    );
  }
  const view = viewOf(await source.read(head - 4 * tokens, 4 * tokens));
  const ids = Int32Array.from(
    { length: tokens },
    (_, i) => view.getInt32(4 * i, true),
  );
  return { described, head, ids };
}

function parse(json: Uint8Array, source: ByteSource): Description {
  try {
    return v.parse(description, JSON.parse(new TextDecoder().decode(json)));
  } catch (cause) {
    throw fault(source, `its description is damaged`, cause);
  }
}

/** @throws where a past, which is whole, is not one of the owner's */
function check(
  owner: PastOwner,
  past: Description,
  { name }: ByteSource,
): void {
  const own = describe(owner);
  const { contextSize } = owner.engine;
  const differ = (what: string, theirs: unknown, ours: unknown) => {
    throw new UsageError(
      `Cannot restore ${name}: it is of ${what} ${
        printable(String(theirs))
      }, the model that is loaded of ${ours}`,
    );
  };
  if (past.model !== own.model) {
    const short = ({ name, model }: Omit<Description, "tokens">) =>
      `${printable(name)} (${printable(model.slice(0, 12))})`;
    throw new UsageError(
      `Cannot restore ${name}: it is a past of ${short(past)}, the model is ${
        short(own)
      }`,
    );
  }
  if (past.cacheType !== own.cacheType) {
    differ("cache type", past.cacheType, own.cacheType);
  }
  if (past.sparsity !== own.sparsity) {
    differ("sparsity", past.sparsity, own.sparsity);
  }
  for (const key of ["layers", "kvHeadCount", "headSize"] as const) {
    if (past[key] !== own[key]) differ(key, past[key], own[key]);
  }
  if (past.tokens > contextSize) {
    throw new LimitError(
      `Cannot restore ${name}: it has ${past.tokens} tokens, the context ${contextSize}`,
    );
  }
}

/** What a past of the owner's is described as. */
function describe(
  { engine, model, fingerprint }: PastOwner,
): Omit<Description, "tokens"> {
  const { kvHeadCount, headSize, layers } = model;
  const { mode, ...value } = engine.sparsity;
  return {
    model: fingerprint,
    name: model.name ?? model.architecture,
    // Dense is exact too.
    sparsity: [mode === "dense" ? "exact" : mode, ...Object.values(value)]
      .join("="),
    cacheType: engine.cacheType,
    layers: layers.length,
    kvHeadCount,
    headSize,
  };
}

async function digestOf(
  before: Uint8Array,
  section: Uint8Array,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(before.length + section.length);
  bytes.set(before);
  bytes.set(section, before.length);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

function notPast({ name }: ByteSource): FormatError {
  return new FormatError(
    `Cannot restore ${name}: it is not a past that culm saved`,
  );
}

function fault(
  { name }: ByteSource,
  why: string,
  cause?: unknown,
): FormatError {
  return new FormatError(`Cannot restore ${name}: ${why}`, { cause });
}
