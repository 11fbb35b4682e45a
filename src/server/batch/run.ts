/** The answers to the lines of a batch, in OpenAI's format. */
import { sha256 } from "../../bytes/sha256.ts";
import { isObject } from "../../formats/json.ts";
import { errorBody, RequestError } from "../errors.ts";
import { merged } from "../merged.ts";
import { type BatchLine, byPrefix } from "./lines.ts";
import { stableBody } from "./stable_body.ts";

/** The answer to one line, as it stands in a batch's output. */
export interface BatchResult {
  /** Made of `custom_id` */
  readonly id: string;
  /** That of the line */
  readonly custom_id: string;
  /** What its request was answered with */
  readonly response: {
    readonly status_code: number;
    readonly request_id: string;
    readonly body: unknown;
  };
  /** Always null: what is wrong with a request stands in its response */
  readonly error: null;
}

/** A result as it lies in a file or a message, or undefined where it is none. */
export function readResult(value: unknown): BatchResult | undefined {
  if (!isObject(value) || !isObject(value.response)) return undefined;
  const { id, custom_id, response, error } = value;
  const { status_code, request_id } = response;
  const isText = [id, custom_id, request_id].every((each) =>
    typeof each === "string"
  );
  return isText && Number.isInteger(status_code) && error === null
    ? value as unknown as BatchResult
    : undefined;
}

/** The result of a line that cannot be answered. */
export async function failedResult(
  line: BatchLine,
  message: string,
  created: number,
): Promise<BatchResult> {
  const body = errorBody(new RequestError(500, message));
  return await written(line, 500, body, created);
}

/** What a batch is answered with. */
export interface BatchOptions {
  /** Answers the requests: a server's, or one that asks a server elsewhere. */
  readonly fetch: (request: Request) => Promise<Response>;
  /** Requests under way at the same time: as many as the server writes, and a few that wait. */
  readonly concurrency: number;
  /** The time that the answers state, in seconds since 1970. */
  readonly created: number;
  /** Gives up. */
  readonly signal?: AbortSignal;
}

/** Whether a line was answered. */
export function isAnswered({ response }: BatchResult): boolean {
  return response.status_code < 400;
}

/**
 * Answers the lines of a batch, and gives the results as they come. A line
 * without a seed has one that is made of its `custom_id`; so the same lines have
 * the same results to the last byte, however often the batch was interrupted.
 *
 * @throws what `signal` was aborted with
 */
export async function* runBatch(
  lines: readonly BatchLine[],
  { fetch, concurrency, created, signal }: BatchOptions,
): AsyncGenerator<BatchResult, void, void> {
  const giveUp = new AbortController();
  const stop = AbortSignal.any([giveUp.signal, ...signal ? [signal] : []]);
  const waiting = byPrefix(lines).values();
  const unavailable: BatchLine[] = [];
  const answering = Array.from({ length: concurrency }, () => answersTo());
  yield* merged(answering, () => giveUp.abort());
  // For some there was no room beside others.
  for (const line of unavailable) yield await resultOf(line);

  /** Answers one line after another, as long as there are some. */
  async function* answersTo(): AsyncGenerator<BatchResult, void, void> {
    for (const line of waiting) {
      const result = await resultOf(line);
      if (result.response.status_code === 503) unavailable.push(line);
      else yield result;
    }
  }

  async function resultOf(line: BatchLine): Promise<BatchResult> {
    stop.throwIfAborted();
    const response = await fetch(await requestOf(line, stop));
    const body = await response.json();
    stop.throwIfAborted();
    return await written(line, response.status, body, created);
  }
}

async function requestOf(
  { customId, url, body }: BatchLine,
  signal: AbortSignal,
): Promise<Request> {
  const { seed = null } = body;
  return new Request(`http://localhost${url}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, seed: seed ?? await seedOf(customId) }),
    signal,
  });
}

/** 31 bits of a digest: seeds are not negative. */
async function seedOf(customId: string): Promise<number> {
  const digest = await digestOf(customId);
  return parseInt(digest.slice(0, 8), 16) >>> 1;
}

async function digestOf(text: string): Promise<string> {
  return await sha256(new TextEncoder().encode(text));
}

/** A result as it stands in the output. */
async function written(
  { customId }: BatchLine,
  status: number,
  body: unknown,
  created: number,
): Promise<BatchResult> {
  const digest = (await digestOf(customId)).slice(0, 32);
  return {
    id: `batch_req_${digest}`,
    custom_id: customId,
    response: {
      status_code: status,
      request_id: `req_${digest}`,
      body: stableBody(body, digest, created),
    },
    error: null,
  };
}
