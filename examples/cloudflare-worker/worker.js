/**
 * The server of OpenAI's API on Cloudflare: one thread, in an isolate of 128 MB.
 * A small model lies beside it, among the static assets, as `assets/model.gguf`.
 *
 *     npm install
 *     npx wrangler dev
 *     curl localhost:8787/v1/completions -d '{"prompt": "Once upon a time", "max_tokens": 60}'
 */
import { DurableObject } from "cloudflare:workers";
import { load } from "@culm/culm";
import constrain from "@culm/culm/constrain.wasm";
import relaxed from "@culm/culm/relaxed.wasm";
import { createServer, setWasm } from "@culm/culm/server";

// Workers compile no WebAssembly; it is compiled where they are deployed.
setWasm({ constrain, relaxed });

/**
 * The model, once for all who ask: what a worker began for one request ends with
 * that request, and others would wait for it forever.
 */
export class Engine extends DurableObject {
  #server = this.#start();

  async #start() {
    const file = await this.env.ASSETS.fetch("https://assets/model.gguf");
    const model = await load(await file.blob(), { threads: 0, gpu: "off" });
    return createServer(model);
  }

  async fetch(request) {
    return (await this.#server).fetch(request);
  }
}

export default {
  fetch: (request, { ENGINE }) => ENGINE.getByName("engine").fetch(request),
};
