/** An engine of the tests, which runs in a worker. */
import { load } from "@culm/culm";
import { answerPage } from "@culm/culm/browser";
import { createServer } from "@culm/culm/server";
import { tinyBamboo } from "@culm/tiny";

answerPage(
  load(tinyBamboo(), { threads: 1 }).then((model) => createServer(model)),
);
