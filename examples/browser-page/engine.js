/** The engine, in a worker: loads the file that the page posts first, or the embedded model. */
import { answerPage, createServer, load, tinyBamboo } from "./culm.js";

async function start() {
  const file = await new Promise((resolve) => {
    addEventListener("message", ({ data }) => resolve(data), { once: true });
  });
  return createServer(await load(file ?? tinyBamboo()));
}

answerPage(start());
