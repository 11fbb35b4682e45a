/** The engine as the page sees it: a model in a worker. */
import { startEngine } from "../../browser.ts";

/** Ms that the page may be hidden before the engine's memory is freed; the next request loads the model again. */
const restAfter = 600_000;

/**
 * Starts an engine of a model. `source` is `{ file }`, `{ kept, endpoint }`, a
 * model of the store, or `{}`, the embedded one; `mode` is a sparsity's.
 */
export function openEngine(source, mode, onProgress = () => {}) {
  const engine = startEngine(() => {
    const worker = new Worker("worker.js", { type: "module" });
    worker.postMessage({ source, mode });
    worker.addEventListener("message", ({ data }) => {
      if (data.progress) onProgress(data.progress);
    });
    return worker;
  }, { restAfter });
  const ask = async (path, signal) => {
    const response = await engine.fetch(path, { signal });
    return await response.json();
  };
  return {
    fetch: engine.fetch,
    /** What the model is like, as soon as it is loaded; throws what loading throws. */
    describe: () => ask("/page/model"),
    /** Writes so many tokens of a text, always the same; says how fast, and how many neurons were skipped. */
    measure: (tokens, signal) => ask(`/page/measure?tokens=${tokens}`, signal),
    end: () => engine[Symbol.asyncDispose](),
  };
}
