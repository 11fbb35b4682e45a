/** Scoring chunks by the workers of a queue. */
import { CulmError, UnsupportedError } from "../../../mod.ts";
import { describeModel, readGguf, tokenizerIfAny } from "../../../gguf.ts";
import type { TextScore } from "../../../lab.ts";
import { isObject } from "../../../src/formats/json.ts";
import { openModel } from "../../model_file.ts";
import type { LoadFlags } from "../../options.ts";
import { batchIdOf } from "../../queue/batch_id.ts";
import { Queue, type QueueFlags, submitterName } from "../../queue/queue.ts";
import { readResults } from "../../queue/results.ts";
import { readScores, scoringUrl } from "../../queue/scoring.ts";
import { submitBatch } from "../../queue/submit.ts";
import { workKeyOf } from "../../queue/work_key.ts";
import { note, ProgressBar } from "../../terminal.ts";

/** Chunks that a worker takes at once. */
const rangeChunks = 4;
/** After which they are given to another without a sign of life, in ms. */
const ackWait = 30_000;

/** What of a model its header says. */
export async function readHeader(flags: LoadFlags, signal: AbortSignal) {
  const source = await openModel(flags, signal);
  try {
    const file = await readGguf(source);
    const tokenizer = tokenizerIfAny(file);
    if (!tokenizer) throw new UnsupportedError("The model has no tokenizer");
    return { file, model: describeModel(file, flags), tokenizer };
  } finally {
    await source.close();
  }
}

/**
 * The scores of chunks, in their order, by workers with the same model and
 * settings. Work that was stopped goes on; what is done is forgotten in the end.
 *
 * @throws {CulmError} where a chunk cannot be scored
 */
export async function scoreByQueue(
  flags: LoadFlags & QueueFlags,
  chunks: readonly Int32Array[],
  signal: AbortSignal,
): Promise<TextScore[][]> {
  const key = await workKeyOf(flags, signal);
  const lines = chunks.map((chunk, i) => ({
    customId: `chunk ${i}`,
    url: scoringUrl,
    body: { tokens: [...chunk] },
  }));
  const batch = await batchIdOf(key, scoringUrl, lines);
  await using queue = await Queue.open(flags, submitterName);
  await queue.setUp(key, ackWait);
  const options = { lines: rangeChunks, signal };
  await submitBatch(queue, { batch, key, created: 0, lines }, options);
  note(
    `perplexity: ${chunks.length} chunks as ${batch}, for culm worker -c ${flags.contextSize} of model ${key}`,
  );
  using bar = new ProgressBar("scoring", "chunks");
  const results = await readResults(
    queue,
    batch,
    (await queue.manifest(batch))!,
    {
      signal,
      onProgress: (done) => bar.update(done, chunks.length),
    },
  );
  if (results.length < chunks.length) {
    throw new CulmError(`Cannot score: ${batch} was cancelled`);
  }
  await queue.delete(batch, key);
  return results.map(({ response: { body } }, i) => {
    const fields = isObject(body) ? body : {};
    const scores = readScores(fields.scores);
    if (scores?.length === 1) return scores;
    const error = isObject(fields.error) ? fields.error : {};
    throw new CulmError(
      `Cannot score chunk ${i + 1}: ${error.message ?? "there is no score"}`,
    );
  });
}
