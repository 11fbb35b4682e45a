/** Scoring chunks of a text, which workers of a queue do beside answering requests. */
import type { LanguageModel } from "../../mod.ts";
import { scoreChunks, type TextScore } from "../../lab.ts";
import { isObject } from "../../src/formats/json.ts";
import { errorResponse, requestErrorOf } from "../../src/server/errors.ts";
import { RequestError } from "../../src/server/errors.ts";

/** What lines ask that have chunks: `tokens`, a list of ids. */
export const scoringUrl = "/culm/chunk-scores";

/** Scores chunks one after another: each fills steps by itself. */
export class ChunkScorer {
  #last: Promise<unknown> = Promise.resolve();

  constructor(readonly model: Pick<LanguageModel, "engine" | "tokenizer">) {}

  /** Answers with `scores`, or with what is wrong with a request. */
  async answer(request: Request): Promise<Response> {
    const scored = this.#last.then(() => this.#score(request));
    this.#last = scored.catch(() => {});
    try {
      return Response.json({ scores: await scored });
    } catch (error) {
      return errorResponse(requestErrorOf(error));
    }
  }

  async #score(request: Request): Promise<TextScore[] | undefined> {
    const { signal } = request;
    signal.throwIfAborted();
    const chunk = this.#chunkOf(await request.json());
    const { engine } = this.model;
    for await (const scores of scoreChunks(engine, [chunk], { signal })) {
      return scores;
    }
  }

  /** @throws {RequestError} 400, for what is no chunk of this model */
  #chunkOf(body: unknown): Int32Array {
    const { vocabSize } = this.model.tokenizer;
    const { contextSize } = this.model.engine;
    const tokens = isObject(body) ? body.tokens : undefined;
    const isChunk = Array.isArray(tokens) && tokens.length >= 4 &&
      tokens.every((id) => Number.isInteger(id) && id >= 0 && id < vocabSize);
    if (!isChunk) {
      throw new RequestError(
        400,
        `Cannot score tokens: they are no list of 4 or more ids below ${vocabSize}`,
      );
    }
    if (tokens.length > contextSize) {
      throw new RequestError(
        400,
        `Cannot score ${tokens.length} tokens: the context has ${contextSize}`,
      );
    }
    return Int32Array.from(tokens);
  }
}

/** A chunk's scores as they lie in a file or a message, or undefined where they are none. */
export function readScores(value: unknown): TextScore[] | undefined {
  const isScore = (score: TextScore) =>
    [score?.tokens, score?.nll, score?.squares, score?.differences].every(
      Number.isFinite,
    );
  return Array.isArray(value) && value.every(isScore) ? value : undefined;
}
