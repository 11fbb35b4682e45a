/** Transformers.js's page: the model is kept in the browser's cache. */
// @ts-ignore: the bench installs it, and bundles this.
import { AutoModelForCausalLM, env, Tensor } from "@huggingface/transformers";
import { measured } from "./page.ts";

env.remoteHost = location.origin;
env.remotePathTemplate = "{model}";

let model;

measured({
  async load(folder, threads) {
    const { wasm } = env.backends.onnx;
    wasm.numThreads = threads;
    const path = `${location.origin}/ort-wasm-simd-threaded.asyncify`;
    wasm.wasmPaths = { mjs: `${path}.mjs`, wasm: `${path}.wasm` };
    model = await AutoModelForCausalLM.from_pretrained(folder, {
      dtype: "q4",
      device: "wasm",
    });
  },
  generate: ({ ids }, tokens) =>
    new ReadableStream({
      async start(controller) {
        const values = BigInt64Array.from(ids, BigInt);
        let isPrompt = true;
        await model.generate({
          inputs: new Tensor("int64", values, [1, ids.length]),
          max_new_tokens: tokens,
          do_sample: false,
          streamer: {
            put() {
              if (!isPrompt) controller.enqueue();
              isPrompt = false;
            },
            end() {},
          },
        });
        controller.close();
      },
    }),
});
