/** The list of chats: opened, renamed, deleted, exported and imported there. */
import { chatFile, download, importLimit, readChatFile } from "./chat_file.js";
import { sizeOf } from "./attachments.js";
import { ask, button, byId, make, notice, say } from "./dom.js";
import { newSettings } from "./settings.js";

/** Shows the chats of a store, and which of them is open. */
export class ChatList {
  #chats = [];

  constructor(store, conversation) {
    this.store = store;
    this.conversation = conversation;
    byId("chat-new").addEventListener("click", () => this.begin());
    byId("import").addEventListener("click", () => byId("import-file").click());
    byId("import-file").addEventListener("change", async ({ target }) => {
      const [file] = target.files;
      if (file) await this.#import(file);
      target.value = "";
    });
    byId("export-all").addEventListener("click", () => this.#exportAll());
    conversation.addEventListener("chats", () => this.refresh());
  }

  /** Reads the store, and opens a chat of it: that of the address, or the latest. */
  async start() {
    this.#chats = await this.#read();
    const id = location.hash.slice("#chat-".length);
    const chat = this.#chats.find((chat) => chat.id === id) ?? this.#chats[0];
    if (chat) await this.#open(chat);
    else this.begin();
  }

  /** Begins a chat with the settings of the one that is open. */
  begin() {
    const { chat } = this.conversation;
    this.conversation.begin(structuredClone(chat?.settings ?? newSettings));
    this.#show();
    byId("prompt").focus();
  }

  async refresh() {
    this.#chats = await this.#read();
    this.#show();
  }

  async #read() {
    const chats = await this.store.chats();
    return chats.sort((a, b) => b.updated - a.updated);
  }

  async #open(chat) {
    await this.conversation.open(chat);
    this.#show();
  }

  #show() {
    const { chat: open } = this.conversation;
    byId("chat-title").textContent = open.title;
    document.title = `${open.title} – culm`;
    history.replaceState(null, "", `#chat-${open.id}`);
    const { activeElement } = document;
    const focused = activeElement?.dataset?.chat;
    byId("chat-list").replaceChildren(
      ...this.#chats.map((chat) => this.#item(chat, chat.id === open.id)),
    );
    if (focused) {
      byId("chat-list").querySelector(`[data-chat="${focused}"]`)?.focus();
    }
    byId("export-all").disabled = this.#chats.length === 0;
  }

  #item(chat, isOpen) {
    const { id, title } = chat;
    const act = (text, label, onclick) =>
      button(text, onclick, {
        label: `${label} ${title}`,
        "data-chat": `${id} ${text}`,
      });
    return make(
      "li",
      {},
      button(title, () => this.#open(chat), {
        class: "chat",
        "aria-current": isOpen ? "page" : undefined,
        "data-chat": id,
      }),
      isOpen
        ? make(
          "div",
          { class: "row", role: "group", "aria-label": title },
          act("Rename", "Rename", () => this.#rename(chat)),
          act("Export", "Export", () => this.#export([chat], title)),
          act("Delete", "Delete", () => this.#delete(chat)),
        )
        : undefined,
    );
  }

  async #rename({ title }) {
    const input = make("input", {
      id: "new-title",
      maxlength: 200,
      required: true,
      value: title,
    });
    const name = await ask("Rename the chat", [
      make("label", { for: "new-title" }, "Name"),
      input,
    ], { action: "Rename", onsubmit: () => input.value.trim() || undefined });
    if (name !== undefined) await this.conversation.change({ title: name });
  }

  async #delete({ id, title }) {
    const isSure = await ask("Delete the chat", [
      make("p", {}, `“${title}” and all its branches are deleted for good.`),
    ], { action: "Delete", isDanger: true });
    if (!isSure) return;
    this.conversation.forget(id);
    await this.store.delete(id);
    this.#chats = await this.#read();
    if (this.#chats.length > 0) await this.#open(this.#chats[0]);
    else this.begin();
    say("Deleted");
    byId("chat-new").focus();
  }

  async #exportAll() {
    await this.#export(await this.#read(), "culm chats");
  }

  async #export(chats, name) {
    const whole = await Promise.all(chats.map(async (chat) => ({
      ...chat,
      messages: (await this.store.messagesOf(chat.id))
        .sort((a, b) => a.created - b.created),
    })));
    download(chatFile(whole), name);
    say("Exported");
  }

  async #import(file) {
    try {
      if (file.size > importLimit) {
        throw new Error(
          `it has ${sizeOf(file.size)}, more than ${sizeOf(importLimit)}`,
        );
      }
      const read = readChatFile(await file.text());
      await this.store.put({
        chats: read.map(({ chat }) => chat),
        messages: read.flatMap(({ messages }) => messages),
      });
      await this.refresh();
      if (read.length > 0) await this.#open(read[0].chat);
      const said = `${read.length} chat${
        read.length === 1 ? "" : "s"
      } imported`;
      notice("", { kind: "import" });
      say(said);
    } catch ({ message }) {
      notice(`Cannot import ${file.name}: ${message}.`, { kind: "import" });
    }
  }
}
