// @ts-types="../../../src/std/basename.d.ts"
import { basename } from "@std/path/basename";
import { CulmError, type LanguageModel } from "../../../mod.ts";
import {
  createServer,
  type CulmServer,
  type RequestEntry,
} from "../../../server.ts";
import { Opened } from "../../../src/platform/opened.ts";
import { readTemplate } from "../../chat_template.ts";
import type { CommandSpec } from "../../command.ts";
import { readText } from "../../input.ts";
import { Interrupt, stopSignals } from "../../interrupt.ts";
import { loadModel } from "../../model_file.ts";
import { BadFlags } from "../../option.ts";
import { localModel } from "../../options.ts";
import { note, printable } from "../../terminal.ts";
import {
  samplingFlagNames,
  type ServeFlags,
  serveOptions,
  serverFlagNames,
} from "./options.ts";
import { hostInUrl, hostsOf, isLoopback } from "./addresses.ts";
import { Listener, type Where } from "./listener.ts";
import { modelsOfDir } from "./models_dir.ts";
import { permittedCommand } from "./permissions.ts";
import { jsonLine, openLogFile, RequestLog, shortLine } from "./request_log.ts";

/** Serves a model over HTTP. */
export const serve: CommandSpec = {
  name: "serve",
  summary:
    "serve a model over HTTP, as OpenAI's and llama.cpp's clients expect",
  options: serveOptions,
  readsHeader: ({ printPermissions }: ServeFlags) => printPermissions ?? false,
  examples: [
    "culm serve -m model.gguf",
    "culm serve -m model.gguf -c 8192 -np 8 --port 8081",
    "culm serve --models-dir models --models-max 2 --sleep-idle-seconds 600",
  ],
  run,
};

/** What is left to the last answers to reach their clients, in ms. */
const lastWords = 1000;

async function run(flags: ServeFlags): Promise<number> {
  if (flags.printPermissions) {
    console.log(await permittedCommand(Deno.args, flags));
    return 0;
  }
  using interrupt = new Interrupt(stopSignals);
  const { promise: loading, resolve } = Promise.withResolvers<LanguageModel>();
  const { host, port, grace, template, modelsDir, ...asked } = flags;
  if (modelsDir !== undefined && flags.model !== undefined) {
    throw new BadFlags("Cannot serve a folder and a model: --models-dir or -m");
  }
  const catalogue = modelsDir === undefined
    ? undefined
    : await modelsOfDir(modelsDir, flags);
  const named = (names: readonly string[]) =>
    Object.fromEntries(
      Object.entries(asked).filter(([name]) => names.includes(name)),
    );
  const path = localModel(flags);
  const apiKeys = await keysOf(flags), tls = await tlsOf(flags);
  await using logs = new Opened();
  await using server = createServer(catalogue ?? loading, {
    ...named(serverFlagNames),
    log: await logOf(flags, logs),
    sampling: named(samplingFlagNames),
    ...lists(flags, path === undefined ? undefined : [basename(path)]),
    apiKeys,
    template: await readTemplate(template),
    templateVariables: flags.templateVariables,
    onError: (error) => note(`error: ${printable(errorText(error))}`),
  });
  // Before the model is loaded, which may take long: who asks is told so.
  const listeners = await listenAll(server, hostsOf(host), { port, ...tls });
  const addresses = listeners.map(({ address }) => address);
  if (
    apiKeys.length === 0 &&
    !addresses.every(({ hostname }) => isLoopback(hostname))
  ) {
    note(
      `note: whoever reaches ${host} may ask; --api-key-file keeps others out`,
    );
  }
  try {
    await using model = catalogue
      ? undefined
      : await loadModel(flags, interrupt);
    if (model) resolve(model);
    for (const address of addresses) {
      note(`listening on ${urlOf(address, tls.cert !== undefined)}`);
    }
    await aborted(interrupt.signal);
    note("stopping: answers under way are written to their end");
    await server.stop(1000 * grace);
    return 0;
  } finally {
    await closeAll(listeners);
  }
}

/**
 * What tells of requests, if something is to; what it needs is closed with `logs`.
 *
 * @throws {BadFlags} for flags that do not go together
 * @throws {CulmError} where the file cannot be written
 */
async function logOf(
  { logFile, logFormat, logDisable }: ServeFlags,
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

/** An error that says what it is about, and what caused it; others as they are. */
function errorText(error: unknown): string {
  if (!(error instanceof CulmError)) {
    return Deno.inspect(error, { colors: false });
  }
  const { message, cause } = error;
  return cause === undefined ? message : `${message}: ${errorText(cause)}`;
}

/** Lists that may be written with commas. The model has the names `own` where no others are given. */
function lists(
  { corsOrigins, allowedHosts, aliases }: ServeFlags,
  own: readonly string[] | undefined,
) {
  const split = (texts?: readonly string[]) =>
    texts?.flatMap((text) => text.split(",").map((each) => each.trim()));
  return {
    corsOrigins: split(corsOrigins),
    allowedHosts: split(allowedHosts),
    aliases: split(aliases) ?? own,
  };
}

/**
 * All keys that are given.
 *
 * @throws {CulmError} for a file that cannot be read, or has no key
 */
async function keysOf({ apiKeys = [], apiKeyFile }: ServeFlags) {
  const given = apiKeys.flatMap((keys) => keys.split(","));
  if (apiKeyFile === undefined) return given;
  const lines = (await readText(apiKeyFile)).split("\n");
  const keys = lines.map((line) => line.trim()).filter((line) => line !== "");
  if (keys.length === 0) {
    throw new CulmError(`Cannot take keys of ${apiKeyFile}: it has none`);
  }
  return [...given, ...keys];
}

/**
 * The certificate and its key, where there are some.
 *
 * @throws {BadFlags} for one without the other
 * @throws {CulmError} for files that cannot be read
 */
async function tlsOf(
  { tlsCert, tlsKey }: ServeFlags,
): Promise<Partial<Deno.TlsCertifiedKeyPem>> {
  if (tlsCert === undefined && tlsKey === undefined) return {};
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new BadFlags(
      "Cannot serve by HTTPS: --tls-cert and --tls-key go together",
    );
  }
  return { cert: await readText(tlsCert), key: await readText(tlsKey) };
}

/**
 * Listens on all addresses, at one port.
 *
 * @throws {CulmError} where nobody can listen there
 */
async function listenAll(
  server: CulmServer,
  hosts: readonly string[],
  where: Omit<Where, "hostname">,
): Promise<Listener[]> {
  const listeners: Listener[] = [];
  let { port } = where;
  try {
    for (const hostname of hosts) {
      const listener = await Listener.open(server, {
        ...where,
        hostname,
        port,
      });
      listeners.push(listener);
      // What is free for the first is asked for on the others.
      port = listener.address.port;
    }
  } catch (error) {
    await closeAll(listeners);
    throw error;
  }
  return listeners;
}

async function closeAll(listeners: readonly Listener[]): Promise<void> {
  await Promise.all(listeners.map((each) => each.close(lastWords)));
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) =>
    signal.addEventListener("abort", resolve, { once: true })
  );
}

function urlOf({ hostname, port }: Deno.NetAddr, isSafe: boolean): string {
  return `http${isSafe ? "s" : ""}://${hostInUrl(hostname)}:${port}`;
}
