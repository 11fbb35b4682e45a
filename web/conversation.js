/** The chat that is open, and the answers that are being written, of this chat and others. */
import { AnswerClock } from "./answer_stats.js";
import { Lost } from "./api.js";
import { say } from "./dom.js";
import { newId, newTime } from "./ids.js";
import { MessageTree } from "./message_tree.js";

/** Ms between two times that an unfinished answer is kept. */
const keepInterval = 200;

/** Length of the titles that chats have of their first message. */
const titleLength = 48;

/** Ms that leaving the page may take; it may also be called off. */
const leaveTime = 2000;

/**
 * Events: `chats` where the list of chats has changed, `running`, `written` with
 * a message of which there is more, `lost`, `unkept` where the browser keeps no more.
 */
export class Conversation extends EventTarget {
  /** Answers under way by chat: `{ chat, tree, message, stopping }` */
  #running = new Map();
  #frame;
  #isLeaving = false;

  /** `answerTo` answers the messages of a path, as that of answer.js does. */
  constructor(store, view, answerTo) {
    super();
    this.store = store;
    this.view = view;
    this.answerTo = answerTo;
    // What fails while the page is being left does so for that.
    globalThis.addEventListener("beforeunload", () => {
      this.#isLeaving = true;
      setTimeout(() => this.#isLeaving = false, leaveTime);
    });
    // Whatever was written is there after a reload.
    globalThis.addEventListener("pagehide", () => {
      for (const { message } of this.#running.values()) {
        this.#put({ messages: [message] });
      }
    });
  }

  get isRunning() {
    return this.#running.has(this.chat.id);
  }

  /** Begins a chat, which is kept as soon as something is said in it. */
  begin(settings) {
    this.chat = {
      id: newId(),
      title: "New chat",
      created: newTime(),
      updated: newTime(),
      leaf: null,
      settings,
    };
    this.tree = new MessageTree();
    this.show();
  }

  /** Opens a chat of the store. */
  async open(chat) {
    const running = this.#running.get(chat.id);
    const messages = running ? [] : await this.store.messagesOf(chat.id);
    // Nothing writes it any more: a page was closed.
    for (const message of messages) {
      if (message.state === "writing") message.state = "interrupted";
    }
    this.chat = running?.chat ?? chat;
    this.tree = running?.tree ?? new MessageTree(messages, chat.leaf);
    this.show();
    this.view.toEnd();
  }

  /** Shows what has changed of the tree. */
  show() {
    this.view.show(this.tree, this.isRunning);
    this.#tell("running");
  }

  /** Puts other settings, or another title. */
  async change(change) {
    Object.assign(this.chat, change);
    if (this.tree.size > 0) await this.#put({ chats: [this.chat] });
    this.#tell("chats");
  }

  /** Says something, and has it answered. */
  async send(content, files = []) {
    const parent = this.tree.leaf;
    if (this.tree.size === 0) this.chat.title = titleOf(content, files);
    const message = this.#message({ parent, role: "user", content, files });
    await this.#answer(message);
  }

  /** Has the same question answered once more, in a branch of its own. */
  async regenerate({ parent }) {
    await this.#answer(this.tree.get(parent));
  }

  /** Puts another text in the place of a message, as a branch; what the user says is answered. */
  async edit({ role, parent, files, isJson }, content) {
    const message = this.#message({ parent, role, content, files, isJson });
    if (role === "user") return await this.#answer(message);
    await this.#keep(message);
    this.show();
    this.view.focus(message, "edit");
  }

  /** Shows another branch. */
  async showBranch(message, act) {
    this.tree.show(message.id);
    this.chat.leaf = this.tree.leaf;
    this.show();
    this.view.focus(message, act);
    await this.#put({ chats: [this.chat] });
  }

  /** Lets the answer of this chat be as it is. */
  stop() {
    this.#running.get(this.chat.id)?.stopping.abort();
  }

  /** Stops what is written to a chat that is no longer wanted. */
  forget(id) {
    this.#running.get(id)?.stopping.abort("forgotten");
    this.#running.delete(id);
  }

  #message(fields) {
    const message = {
      id: newId(),
      chat: this.chat.id,
      created: newTime(),
      state: "done",
      ...fields,
    };
    this.tree.add(message);
    return message;
  }

  /** Has a message of the user answered. */
  async #answer(question) {
    const { chat, tree } = this;
    const path = tree.path(question.id);
    const { settings } = chat;
    const message = this.#message({
      parent: question.id,
      role: "assistant",
      content: "",
      state: "writing",
      isJson: settings.form !== "text",
    });
    const stopping = new AbortController();
    this.#running.set(chat.id, { chat, tree, message, stopping });
    await this.#keep(question, message);
    this.#tell("chats");
    this.show();
    this.view.toEnd();
    const { signal } = stopping;
    const pieces = this.answerTo(path, { settings, signal });
    await this.#write(message, pieces, signal);
    if (signal.reason === "forgotten") return;
    this.#running.delete(chat.id);
    await this.#put({ messages: [message] });
    if (this.tree !== tree) return;
    const { activeElement } = document;
    this.show();
    if (activeElement === document.getElementById("stop")) {
      document.getElementById("prompt").focus();
    }
    this.view.tell(message, true);
  }

  async #write(message, pieces, signal) {
    const clock = new AnswerClock();
    let kept = performance.now(), last;
    try {
      for await (const piece of pieces) {
        if (piece.text ?? piece.reasoning) clock.count();
        else last = piece;
        message.content += piece.text ?? "";
        if (piece.reasoning) {
          message.reasoning = (message.reasoning ?? "") + piece.reasoning;
        }
        message.stats = clock.stats();
        this.#draw(message);
        if (performance.now() - kept < keepInterval) continue;
        kept = performance.now();
        this.#put({ messages: [message] });
      }
      message.state = last.finish === "length" ? "full" : "done";
    } catch (error) {
      if (signal.aborted) message.state = "stopped";
      else if (this.#isLeaving) message.state = "interrupted";
      else if (error instanceof Lost) {
        message.state = "lost";
        this.#tell("lost");
        say("The server broke off");
      } else {
        message.state = "failed";
        message.error = `${error.message}.`;
        say(message.error);
      }
    }
    message.stats = clock.stats(last);
    this.#tell("written", message);
  }

  /** Shows a message in the next frame. */
  #draw(message) {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      if (message.state !== "writing") return;
      this.view.update(message);
      this.view.tell(message);
      this.#tell("written", message);
    });
  }

  async #keep(...messages) {
    this.chat.leaf = this.tree.leaf;
    this.chat.updated = newTime();
    await this.#put({ chats: [this.chat], messages });
  }

  async #put(what) {
    try {
      await this.store.put(what);
    } catch {
      this.#tell("unkept");
    }
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function titleOf(content, files) {
  const [line] = content.trim().split("\n");
  const title = line || files[0]?.name || "New chat";
  return title.length <= titleLength
    ? title
    : `${title.slice(0, titleLength - 1)}…`;
}
