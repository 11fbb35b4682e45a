/** Puts the page together. */
import { setWorkerUrl } from "../../browser.ts";
import { answerTo } from "../answer.js";
import { percent } from "../answer_stats.js";
import { askThrough, request } from "../api.js";
import { startComposer } from "../composer.js";
import { Conversation } from "../conversation.js";
import { button, byId, notice, say } from "../dom.js";
import { MessagesView } from "../messages_view.js";
import { NeuronsView } from "../neurons_view.js";
import { newSettings } from "../settings.js";
import { Passing } from "../store.js";
import { continuationOf } from "./continuation.js";
import { openEngine } from "./engine.js";
import { isolate, isolationText } from "./isolation.js";
import { LayerShares } from "./layer_shares.js";
import { speedText } from "./measure.js";
import { MeasurePanel } from "./measure_panel.js";
import { ModelsPanel } from "./models_panel.js";

/** How a text may begin, for models that answer and those that go on. */
const starters = {
  chat: [
    "Why is the sky blue?",
    "Write a haiku about bamboo.",
    "What is a neuron?",
  ],
  continuation: [
    "Once upon a time",
    "Tom had a red ball.",
    "Lily was sad because",
  ],
};

await isolate();
setWorkerUrl(new URL("culm-worker.js", location.href));

const view = new MessagesView(byId("messages"), {
  regenerate: (message) => conversation.regenerate(message),
  edit: (message, text) => conversation.edit(message, text),
  show: (message, act) => conversation.showBranch(message, act),
});
const conversation = new Conversation(new Passing(), view, answer);
const neurons = new NeuronsView({ onFired: showFired });
const shares = new LayerShares(byId("neurons-shares"));
const models = new ModelsPanel(
  byId("model-list"),
  await (await fetch("models.json")).json(),
);
const measuring = new MeasurePanel({
  picture: neurons.picture,
  begin: measured,
  onWarm: () => watching?.abort(),
  onBusy(isBusy) {
    byId("composer").inert = byId("model-list").inert = isBusy;
    if (!isBusy) watch();
  },
});

/** What is used: `{ title, source, engine, info }`; `info` is a promise of what the engine says of its model. */
let used;
/** Counts what was chosen; the last that could be loaded */
let chosen = 0, good;
/** Stops watching neurons. */
let watching;

/** Answers as the model can, as soon as it is there. */
async function* answer(path, options) {
  const { hasChatTemplate } = await used.info;
  yield* (hasChatTemplate ? answerTo : continuationOf)(path, options);
}

/** Has another model in place of the one that is used; where it cannot be loaded, that one again. */
async function use(choice) {
  const mine = ++chosen;
  conversation.stop();
  measuring.clear();
  await end();
  // Whoever has chosen again meanwhile goes on.
  if (mine !== chosen) return;
  try {
    await start(choice);
    if (mine === chosen) good = choice;
  } catch (error) {
    if (mine !== chosen) return;
    notice(`${choice.title}: ${error.message}.`, { kind: "model" });
    models.forget(choice.source);
    await end();
    byId("engine").textContent = "No model is loaded";
    models.mark(undefined);
    if (good && good !== choice) await use(good);
  }
}

async function start({ title, source }) {
  // It is loaded again when it has rested, of which nothing is said.
  let isLoaded = false;
  const engine = openEngine(source, "exact", ({ loaded, total }) => {
    if (isLoaded) return;
    byId("engine").textContent = `Loading ${title}: ${percent(loaded / total)}`;
  });
  byId("engine").textContent = `Loading ${title}…`;
  models.mark(source, true);
  used = { title, source, engine, info: engine.describe() };
  askThrough((path, init) => engine.fetch(`/${path}`, init));
  const info = await used.info;
  isLoaded = true;
  models.mark(source);
  byId("engine").textContent =
    `${title} · ${info.backend} · ${isolationText()}`;
  byId("prompt").placeholder = info.hasChatTemplate
    ? "Ask something"
    : "Begin a text: the model goes on";
  byId("send").textContent = info.hasChatTemplate ? "Send" : "Go on";
  view.contextSize = info.contextSize;
  conversation.begin(newSettings);
  showStarters(info);
  neurons.clear();
  shares.clear();
  for (const id of ["speed", "first", "share"]) byId(id).textContent = "–";
  say(`${title} is loaded`);
  watch();
}

async function end() {
  watching?.abort();
  await used?.engine.end();
}

/** Watches neurons as long as the page is looked at. */
async function watch() {
  watching?.abort();
  if (document.hidden) return;
  const mine = watching = new AbortController();
  // Where that ends, the engine does, and says why to those who ask it.
  await neurons.watch(request, mine.signal).catch(() => {});
  if (watching === mine) watching = undefined;
}

/** The model, in both modes where these differ. */
async function measured() {
  conversation.stop();
  const { title, source, engine, info } = used;
  const known = await info;
  const dense = known.isSparse ? openEngine(source, "dense") : engine;
  try {
    await dense.describe();
  } catch (error) {
    await dense.end();
    throw error;
  }
  const engines = known.isSparse ? { exact: engine, dense } : { dense };
  return {
    title,
    info: known,
    engines,
    end: () => known.isSparse ? dense.end() : undefined,
  };
}

/** Shows what fired just now. */
function showFired(rows) {
  shares.show(rows);
  const sum = (name) => rows.reduce((total, row) => total + row[name], 0);
  byId("share").textContent = percent(
    sum("fired") / (sum("hot") + sum("cold") || 1),
  );
}

function showStarters({ hasChatTemplate }) {
  const texts = starters[hasChatTemplate ? "chat" : "continuation"];
  byId("starters").replaceChildren(
    ...texts.map((text) =>
      button(text, () => {
        conversation.send(text);
        byId("prompt").focus();
      })
    ),
  );
}

conversation.addEventListener("running", () => {
  byId("starters").hidden = conversation.tree.size > 0;
  if (conversation.isRunning && !watching) watch();
});
conversation.addEventListener("written", ({ detail: { stats } }) => {
  if (stats.perSecond) byId("speed").textContent = speedText(stats.perSecond);
  if (stats.firstMs !== undefined) {
    byId("first").textContent = stats.firstMs.toFixed(0);
  }
});
document.addEventListener("visibilitychange", watch);
models.addEventListener("choose", ({ detail }) => {
  notice("", { kind: "model" });
  use(detail);
});

byId("file-open").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", ({ target }) => {
  const [file] = target.files;
  if (file) models.takeFile(file);
  target.value = "";
});
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) models.takeFile(file);
});

startComposer(conversation);
byId("chat-new").addEventListener("click", () => {
  conversation.stop();
  conversation.begin(newSettings);
  byId("prompt").focus();
});
conversation.begin(newSettings);
models.refresh();
models.begin();
