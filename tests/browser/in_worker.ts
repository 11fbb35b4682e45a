/** An engine of the tests, which runs in a worker. */
import { answerPage } from "../../browser.ts";
import { load } from "../../mod.ts";
import { createServer } from "../../server.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";

answerPage(
  load(tinyBamboo(), { threads: 1 }).then((model) => createServer(model)),
);
