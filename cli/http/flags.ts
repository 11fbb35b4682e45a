/** What the flags say of who may ask, how, and what is told of it, as servers and gateways take it. */
import { CulmError } from "../../mod.ts";
import type { RequestEntry, ServerOptions } from "../../server.ts";
import type { Opened } from "../../src/platform/opened.ts";
import { readText } from "../input.ts";
import { BadFlags } from "../option.ts";
import { note, printable } from "../terminal.ts";
import type { HttpFlags } from "./options.ts";
import { jsonLine, openLogFile, RequestLog, shortLine } from "./request_log.ts";

/** Who may ask. */
type Asking =
  & HttpFlags
  & Pick<ServerOptions, "apiKeys" | "corsOrigins" | "allowedHosts">;

/**
 * The options that servers and gateways have in common; what they need is closed with `opened`.
 *
 * @throws {BadFlags} for flags that do not go together
 * @throws {CulmError} for files that cannot be read or written
 */
export async function commonOptions(
  flags: Asking,
  opened: Opened,
): Promise<
  Pick<
    ServerOptions,
    "apiKeys" | "corsOrigins" | "allowedHosts" | "log" | "onError"
  >
> {
  const { corsOrigins, allowedHosts } = flags;
  return {
    apiKeys: await keysOf(flags),
    corsOrigins: split(corsOrigins),
    allowedHosts: split(allowedHosts),
    log: await logOf(flags, opened),
    onError: (error) => note(`error: ${printable(errorText(error))}`),
  };
}

/** Lists that may be written with commas. */
export function split(
  texts?: string | readonly string[],
): string[] | undefined {
  return texts === undefined
    ? undefined
    : [texts].flat().flatMap((text) =>
      text.split(",").map((each) => each.trim())
    );
}

/**
 * All keys that are given.
 *
 * @throws {CulmError} for a file that cannot be read, or has no key
 */
async function keysOf({ apiKeys = [], apiKeyFile }: Asking) {
  const given = [apiKeys].flat().flatMap((keys) => keys.split(","));
  if (apiKeyFile === undefined) return given;
  const lines = (await readText(apiKeyFile)).split("\n");
  const keys = lines.map((line) => line.trim()).filter((line) => line !== "");
  if (keys.length === 0) {
    throw new CulmError(`Cannot take keys of ${apiKeyFile}: it has none`);
  }
  return [...given, ...keys];
}

/**
 * What tells of requests, if something is to; what it needs is closed with `logs`.
 *
 * @throws {BadFlags} for flags that do not go together
 * @throws {CulmError} where the file cannot be written
 */
async function logOf(
  { logFile, logFormat, logDisable }: HttpFlags,
  logs: Opened,
): Promise<((entry: RequestEntry) => void) | undefined> {
  if (logDisable) {
    if (logFile === undefined) return undefined;
    throw new BadFlags(
      "Cannot log to --log-file: --log-disable is given, too",
    );
  }
  if (logFile !== undefined) {
    const file = await openLogFile(logFile);
    logs.defer(() => file[Symbol.dispose]());
    const log = logs.use(new RequestLog(logFile, file.write, note));
    return (entry) => log.add(entry);
  }
  if (logFormat === "json") {
    return (entry) => note(jsonLine(entry));
  }
  return (entry) => {
    const line = shortLine(entry);
    if (line !== undefined) note(printable(line));
  };
}

/**
 * The certificate and its key, where there are some.
 *
 * @throws {BadFlags} for one without the other
 * @throws {CulmError} for files that cannot be read
 */
export async function tlsOf(
  { tlsCert, tlsKey }: HttpFlags,
): Promise<Partial<Deno.TlsCertifiedKeyPem>> {
  if (tlsCert === undefined && tlsKey === undefined) return {};
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new BadFlags(
      "Cannot serve by HTTPS: --tls-cert and --tls-key go together",
    );
  }
  return { cert: await readText(tlsCert), key: await readText(tlsKey) };
}

/** An error that says what it is about, and what caused it; others as they are. */
function errorText(error: unknown): string {
  if (!(error instanceof CulmError)) {
    return Deno.inspect(error, { colors: false });
  }
  const { message, cause } = error;
  return cause === undefined ? message : `${message}: ${errorText(cause)}`;
}
