/**
 * A server for OpenAI's clients and llama.cpp's, as one function from a
 * `Request` to a `Response`: `Deno.serve` serves it, and so may a page or a
 * service worker, without a socket.
 *
 * @example
 * ```ts
 * import { load } from "@culm/culm";
 * import { createServer } from "@culm/culm/server";
 * import { tinyBamboo } from "@culm/tiny";
 *
 * await using model = await load(tinyBamboo(), { threads: 0 });
 * await using server = createServer(model);
 * const response = await server.fetch(new Request("http://localhost/v1/models"));
 * console.log((await response.json()).data.length); // 1
 * ```
 *
 * @module
 */
export { type BatchLine, readBatch } from "./src/server/batch/lines.ts";
export {
  type BatchOptions,
  type BatchResult,
  isAnswered,
  runBatch,
} from "./src/server/batch/run.ts";
export { createGateway, type Gateway } from "./src/gateway/gateway.ts";
export { type GatewayOptions, gatewayOptions } from "./src/gateway/options.ts";
export { createServer, type CulmServer } from "./src/server/server.ts";
export type {
  Catalogue,
  CatalogueEntry,
} from "./src/server/model_catalogue.ts";
export { type ServerOptions, serverOptions } from "./src/server/options.ts";
export type { RequestEntry } from "./src/server/request_record.ts";
export type { ServerBindings } from "./src/server/server_context.ts";
export { setWasm, type WasmName } from "./src/platform/compiled_wasm.ts";
