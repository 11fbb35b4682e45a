/** wllama's page: the model is kept in OPFS. */
// @ts-ignore: the bench installs it, and bundles this.
import { Wllama } from "@wllama/wllama";
import { measured } from "./page.ts";

const wllama = new Wllama({ default: "/wllama.wasm" }, {
  suppressNativeLog: true,
});
wllama.setCompat(null); // A build for Safari, from elsewhere.

measured({
  load: (url, threads) =>
    wllama.loadModelFromUrl(new URL(url, location.href).href, {
      n_threads: threads,
      n_ctx: 1024,
      n_gpu_layers: 0,
      n_parallel: 1,
    }),
  async *generate({ text }, tokens) {
    yield* await wllama.createCompletion({
      prompt: text,
      max_tokens: tokens,
      temperature: 0,
      cache_prompt: false,
      stream: true,
    });
  },
});
