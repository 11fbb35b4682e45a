/** A vocabulary as the WebAssembly knows it. It is learnt where it is first asked for. */
import { UnsupportedError } from "../errors.ts";
import { startWorkers } from "../platform/rpc_worker.ts";
import { TimeSlice } from "../platform/time_slice.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { ConstrainExports } from "../../wasm-constrain/constrain.d.ts";
import { copyOf, learn, type TokenBytes } from "./instance.ts";
import { VocabularyService } from "./vocabulary_service.ts";

/** A vocabulary, and an instance that knows it. */
export interface Vocabulary {
  readonly module: WebAssembly.Module;
  readonly tokens: TokenBytes;
  readonly instance: ConstrainExports;
}

/**
 * Learns the vocabulary of a tokenizer, in a worker of its own, so that the
 * caller's thread goes on; where there is none, in that.
 *
 * @throws {UnsupportedError} where it cannot be known
 */
export async function learnVocabulary(
  tokenizer: Tokenizer,
): Promise<Vocabulary> {
  const { default: text } = await import("../../wasm-constrain/constrain.js");
  const tokens = await tokenBytesOf(tokenizer);
  const options = {
    role: "vocabulary",
    name: "culm vocabulary",
    foreign: (message: string) =>
      new UnsupportedError(`Cannot constrain texts: ${message}`),
  } as const;
  let module: WebAssembly.Module | undefined;
  const [worker] = await startWorkers<VocabularyService>(
    1,
    options,
    async (worker) => module = await worker.call("compile", [text]),
  );
  if (!worker || !module) {
    module = await new VocabularyService().compile(text);
    return { module, tokens, instance: learn(module, tokens) };
  }
  try {
    const memory = await worker.call("learn", [tokens]);
    return { module, tokens, instance: await copyOf(module, memory) };
  } finally {
    worker.terminate(new UnsupportedError("The vocabulary is known"));
  }
}

/** The bytes of each token, in slices of time. */
async function tokenBytesOf(tokenizer: Tokenizer): Promise<TokenBytes> {
  const slice = new TimeSlice();
  const { vocabSize } = tokenizer;
  const lengths = new Uint32Array(vocabSize);
  const pieces: Uint8Array[] = [];
  let end: number | undefined;
  for (let id = 0; id < vocabSize; id++) {
    const isEnd = tokenizer.isEndOfGeneration(id);
    if (isEnd) end ??= id;
    if (!isEnd && !tokenizer.isSpecial(id)) {
      const piece = tokenizer.pieceBytes(id);
      lengths[id] = piece.length;
      pieces.push(piece);
    }
    if (slice.isOver) await slice.yield();
  }
  const bytes = new Uint8Array(lengths.reduce((a, b) => a + b, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return { lengths, bytes, end: end ?? 2 ** 32 - 1 };
}
