/** What laboratories ask of a queue's workers, beside requests of clients. */
import type { LanguageModel } from "../../mod.ts";
import {
  type Likelihood,
  likelihoods,
  scoreChunks,
  type ScoredIds,
  type TextScore,
  writeTexts,
} from "../../lab.ts";
import { isObject, type JsonObject } from "../../src/formats/json.ts";
import {
  errorResponse,
  RequestError,
  requestErrorOf,
} from "../../src/server/errors.ts";

/** The paths of such lines. */
export const labUrls = {
  /** `tokens`: a chunk, of which the second half is scored */
  scores: "/culm/scores",
  /** `texts`: ids, and from where on they are scored */
  likelihoods: "/culm/likelihoods",
  /** `prompt`: ids, and how texts behind it are written */
  texts: "/culm/texts",
} as const;

/** Requests that are answered at the same time, so that steps are full. */
const together = 8;
/** Most texts of one request. */
const mostTexts = 1000;

/** Answers such requests. */
export class LabRequests {
  readonly #lanes = Array.from(
    { length: together },
    (): Promise<unknown> => Promise.resolve(),
  );
  #next = 0;

  constructor(readonly model: Pick<LanguageModel, "engine" | "tokenizer">) {}

  /** Whether a request is one. */
  takes(request: Request): boolean {
    const { pathname } = new URL(request.url);
    return Object.values<string>(labUrls).includes(pathname);
  }

  /** Answers with `result`, or with what is wrong with a request. */
  async answer(request: Request): Promise<Response> {
    const lane = this.#next++ % together;
    const answered = this.#lanes[lane].then(() => this.#answer(request));
    this.#lanes[lane] = answered.catch(() => {});
    try {
      return Response.json({ result: await answered });
    } catch (error) {
      return errorResponse(requestErrorOf(error));
    }
  }

  async #answer(request: Request): Promise<unknown> {
    const { signal } = request;
    signal.throwIfAborted();
    const { engine } = this.model;
    const value: unknown = await request.json();
    const body = isObject(value) ? value : {};
    switch (new URL(request.url).pathname) {
      case labUrls.scores: {
        const chunk = Int32Array.from(this.#ids(body.tokens, "tokens", 4));
        for await (
          const scores of scoreChunks(engine, [chunk], { signal })
        ) return scores;
        return undefined;
      }
      case labUrls.likelihoods: {
        const texts = list(body.texts, "texts").map((text) =>
          this.#scoredIds(isObject(text) ? text : {})
        );
        return await likelihoods(engine, texts, signal);
      }
      default: {
        const prompt = this.#ids(body.prompt, "prompt", 1, Infinity);
        const how = {
          samples: whole(body.samples ?? 1, "samples", mostTexts),
          maxTokens: whole(
            body.maxTokens ?? 256,
            "maxTokens",
            Number.MAX_SAFE_INTEGER,
          ),
          until: body.until === undefined ? [] : textsOf(body.until, "until"),
        };
        return await writeTexts(this.model, how, prompt, signal);
      }
    }
  }

  #scoredIds({ ids: list, from }: JsonObject): ScoredIds {
    // The last one of them is not run.
    const most = this.model.engine.contextSize + 1;
    const ids = this.#ids(list, "ids", 2, most);
    return { ids, from: whole(from, "from", ids.length - 1) };
  }

  /** @throws {RequestError} 400, for what are no ids of this model's, or too many */
  #ids(
    value: unknown,
    name: string,
    least: number,
    most = this.model.engine.contextSize,
  ): number[] {
    const { vocabSize } = this.model.tokenizer;
    const ids = Array.isArray(value) ? value : [];
    const isIds = ids.length >= least &&
      ids.every((id) => Number.isInteger(id) && id >= 0 && id < vocabSize);
    if (!isIds) refuse(`${name}: ${least} ids or more, below ${vocabSize}`);
    if (ids.length > most) {
      refuse(`${name}: it has ${ids.length} ids, the limit is ${most}`);
    }
    return ids;
  }
}

function list(value: unknown, name: string): unknown[] {
  const isList = Array.isArray(value) && value.length > 0 &&
    value.length <= mostTexts;
  if (isList) return value;
  refuse(`${name} is no list of 1 to ${mostTexts}`);
}

function textsOf(value: unknown, name: string): string[] {
  const isTexts = Array.isArray(value) && value.length <= mostTexts &&
    value.every((text) => typeof text === "string");
  if (isTexts) return value;
  refuse(`${name} is no list of at most ${mostTexts} texts`);
}

function whole(value: unknown, name: string, most: number): number {
  if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= most) {
    return Number(value);
  }
  refuse(`${name} is no whole number from 1 to ${most}`);
}

function refuse(why: string): never {
  throw new RequestError(400, `Cannot use ${why}`);
}

/** A chunk's scores as they lie in a file or a message, or undefined where they are none. */
export function readScores(value: unknown): TextScore[] | undefined {
  const isScore = (score: TextScore) =>
    [score?.tokens, score?.nll, score?.squares, score?.differences].every(
      Number.isFinite,
    );
  return Array.isArray(value) && value.every(isScore) ? value : undefined;
}

/** Likelihoods of so many texts, or undefined where they are none. */
export function readLikelihoods(
  value: unknown,
  count: number,
): Likelihood[] | undefined {
  const isOne = (each: Likelihood) =>
    Number.isFinite(each?.logprob) && typeof each.greedy === "boolean";
  return Array.isArray(value) && value.length === count && value.every(isOne)
    ? value
    : undefined;
}

/** Texts, so many, or undefined where they are none. */
export function readTextList(
  value: unknown,
  count: number,
): string[] | undefined {
  return Array.isArray(value) && value.length === count &&
      value.every((text) => typeof text === "string")
    ? value
    : undefined;
}
