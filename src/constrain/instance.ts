/** Instances of the WebAssembly that knows which tokens may come next: how they are made, and called. */
import { UnsupportedError } from "../errors.ts";
import { TimeSlice } from "../platform/time_slice.ts";
import type { ConstrainExports } from "../../wasm-constrain/constrain.d.ts";

/** The bytes of each token, as an instance takes them. */
export interface TokenBytes {
  /** Of each token; 0 = it is no text */
  readonly lengths: Uint32Array;
  /** Those of one token behind those of another */
  readonly bytes: Uint8Array;
  /** A token that ends a text */
  readonly end: number;
}

/** Bytes that are copied at once. */
const chunkBytes = 2 ** 22;

/** An instance that knows nothing yet. */
export function instantiate(module: WebAssembly.Module): ConstrainExports {
  const env = { now: () => performance.now() };
  const { exports } = new WebAssembly.Instance(module, { env });
  return exports as unknown as ConstrainExports;
}

/**
 * An instance that knows a vocabulary; that takes up to seconds.
 *
 * @throws {UnsupportedError} where it cannot be known
 */
export function learn(
  module: WebAssembly.Module,
  { lengths, bytes, end }: TokenBytes,
): ConstrainExports {
  const instance = instantiate(module);
  const outcome = withBytes(
    instance,
    bytesOf(lengths),
    (lengthsAt) =>
      withBytes(
        instance,
        bytes,
        (bytesAt) => instance.learn(lengthsAt, lengths.length, bytesAt, end),
      ),
  );
  if (outcome !== 0) throw new UnsupportedError(messageOf(instance));
  return instance;
}

/** An instance that knows what another did, whose memory is given. */
export async function copyOf(
  module: WebAssembly.Module,
  memory: Uint8Array,
): Promise<ConstrainExports> {
  const instance = instantiate(module);
  const missing = memory.length - instance.memory.buffer.byteLength;
  if (missing > 0) instance.memory.grow(missing / 65_536);
  const copied = new Uint8Array(instance.memory.buffer);
  const slice = new TimeSlice();
  for (let at = 0; at < memory.length; at += chunkBytes) {
    copied.set(memory.subarray(at, at + chunkBytes), at);
    if (slice.isOver) await slice.yield();
  }
  return instance;
}

/** Bytes of words, over the same memory. */
export function bytesOf(words: Uint32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

/** Calls with bytes that lie in the instance's memory meanwhile. */
export function withBytes<T>(
  instance: ConstrainExports,
  bytes: Uint8Array,
  act: (pointer: number) => T,
): T {
  const pointer = instance.allocate(bytes.length);
  new Uint8Array(instance.memory.buffer, pointer, bytes.length).set(bytes);
  const result = act(pointer);
  instance.release(pointer, bytes.length);
  return result;
}

/** Why a call failed, in one line: without the text that was compiled, which the caller has not written. */
export function messageOf(instance: ConstrainExports): string {
  const { memory: { buffer } } = instance;
  const at = instance.message(), length = instance.message_length();
  const text = new TextDecoder().decode(new Uint8Array(buffer, at, length));
  return text.replaceAll(/^ *(\d+ \|.*| *\^+)$|<non-verbose\/>/gm, "")
    .replace(/^(at )?\d+\(\d+\): /, "")
    .replace(/^failed to compile JSON schema: /, "")
    .replace(
      /^\s*NoExtension(Bias)?\s*$/,
      "nothing may come next: what it is to be leads back to itself, or no text is that",
    )
    .replace(
      /^oneOf constraints .*/,
      "oneOf is supported where no two of its schemas can hold at once",
    )
    .replace(/regex parse error:[^]*error: /, "the regex cannot be read: ")
    .replaceAll(/\s+/g, " ").trim();
}
