/** Puts the page together. */
import { answerTo } from "./answer.js";
import { request } from "./api.js";
import { Attachments } from "./attachments.js";
import { ChatList } from "./chat_list.js";
import { showConnection, startComposer } from "./composer.js";
import { Connection } from "./connection.js";
import { Conversation } from "./conversation.js";
import { byId, notice } from "./dom.js";
import { MessagesView } from "./messages_view.js";
import { NeuronsPanel } from "./neurons_panel.js";
import { applyTheme, askForSettings } from "./settings.js";
import { openStore } from "./store.js";

applyTheme();
const store = await openStore();
const view = new MessagesView(byId("messages"), {
  regenerate: (message) => conversation.regenerate(message),
  edit: (message, text) => conversation.edit(message, text),
  show: (message, act) => conversation.showBranch(message, act),
});
const conversation = new Conversation(store, view, answerTo);
const chats = new ChatList(store, conversation);
startComposer(conversation, new Attachments());
await chats.start();
if (!store.isKept) {
  notice("The browser keeps no chats here: export what you need.", {
    kind: "store",
  });
}

const connection = new Connection();
conversation.addEventListener("lost", () => connection.check());
const neurons = new NeuronsPanel(byId("neurons"), byId("neurons-toggle"));
connection.addEventListener("change", async () => {
  showConnection(connection);
  if (connection.state !== "ready") return;
  neurons.restart();
  try {
    const models = await (await request("v1/models")).json();
    const [{ id, meta }] = models.data;
    byId("model").textContent = id;
    view.contextSize = meta?.n_ctx;
    if (!conversation.isRunning) conversation.show();
  } catch {
    // Without its name, the model answers as well.
  }
});

byId("settings-open").addEventListener("click", async () => {
  const settings = await askForSettings(conversation.chat.settings);
  if (settings) await conversation.change({ settings });
});

/** The list of chats lies over a narrow page: there it is shown when asked for. */
const wide = matchMedia("(min-width: 48rem)");
const showChats = (isShown) => {
  byId("chats").hidden = !isShown;
  byId("chats-toggle").setAttribute("aria-expanded", String(isShown));
};
showChats(wide.matches);
wide.addEventListener("change", () => showChats(wide.matches));
byId("chats-toggle").addEventListener(
  "click",
  () => showChats(byId("chats").hidden),
);
byId("chat-list").addEventListener("click", ({ target }) => {
  if (!wide.matches && target.closest(".chat")) {
    showChats(false);
    byId("prompt").focus();
  }
});
