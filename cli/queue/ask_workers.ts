/** Asking the workers of a queue many things at once, and waiting for all answers. */
import { CulmError, UnsupportedError } from "../../mod.ts";
import { describeModel, readGguf, tokenizerIfAny } from "../../gguf.ts";
import { isObject, type JsonObject } from "../../src/formats/json.ts";
import { openModel } from "../model_file.ts";
import type { LoadFlags } from "../options.ts";
import { note, ProgressBar } from "../terminal.ts";
import { batchIdOf } from "./batch_id.ts";
import { Queue, type QueueFlags, submitterName } from "./queue.ts";
import { readResults } from "./results.ts";
import { submitBatch } from "./submit.ts";
import { workKeyOf } from "./work_key.ts";

/** What is asked of workers: the path and body of a line. */
export interface Question {
  readonly url: string;
  readonly body: JsonObject;
}

/** How they are asked. */
export interface AskOptions {
  /** What is asked for, and what it is for, in words */
  readonly unit: "chunks" | "questions";
  readonly label: string;
  /** Most questions that a worker takes at once */
  readonly range: number;
  readonly signal: AbortSignal;
}

/** After which questions are given to another worker without a sign of life, in ms. */
const ackWait = 30_000;

/** What of a model its header says. */
export async function readHeader(
  flags: Pick<LoadFlags, "model" | "activation">,
  signal: AbortSignal,
) {
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
 * What workers of the same model and settings answer to questions, in their
 * order. Work that was stopped goes on when it is asked for again; what is done
 * is forgotten in the end.
 *
 * @throws {CulmError} where one is not answered
 */
export async function askWorkers(
  flags: LoadFlags & QueueFlags,
  questions: readonly Question[],
  { unit, label, range, signal }: AskOptions,
): Promise<unknown[]> {
  const key = await workKeyOf(flags, signal);
  const lines = questions.map((question, i) => ({
    customId: `${i}`,
    ...question,
  }));
  await using queue = await Queue.open(flags, submitterName);
  await queue.setUp(key, ackWait);
  const { contextSize } = flags;
  const ask = async (batch: string) => {
    const submission = { batch, key, created: 0, lines };
    await submitBatch(queue, submission, { lines: range, signal });
    note(
      `${label}: ${lines.length} ${unit} as ${batch}, for culm worker${
        contextSize ? ` -c ${contextSize}` : ""
      } of model ${key}`,
    );
    using bar = new ProgressBar(label, unit);
    const manifest = await queue.manifest(batch);
    const results = manifest && await readResults(queue, batch, manifest, {
      signal,
      onProgress: (done) => bar.update(done, lines.length),
    });
    if (results?.length === lines.length) {
      await queue.delete(batch, key);
      return results;
    }
    if (await queue.manifest(batch)) {
      throw new CulmError(`Cannot go on: ${batch} was cancelled`);
    }
    note(`${batch} was removed: asking anew`);
  };
  let results = await ask(await batchIdOf(key, lines));
  // Who asked the same has all answers, and has removed them: under another name nobody does.
  while (!results) {
    results = await ask(await batchIdOf(key, lines, crypto.randomUUID()));
  }
  return results.map(({ response: { status_code, body } }) => {
    const { result, error } = isObject(body) ? body : {} as JsonObject;
    if (status_code === 200) return result;
    const why = isObject(error) ? error.message : status_code;
    throw new CulmError(`Cannot go on: a worker answered: ${why}`);
  });
}
