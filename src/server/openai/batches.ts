/** `/v1/batches`: files of requests, answered while there is room. */
import * as v from "valibot";
import { answerBy } from "../app.ts";
import { batchUrls, readBatch } from "../batch/lines.ts";
import { type BatchResult, isAnswered, runBatch } from "../batch/run.ts";
import { readBody } from "../body.ts";
import { missing, RequestError } from "../errors.ts";
import { anyObject, text } from "../fields.ts";
import { newId } from "../new_id.ts";
import { shown } from "../../options.ts";
import {
  clientOf,
  failureOf,
  type ServerApp,
  type ServerCall,
  type ServerContext,
} from "../server_context.ts";
import { pageOf } from "./files.ts";
import { now } from "../now.ts";

/** Most batches that are remembered, those that have ended included. */
const mostBatches = 256;

/** The longest that a batch may take: a day, the one that OpenAI's clients ask for. */
const window = "24h", windowSeconds = 24 * 60 * 60;

const batchSchema = v.object({
  input_file_id: text,
  endpoint: text,
  completion_window: text,
  metadata: v.nullish(anyObject),
}, "an object");

/** How far a batch is. */
type Status =
  | "in_progress"
  | "completed"
  | "failed"
  | "cancelling"
  | "cancelled"
  | "expired";

/** A batch, as OpenAI's clients see it. */
interface BatchCard {
  readonly id: string;
  readonly object: "batch";
  readonly endpoint: string;
  readonly input_file_id: string;
  readonly completion_window: string;
  readonly metadata: unknown;
  readonly created_at: number;
  readonly in_progress_at: number;
  readonly expires_at: number;
  readonly request_counts: { total: number; completed: number; failed: number };
  status: Status;
  errors?: unknown;
  output_file_id?: string;
  error_file_id?: string;
  completed_at?: number;
  failed_at?: number;
  cancelling_at?: number;
  cancelled_at?: number;
  expired_at?: number;
}

/** A batch that runs, or has run. */
interface Batch {
  readonly card: BatchCard;
  readonly owner: string;
  readonly giveUp: AbortController;
}

/** Registers `/v1/batches`. Their requests go through the routes of `app`, as clients' do. */
export function batchRoutes(app: ServerApp, context: ServerContext): void {
  const batches = new Map<string, Batch>();
  app.post("/v1/batches", async (call) => {
    const body = await readBody(call, context, batchSchema);
    const { input_file_id = missing("input_file_id"), endpoint, metadata } =
      body;
    checkWindow(body.completion_window);
    checkEndpoint(endpoint);
    const owner = clientOf(call);
    const file = context.files.get(owner, input_file_id);
    makeRoom(batches);
    const at = now();
    const card: BatchCard = {
      id: newId("batch_"),
      object: "batch",
      endpoint: String(endpoint),
      input_file_id,
      completion_window: window,
      metadata: metadata ?? null,
      created_at: at,
      in_progress_at: at,
      expires_at: at + windowSeconds,
      request_counts: { total: 0, completed: 0, failed: 0 },
      status: "in_progress",
    };
    const batch = { card, owner, giveUp: new AbortController() };
    batches.set(card.id, batch);
    run(batch, new TextDecoder().decode(file.content), app, context);
    return call.json(card);
  });
  app.get("/v1/batches", (call) => {
    const owner = clientOf(call);
    const own = [...batches.values()].filter((batch) => batch.owner === owner);
    return call.json(pageOf(own.map(({ card }) => card).reverse()));
  });
  app.get("/v1/batches/:id", (call) => call.json(batchOf(call).card));
  app.post("/v1/batches/:id/cancel", (call) => {
    const { card, giveUp } = batchOf(call);
    if (card.status === "in_progress") {
      card.status = "cancelling";
      card.cancelling_at = now();
      giveUp.abort();
    }
    return call.json(card);
  });

  /** @throws {RequestError} 404, where the client has no such batch */
  function batchOf(call: ServerCall): Batch {
    const id = call.req.param("id")!;
    const batch = batches.get(id);
    if (batch?.owner === clientOf(call)) return batch;
    throw new RequestError(404, `There is no batch ${shown(id)}`);
  }
}

/** @throws {RequestError} 400 for what batches do not ask */
function checkEndpoint(endpoint: string | undefined): void {
  if (batchUrls.includes(endpoint)) return;
  throw new RequestError(
    400,
    `Cannot use endpoint ${shown(endpoint)}: it is one of ${
      batchUrls.join(", ")
    }`,
    { param: "endpoint" },
  );
}

/** @throws {RequestError} 400 for another than OpenAI has */
function checkWindow(given: string | undefined): void {
  if (given === window) return;
  throw new RequestError(
    400,
    `Cannot use completion_window ${shown(given)}: it is "${window}"`,
    { param: "completion_window" },
  );
}

/**
 * Forgets the oldest batch that has ended, where there are too many.
 *
 * @throws {RequestError} 429, where all of them run
 */
function makeRoom(batches: Map<string, Batch>): void {
  if (batches.size < mostBatches) return;
  const ended = [...batches.values()].find(({ card }) => !isRunning(card));
  if (ended) batches.delete(ended.card.id);
  else {
    throw new RequestError(
      429,
      `Cannot take another batch: ${batches.size} run, the limit is ${mostBatches}`,
    );
  }
}

function isRunning({ status }: BatchCard): boolean {
  return status === "in_progress" || status === "cancelling";
}

/** Answers a batch's requests, and keeps what comes of it in files of its owner. */
async function run(
  { card, owner, giveUp }: Batch,
  text: string,
  app: ServerApp,
  context: ServerContext,
): Promise<void> {
  const { request_counts: counts } = card;
  const expired = AbortSignal.timeout(1000 * windowSeconds);
  const signal = AbortSignal.any([giveUp.signal, expired, context.stopping]);
  const answered: BatchResult[] = [], refused: BatchResult[] = [];
  try {
    const lines = readBatch(text, card.endpoint);
    counts.total = lines.length;
    // A client of its own, which takes turns with others.
    const from = { client: `batches of ${owner}` };
    const results = runBatch(lines, {
      fetch: (request) => answerBy(app, request, from, context),
      // One place is left to those who wait for their answers.
      concurrency: Math.max(1, context.options.parallel - 1),
      created: card.created_at,
      signal,
    });
    for await (const result of results) {
      if (isAnswered(result)) answered.push(result);
      else refused.push(result);
      counts.completed = answered.length;
      counts.failed = refused.length;
    }
    end("completed");
  } catch (error) {
    if (signal.aborted) end(expired.aborted ? "expired" : "cancelled");
    else fail(error);
  }

  function end(status: "completed" | "cancelled" | "expired"): void {
    try {
      card.output_file_id = keep("output", answered);
      card.error_file_id = keep("errors", refused);
      card.status = status;
      card[`${status}_at`] = now();
    } catch (error) {
      fail(error);
    }
  }

  function fail(error: unknown): void {
    const { message, type } = failureOf(error, context);
    card.status = "failed";
    card.failed_at = now();
    card.errors = { object: "list", data: [{ code: type, message }] };
  }

  /** A file of results; none where there are none. */
  function keep(
    name: string,
    results: readonly BatchResult[],
  ): string | undefined {
    if (results.length === 0) return undefined;
    const lines = results.map((result) => `${JSON.stringify(result)}\n`);
    const content = new TextEncoder().encode(lines.join(""));
    const filename = `${card.id}_${name}.jsonl`;
    return context.files.add(owner, filename, "batch_output", content).id;
  }
}
