/** How an upstream says that it is. Nothing of it is believed beyond what is checked here. */
import * as v from "valibot";
// @ts-types="../std/concat.d.ts"
import { concat } from "deno-std/bytes/concat.js";
import { chunksOf } from "../bytes/stream.ts";
import { CulmError } from "../errors.ts";

/** A model as an upstream lists it. */
export type ModelCard = v.InferOutput<typeof cardSchema>;

const name = v.pipe(v.string(), v.minLength(1), v.maxLength(512));

const cardSchema = v.looseObject({
  id: name,
  aliases: v.optional(v.pipe(v.array(name), v.maxLength(256))),
});

const modelsSchema = v.object({
  data: v.pipe(v.array(cardSchema), v.maxLength(4096)),
});

/** The most bytes of an answer that are read. */
const mostBytes = 2 ** 22;

/** How busy an upstream is, by vLLM's names. */
export interface UpstreamLoad {
  readonly running: number;
  readonly waiting: number;
  /** Share of the KV cache that is used */
  readonly cacheUsage: number;
}

/** What an upstream says of itself. */
export interface Report {
  readonly models: readonly ModelCard[];
  /** Where it gives metrics */
  readonly load?: UpstreamLoad;
}

/**
 * Asks an upstream how it is, which models it has, and, if it `hasMetrics`, how busy it is.
 *
 * @throws {CulmError} where it is not well
 * @throws what `signal` was aborted with
 */
export async function probe(
  url: string,
  { headers, hasMetrics, signal }: {
    readonly headers: HeadersInit;
    readonly hasMetrics: boolean;
    readonly signal: AbortSignal;
  },
): Promise<Report> {
  const get = async (path: string) => {
    const init = { headers, signal, redirect: "manual" } as const;
    const response = await fetch(`${url}${path}`, init);
    const text = await textOf(response);
    return { response, text };
  };
  const ask = async (path: string) => {
    const { response: { ok, status }, text } = await get(path);
    if (ok) return text;
    if (status === 401) {
      throw new CulmError(
        `${path} is answered by 401: it asks for a key, and --upstream-api-key-file has none that it knows`,
      );
    }
    throw new CulmError(`${path} is answered by ${status}`);
  };
  await ask("/health");
  const models = modelsOf(await ask("/v1/models"));
  if (!hasMetrics) return { models };
  const { response, text } = await get("/metrics");
  return { models, load: response.ok ? loadOf(text) : undefined };
}

function modelsOf(text: string): readonly ModelCard[] {
  try {
    return v.parse(modelsSchema, JSON.parse(text)).data;
  } catch (cause) {
    throw new CulmError("/v1/models is no list of models", { cause });
  }
}

/** What metrics say by vLLM's names, of all models together; undefined where they say nothing. */
function loadOf(text: string): UpstreamLoad | undefined {
  const figures = (name: string) => {
    const line = new RegExp(`^vllm:${name}(?:\\{.*\\})? ([\\d.e+-]+)$`, "gm");
    return [...text.matchAll(line)].map(([, figure]) => Number(figure))
      .filter((figure) => figure >= 0);
  };
  const running = figures("num_requests_running");
  if (running.length === 0) return undefined;
  const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
  return {
    running: sum(running),
    waiting: sum(figures("num_requests_waiting")),
    cacheUsage: Math.max(0, ...figures("kv_cache_usage_perc")),
  };
}

async function textOf({ body }: Response): Promise<string> {
  if (!body) return "";
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunksOf(body)) {
    length += chunk.length;
    if (length > mostBytes) {
      throw new CulmError(`it says more than ${mostBytes} bytes of itself`);
    }
    chunks.push(chunk);
  }
  return new TextDecoder().decode(concat(chunks));
}
