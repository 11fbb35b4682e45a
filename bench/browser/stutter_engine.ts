/** The engine of the page that counts its frames: in a worker, as docs/browser.md shows it. */
import { answerPage, ModelStore } from "../../browser.ts";
import { load } from "../../mod.ts";
import { createServer } from "../../server.ts";

async function start() {
  const threads = Number(new URL(location.href).searchParams.get("threads"));
  const store = await ModelStore.open();
  const source = await store.open("model.gguf");
  return createServer(await load(source, { threads, contextSize: 2048 }));
}

answerPage(start());
