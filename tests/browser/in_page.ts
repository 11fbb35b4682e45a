/** What tests have pages do; bundled for them, with the library. */
import OpenAI from "openai";
import {
  ModelStore,
  type OpenOptions,
  type PageEngine,
  type PullProgress,
  routeRequests,
  setWorkerUrl,
  startEngine,
} from "../../browser.ts";
import { load, type LoadOptions, type ModelSource } from "../../mod.ts";
import { describeModel, readGguf } from "../../gguf.ts";
import { toByteSource } from "../../src/load/model_source.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { tellAll } from "../everywhere/cases.ts";
import { hybrid } from "../helpers/hybrid_plans.ts";

const prompt = "Once upon a time";

const workers = new Map<Worker, string | undefined>();
globalThis.Worker = class extends Worker {
  constructor(url: string | URL, options?: WorkerOptions) {
    super(url, options);
    workers.set(this, options?.name);
  }
  override terminate() {
    super.terminate();
    workers.delete(this);
  }
};

/** Names of the page's workers that are not terminated. */
function workerNames() {
  return [...workers.values()];
}

/** A text of a model: the embedded one, or of a URL; with what computed it. */
async function generate(url: string | undefined, options: LoadOptions) {
  return await generateFrom(url ?? tinyBamboo(), options);
}

async function generateFrom(
  source: ModelSource,
  options: LoadOptions,
  maxTokens = 24,
) {
  await using model = await load(source, options);
  const ids: number[] = [];
  let first = 0;
  const text = { maxTokens, temperature: 0 };
  for await (const { id } of model.generate(prompt, text)) {
    first ||= performance.now();
    ids.push(id);
  }
  return { backend: model.backend, ids, first };
}

/** The same, of whose neurons such a share is on the GPU; a few tokens, for a GPU in software is slow. */
async function generateWithGpu(url: string, share: number, threads: number) {
  const source = await toByteSource(url);
  const gpuPlan = hybrid(describeModel(await readGguf(source)), share);
  const options: LoadOptions = { threads, gpu: "require", gpuPlan };
  return await generateFrom(source, { ...options, contextSize: 64 }, 6);
}

/** Starts workers from the site's file. */
function useWorkerFile() {
  setWorkerUrl("/culm-worker.js");
}

/** Has the page think that it is hidden, or not. */
function hide(isHidden: boolean) {
  Object.defineProperty(document, "hidden", {
    configurable: true,
    value: isHidden,
  });
  document.dispatchEvent(new Event("visibilitychange"));
}

/** A text of the file that was picked. */
async function generateFromPicked(options: LoadOptions) {
  const { files } = document.querySelector("input")!;
  return await generateFrom(files![0], options);
}

/** A text of a model that the store keeps from now on, and after how many ms it was whole, and the first token there. */
async function generateFromStore(
  name: string,
  options: OpenOptions,
  waits = false,
) {
  const begun = performance.now();
  const store = await ModelStore.open();
  const source = await store.open(name, options);
  const whole = Promise.resolve(source.whole).then(() => performance.now());
  whole.catch(() => {}); // `load` tells.
  try {
    if (waits) await whole;
    const { first, ...said } = await generateFrom(source, { threads: 1 });
    const ms = { whole: await whole - begun, first: first - begun };
    return { ...said, ms };
  } finally {
    await source.close();
  }
}

/** Has the store keep a model; gives the hash of its bytes, and what was told meanwhile. */
async function keep(name: string, options: OpenOptions) {
  const warnings: string[] = [], progress: PullProgress[] = [];
  const store = await ModelStore.open();
  const source = await store.open(name, {
    ...options,
    onWarning: (message) => warnings.push(message),
    onProgress: (each) => progress.push(each),
  });
  await source.whole;
  const bytes = await source.read(0, source.size);
  await source.close();
  const hash = await crypto.subtle.digest("SHA-256", bytes);
  return {
    hash: new Uint8Array(hash).toHex(),
    warnings,
    before: progress[0]?.before,
  };
}

async function kept() {
  return await (await ModelStore.open()).list();
}

/** What lies in the site's private file system. */
async function storedFiles() {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle("culm-models");
  return await Array.fromAsync(folder.keys());
}

async function forget(name: string) {
  await (await ModelStore.open()).delete(name);
}

let engine: PageEngine | undefined;
let started = 0;
/** An engine in a worker, which is started when it is asked. */
function useEngine(restAfter?: number) {
  const start = () => {
    started++;
    return new Worker("/in_worker.js", { type: "module", name: "engine" });
  };
  engine = startEngine(start, { restAfter });
}

/** How often the engine was started. */
function starts() {
  return started;
}

async function endEngine() {
  await engine![Symbol.asyncDispose]();
}

/** What OpenAI's client has from the engine, or from the site's own address. */
async function complete(from: "engine" | "address") {
  const client = new OpenAI({
    apiKey: "none",
    baseURL: `${location.origin}/v1`,
    dangerouslyAllowBrowser: true,
    maxRetries: 0,
    ...from === "engine" ? { fetch: engine!.fetch } : {},
  });
  const options = { model: "tiny", prompt, max_tokens: 24, temperature: 0 };
  const { choices: [{ text }] } = await client.completions.create(options);
  let streamed = "", pieces = 0;
  const stream = await client.completions.create({ ...options, stream: true });
  for await (const { choices } of stream) {
    streamed += choices[0]?.text ?? "";
    pieces++;
  }
  return { text, streamed, pieces };
}

/** The engine's answer to a request that is given up when the first piece has come, and whether it then does something else. */
async function giveUp() {
  const body = JSON.stringify({ prompt, max_tokens: 500, stream: true });
  const stop = new AbortController();
  const response = await engine!.fetch("/v1/completions", {
    method: "POST",
    body,
    signal: stop.signal,
  });
  const reader = response.body!.getReader();
  await reader.read();
  stop.abort();
  const error = await reader.read().then(
    () => "read on",
    ({ name }) => name as string,
  );
  const { status } = await engine!.fetch("/v1/models");
  return { error, status };
}

let route: AsyncDisposable | undefined;

/** The engine answers at the site's own address. */
async function routeToEngine() {
  route = await routeRequests(engine!, "/culm-service-worker.js");
}

async function endRoute() {
  await route![Symbol.asyncDispose]();
  return (await fetch("/v1/models")).status;
}

export const acts = {
  generate,
  generateWithGpu,
  workerNames,
  useWorkerFile,
  hide,
  generateFromPicked,
  generateFromStore,
  keep,
  kept,
  storedFiles,
  forget,
  useEngine,
  starts,
  endEngine,
  complete,
  giveUp,
  routeToEngine,
  endRoute,
  tellAll,
};
export type Acts = typeof acts;

Object.assign(globalThis, { acts });
