/**
 * The server of OpenAI's API as one function of an edge: the embedded model, one
 * thread, no worker, no GPU, and no permission but to listen.
 *
 *     deno serve examples/edge-function/main.ts
 *     curl localhost:8000/v1/completions -d '{"prompt": "Once upon a time", "max_tokens": 60}'
 */
import { load } from "@culm/culm";
import { createServer } from "@culm/culm/server";
import { tinyBamboo } from "@culm/tiny";

// Without threads it computes in slices of time, so that other requests come in between.
const model = await load(tinyBamboo(), { threads: 0, gpu: "off" });
const { fetch } = createServer(model);

export default {
  fetch: (request) => fetch(request),
} satisfies Deno.ServeDefaultExport;
