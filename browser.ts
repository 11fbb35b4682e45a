/**
 * culm in a page: models that the browser keeps, an engine in a worker, and
 * OpenAI's API at the site's own address. A project that checks types names
 * the pages' ones: `"lib": ["dom", "dom.iterable", "dom.asynciterable", "esnext"]`.
 *
 * @example
 * ```ts ignore
 * // engine.js, a worker
 * import { load } from "@culm/culm";
 * import { answerPage, ModelStore } from "@culm/culm/browser";
 * import { createServer } from "@culm/culm/server";
 *
 * async function start() {
 *   const store = await ModelStore.open();
 *   return createServer(await load(await store.open("hf:OWNER/REPO:Q4_K_M")));
 * }
 * answerPage(start());
 * ```
 *
 * @example
 * ```ts ignore
 * // the page
 * import { startEngine } from "@culm/culm/browser";
 *
 * const engine = startEngine(() => new Worker("engine.js", { type: "module" }));
 * const response = await engine.fetch("/v1/chat/completions", {
 *   method: "POST",
 *   body: JSON.stringify({ messages: [{ role: "user", content: "Hello" }] }),
 * });
 * ```
 *
 * @module
 */
export {
  answerPage,
  type EngineOptions,
  type PageEngine,
  startEngine,
} from "./src/browser/engine_worker.ts";
export {
  type KeptModel,
  ModelStore,
  type OpenOptions,
} from "./src/browser/model_store.ts";
export type { Answering } from "./src/browser/request_channel.ts";
export { routeRequests } from "./src/browser/route_requests.ts";
export { siteFiles } from "./src/browser/site_files.ts";
export type { ByteSource } from "./src/bytes/byte_source.ts";
export type { PullProgress } from "./src/hub/pull.ts";
export { setWorkerUrl } from "./src/platform/worker_url.ts";
