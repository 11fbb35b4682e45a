/** The bodies of requests: read as a stream, up to a limit, and checked. */
import * as v from "valibot";
// @ts-types="../std/concat.d.ts"
import { concat } from "deno-std/bytes/concat.js";
import {
  extentOf,
  isObject,
  type JsonExtent,
  type JsonObject,
} from "../formats/json.ts";
import {
  inWords,
  type OptionSpec,
  schemaOf,
  shown,
  type ValueOf,
} from "../options.ts";
import { RequestError } from "./errors.ts";
import type { CheckedServerOptions } from "./options.ts";
import type { ServerCall } from "./server_context.ts";

/** How long a body may be, and how long it may take. */
export interface BodyLimits {
  readonly options: Pick<CheckedServerOptions, "bodyLimit" | "timeLimit">;
}

/** The longest that a client may take to send its request, in seconds. */
const slowest = 30;

/** What a body may have most of: each value is looked at, a list or an object for a µs or more, and levels are gone down by recursion. */
const most: JsonExtent = { values: 2 ** 20, groups: 2 ** 16, levels: 512 };

/** What these are called. */
const called = {
  values: "values",
  groups: "lists and objects",
  levels: "levels",
};

/** What a schema gives, without what is null: a field that is null is absent. */
export type Present<Fields> = {
  [Name in keyof Fields]?: Exclude<Fields[Name], null | undefined>;
};

/**
 * The body of a request, as its schema has it; what the schema does not name is
 * left out.
 *
 * @throws {RequestError} 400, 408 or 413
 */
export async function readBody<Fields extends object>(
  call: ServerCall,
  context: BodyLimits,
  schema: v.GenericSchema<unknown, Fields>,
): Promise<Present<Fields>> {
  const { env } = call;
  const value = parseBody(await readBytes(call, context));
  if (env.record.hasTexts) env.record.body = value;
  env.isStream = isObject(value) && value.stream === true;
  return checkBody(schema, value);
}

/**
 * What a body says.
 *
 * @throws {RequestError} 400 where it is no JSON, 413 where there is too much of it
 */
export function parseBody(bytes: Uint8Array): unknown {
  const extent = extentOf(bytes);
  for (const name of ["values", "groups", "levels"] as const) {
    if (extent[name] <= most[name]) continue;
    throw tooLarge(extent[name], called[name], most[name]);
  }
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch (cause) {
    const why = cause instanceof SyntaxError
      ? `it is no JSON (${cause.message.replaceAll(/\s+/g, " ")})`
      : "it is not UTF-8";
    throw unreadable(400, why, { cause });
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * A value, if it is what the schema says, without fields that are null.
 *
 * @throws {RequestError} 400, which names the field that is to blame
 */
export function checkBody<Fields extends object>(
  schema: v.GenericSchema<unknown, Fields>,
  value: unknown,
): Present<Fields> {
  checkObject(value);
  const { issues, output } = v.safeParse(schema, value, {
    abortEarly: true,
    message: inWords,
  });
  if (!issues) {
    const there = Object.entries(output).filter(([, field]) => field != null);
    return Object.fromEntries(there) as Present<Fields>;
  }
  const [issue] = issues;
  const param = pathOf(issue.path?.map(({ key }) => key) ?? []);
  const message = issue.input === undefined
    ? `Cannot answer: ${param} is missing`
    : `Cannot use ${param} ${shown(issue.input)}: it is ${issue.message}`;
  throw new RequestError(400, message, { param });
}

/** @throws {RequestError} 400 where a body is no object */
export function checkObject(value: unknown): asserts value is JsonObject {
  if (isObject(value)) return;
  throw new RequestError(
    400,
    `Cannot use the body ${shown(value)}: it is an object`,
  );
}

/** A field's name as clients write it: `messages[0].content`. */
function pathOf(keys: readonly unknown[]): string {
  return keys.reduce<string>((path, key) => {
    if (typeof key === "number") return `${path}[${key}]`;
    return path === "" ? String(key) : `${path}.${key}`;
  }, "");
}

/** Fields that are options of a table: each may be absent, or null. */
export function fieldsOf<Table extends Readonly<Record<string, OptionSpec>>>(
  table: Table,
): {
  [Name in keyof Table]: v.NullishSchema<
    v.GenericSchema<ValueOf<Table[Name]>>,
    undefined
  >;
} {
  const fields = Object.entries(table).map(
    ([name, spec]) => [name, v.nullish(schemaOf(spec))],
  );
  return Object.fromEntries(fields);
}

/**
 * The body of a request as it is.
 *
 * @throws {RequestError} 400, 408 or 413
 */
export async function readBytes(
  { req: { raw: request } }: ServerCall,
  { options }: BodyLimits,
): Promise<Uint8Array<ArrayBuffer>> {
  const most = Math.floor(options.bodyLimit * 2 ** 20);
  const seconds = Math.min(slowest, options.timeLimit || Infinity);
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (announced > most) throw tooLarge(announced, "bytes or more", most);
  if (request.body === null) return new Uint8Array();
  if (!request.body) { // Firefox's requests have no streams.
    const bytes = new Uint8Array(await request.arrayBuffer());
    if (bytes.length > most) throw tooLarge(bytes.length, "bytes", most);
    return bytes;
  }
  const reader = request.body.getReader();
  let isSlow = false;
  const timer = setTimeout(() => {
    isSlow = true;
    reader.cancel().catch(() => {});
  }, 1000 * seconds);
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => {
        throw unreadable(
          400,
          "it breaks off, or its chunks are malformed",
          { cause },
        );
      });
      if (done) break;
      length += value.length;
      if (length > most) throw tooLarge(length, "bytes or more", most);
      chunks.push(value);
    }
  } finally {
    clearTimeout(timer);
    // Where it was left, nobody reads the rest.
    reader.cancel().catch(() => {});
  }
  if (isSlow) throw unreadable(408, `it took more than ${seconds} seconds`);
  return concat(chunks);
}

function tooLarge(
  count: number,
  what: string,
  most: number,
): RequestError {
  return unreadable(413, `it has ${count} ${what}, the limit is ${most}`);
}

function unreadable(
  status: number,
  why: string,
  options?: ErrorOptions,
): RequestError {
  return new RequestError(
    status,
    `Cannot read the request's body: ${why}`,
    options,
  );
}
