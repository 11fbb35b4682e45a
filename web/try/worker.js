/** The engine, in a worker: loads what the page has posted, and answers the page. */
import { answerPage, ModelStore, setWorkerUrl } from "../../browser.ts";
import { isSparse } from "../../gguf.ts";
import { totalOf } from "../../lab.ts";
import { load } from "../../mod.ts";
import { createServer } from "../../server.ts";

setWorkerUrl(new URL("culm-worker.js", location.href));

/** What is measured goes on from here: a text of no special kind. */
const prompt = "Once upon a time there was a little girl who";

/** Opens a file, a model of the store, or the embedded one. */
async function open({ file, kept, endpoint }) {
  if (file) return file;
  if (kept) return await (await ModelStore.open()).open(kept, { endpoint });
  const { tinyBamboo } = await import("../../tiny/tiny.ts");
  return tinyBamboo();
}

async function start({ source, mode }) {
  const model = await load(await open(source), {
    sparsity: { mode },
    onProgress: (progress) => postMessage({ progress }),
  });
  const server = createServer(model);
  const own = {
    "/page/model": () => describe(model),
    "/page/measure": (request) => measure(model, request),
  };
  return {
    async fetch(request) {
      const answer = own[new URL(request.url).pathname];
      return answer
        ? Response.json(await answer(request))
        : await server.fetch(request);
    },
  };
}

/** What the page says of a model. */
function describe({ model, engine, backend, hasChatTemplate }) {
  return {
    layers: model.layers.length,
    neurons: model.layers.length * model.feedForwardSize,
    isSparse: isSparse(model.activation),
    contextSize: engine.contextSize,
    backend,
    hasChatTemplate,
  };
}

/** Writes so many tokens as one is asked for, and says how fast that was. */
async function measure(model, { url, signal }) {
  let summary;
  const text = model.generate(prompt, {
    maxTokens: Number(new URL(url).searchParams.get("tokens")),
    ignoreEos: true,
    temperature: 0,
    speculation: "none",
    signal,
    onFinish: (each) => summary = each,
  });
  for await (const _ of text);
  signal.throwIfAborted();
  const { completionTokens, completionMs, completionStats } = summary;
  const total = (name) => totalOf(completionStats, name);
  const read = Math.min(total("upRows"), total("downRows"));
  return {
    // The first token comes out of the prompt's evaluation.
    perSecond: 1000 * (completionTokens - 1) / completionMs,
    skippedShare: 1 - read / total("neurons"),
  };
}

answerPage(
  new Promise((resolve) => {
    const onPosted = ({ data }) => resolve(start(data));
    addEventListener("message", onPosted, { once: true });
  }),
);
