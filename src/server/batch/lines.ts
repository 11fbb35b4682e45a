/** The lines of a batch, as OpenAI's batch format has them: a request each. */
import { UsageError } from "../../errors.ts";
import { isObject, type JsonObject } from "../../formats/json.ts";
import { shown } from "../../options.ts";

/** What lines may ask: the paths that answer with one JSON object each. */
export const batchUrls: readonly unknown[] = [
  "/v1/chat/completions",
  "/v1/completions",
  "/v1/responses",
  "/v1/embeddings",
  "/v1/decisions",
];

/** One request of a batch. */
export interface BatchLine {
  /** By what its result is known; no two of a batch have the same */
  readonly customId: string;
  /** The path that it goes to */
  readonly url: string;
  /** The request's body */
  readonly body: JsonObject;
}

/** The longest `custom_id`, as OpenAI has it. */
const longestId = 512;

/**
 * Reads a batch, all of whose lines ask the path `url` where one is given, or one
 * of `urls`; lines with nothing in them are passed over.
 *
 * @throws {UsageError} which names the line that is to blame
 */
export function readBatch(
  text: string,
  url?: string,
  urls: readonly unknown[] = batchUrls,
): BatchLine[] {
  const places = new Map<string, number>();
  const lines: BatchLine[] = [];
  for (const [i, each] of text.split("\n").entries()) {
    if (each.trim() === "") continue;
    const line = readLine(each, i + 1, urls);
    const before = places.get(line.customId);
    if (before !== undefined) {
      throw cannotUse(
        i + 1,
        `custom_id ${shown(line.customId)} is that of line ${before}, too`,
      );
    }
    if (url !== undefined && line.url !== url) {
      throw cannotUse(i + 1, `url ${shown(line.url)} is not ${shown(url)}`);
    }
    places.set(line.customId, i + 1);
    lines.push(line);
  }
  if (lines.length === 0) throw new UsageError("Cannot run an empty batch");
  return lines;
}

/** @throws {UsageError} for what is no request of a batch */
function readLine(
  text: string,
  number: number,
  urls: readonly unknown[],
): BatchLine {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw cannotUse(number, "it is no JSON");
  }
  if (!isObject(value)) throw cannotUse(number, "it is no object");
  const { custom_id: customId, method, url, body } = value;
  if (
    typeof customId !== "string" || customId === "" ||
    customId.length > longestId
  ) {
    throw cannotUse(
      number,
      `custom_id ${shown(customId)} is not 1 to ${longestId} characters`,
    );
  }
  if (method !== "POST") {
    throw cannotUse(number, `method ${shown(method)} is not "POST"`);
  }
  if (!urls.includes(url)) {
    throw cannotUse(number, `url ${shown(url)} is none of ${urls.join(", ")}`);
  }
  if (!isObject(body)) throw cannotUse(number, "body is no object");
  if (body.stream) throw cannotUse(number, "body.stream: batches have none");
  return { customId, url: String(url), body };
}

function cannotUse(number: number, why: string): UsageError {
  return new UsageError(`Cannot use line ${number} of the batch: ${why}`);
}

/**
 * The lines so that those whose prompts begin alike are neighbours: what they
 * have in common is evaluated once then, and found in the cache by the others.
 */
export function byPrefix(lines: readonly BatchLine[]): BatchLine[] {
  const keyed = lines.map((line) => ({ line, key: prefixOf(line) }));
  keyed.sort((a, b) => a.key < b.key ? -1 : Number(a.key > b.key));
  return keyed.map(({ line }) => line);
}

/** What begins alike where prompts do: templates write tools before messages. */
export function prefixOf({ url, body }: BatchLine): string {
  const { model, tools, instructions, messages, prompt, input } = body;
  return JSON.stringify([
    url,
    model,
    tools,
    instructions,
    messages ?? prompt ?? input,
  ]);
}
