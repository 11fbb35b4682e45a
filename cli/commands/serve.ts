// @ts-types="../../src/std/basename.d.ts"
import { basename } from "@std/path/basename";
import { CulmError, type LanguageModel } from "../../mod.ts";
import { createServer, type CulmServer, serverOptions } from "../../server.ts";
import { readTemplate, templateFlag } from "../chat_template.ts";
import type { CommandSpec } from "../command.ts";
import { formatSystemError } from "../format.ts";
import { readText } from "../input.ts";
import { runGpuOptions } from "../gpu_options.ts";
import { Interrupt, stopSignals } from "../interrupt.ts";
import { loadModel } from "../model_file.ts";
import type { FlagGroups, FlagsOfGroups } from "../option.ts";
import { localModel, modelOptions, runOptions } from "../options.ts";
import { samplingFlags } from "../sampling_options.ts";
import { note, printable } from "../terminal.ts";

const { template: _template, sampling: _sampling, onError: _error, ...limits } =
  serverOptions;

// Tokens are told by a request alone, and a seed for all would make all texts one.
const {
  logitBias: _bias,
  drySequenceBreaker: _breaker,
  seed: _seed,
  ...samplingDefaults
} = samplingFlags;

const options = {
  Server: {
    host: {
      type: "string",
      default: "127.0.0.1",
      flag: "--host <address>",
      description: "address to listen on",
    },
    port: {
      type: "integer",
      minimum: 0,
      maximum: 65535,
      default: 8080,
      flag: "--port <n>",
      description: "port to listen on; 0 = any that is free",
    },
    grace: {
      type: "number",
      minimum: 0,
      default: 30,
      flag: "--stop-timeout <s>",
      description:
        "seconds that answers may take to end once the server is told to stop",
    },
    ...limits,
    apiKeyFile: {
      type: "string",
      flag: "--api-key-file <file>",
      description: "a file with such keys, one a line",
    },
    template: templateFlag,
  },
  Model: modelOptions,
  Running: runOptions,
  GPU: runGpuOptions,
  "Sampling, where a request does not say": samplingDefaults,
} as const satisfies FlagGroups;

type ServeFlags = FlagsOfGroups<typeof options>;

/** Serves a model over HTTP. */
export const serve: CommandSpec = {
  name: "serve",
  summary:
    "serve a model over HTTP, as OpenAI's and llama.cpp's clients expect",
  options,
  examples: [
    "culm serve -m model.gguf",
    "culm serve -m model.gguf -c 8192 -np 8 --port 8081",
  ],
  run,
};

/** What is left to the last answers to reach their clients, in ms. */
const lastWords = 1000;

async function run(flags: ServeFlags): Promise<number> {
  using interrupt = new Interrupt(stopSignals);
  const { promise: loading, resolve } = Promise.withResolvers<LanguageModel>();
  const { host, port, grace, template, ...asked } = flags;
  const named = (names: object) =>
    Object.fromEntries(
      Object.entries(asked).filter(([name]) => name in names),
    );
  const path = localModel(flags);
  await using server = createServer(loading, {
    ...named(limits),
    alias: flags.alias ?? (path && basename(path)),
    sampling: named(samplingDefaults),
    ...lists(flags),
    apiKeys: await keysOf(flags),
    template: await readTemplate(template),
    onError: (error) =>
      note(`error: ${printable(Deno.inspect(error, { colors: false }))}`),
  });
  const closing = new AbortController();
  // Before the model is loaded, which may take long: who asks is told so.
  const http = listen(server, host, port, closing.signal);
  try {
    await using model = await loadModel(flags, interrupt);
    resolve(model);
    note(`listening on ${addressOf(http.addr)}`);
    await aborted(interrupt.signal);
    note("stopping: answers under way are written to their end");
    await server.stop(1000 * grace);
    return 0;
  } finally {
    const late = setTimeout(() => closing.abort(), lastWords);
    await http.shutdown();
    clearTimeout(late);
  }
}

/** Lists that may be written with commas. */
function lists({ corsOrigins, allowedHosts }: ServeFlags) {
  const split = (texts?: readonly string[]) =>
    texts?.flatMap((text) => text.split(",").map((each) => each.trim()));
  return {
    corsOrigins: split(corsOrigins),
    allowedHosts: split(allowedHosts),
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

/** @throws {CulmError} where nobody can listen there */
function listen(
  { fetch }: CulmServer,
  hostname: string,
  port: number,
  signal: AbortSignal,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve(
      { hostname, port, signal, onListen: () => {} },
      (request, { remoteAddr }) =>
        fetch(request, { client: remoteAddr.hostname }),
    );
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    const why = error instanceof Deno.errors.AddrInUse
      ? "another program does; --port takes another"
      : formatSystemError(error as Error);
    throw new CulmError(`Cannot listen on ${hostname}:${port}: ${why}`);
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) =>
    signal.addEventListener("abort", resolve, { once: true })
  );
}

function addressOf({ hostname, port }: Deno.NetAddr): string {
  const host = hostname.includes(":") ? `[${hostname}]` : hostname;
  return `http://${host}:${port}`;
}
