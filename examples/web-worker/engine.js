/** The engine, in a worker: loads the file that the page posts first, or the embedded model. */
import { answerPage } from "./node_modules/@culm/culm/browser.js";
import { load } from "./node_modules/@culm/culm/mod.js";
import { createServer } from "./node_modules/@culm/culm/server.js";
import { tinyBamboo } from "./node_modules/@culm/tiny/tiny.js";

async function start() {
  const file = await new Promise((resolve) => {
    addEventListener("message", ({ data }) => resolve(data), { once: true });
  });
  return createServer(await load(file ?? tinyBamboo()));
}

answerPage(start());
