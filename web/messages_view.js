/** The messages that are shown. */
import { statsText } from "./answer_stats.js";
import { sizeOf } from "./attachments.js";
import { button, make, say } from "./dom.js";
import { codeBlock, copy, renderMarkdown } from "./markdown.js";

/** Px from the end within which the view goes along with what is written. */
const nearEnd = 80;

const names = { user: "You", assistant: "Model" };

const endings = {
  stopped: "Stopped.",
  full: "It has as many tokens as it may.",
  interrupted: "The page was closed while this was written.",
  lost: "The server broke off here.",
};

/** Shows the path of a tree in an element. */
export class MessagesView {
  /** What is shown, by message */
  #shown = new Map();
  /** Blocks of the answer under way that were told to people who do not see it */
  #told = 0;
  contextSize;

  /** `acts` are what buttons of a message do: `regenerate`, `edit`, `show`. */
  constructor(element, acts) {
    this.element = element;
    this.acts = acts;
  }

  /** Shows the path of a tree anew; `isRunning` says whether something is being written. */
  show(tree, isRunning) {
    const focused = focusOf(document.activeElement);
    this.#shown.clear();
    this.element.replaceChildren(
      ...tree.path().map((message) => this.#make(message, tree, isRunning)),
    );
    if (this.#shown.size === 0) {
      this.element.append(
        make("p", { class: "hint empty" }, "Nothing has been said yet."),
      );
    }
    this.#refocus(focused);
  }

  /** Shows what has become of a message. */
  update(message) {
    const shown = this.#shown.get(message.id);
    if (!shown) return;
    const follows = this.#isNearEnd();
    fill(shown, message, this.contextSize);
    if (follows) this.toEnd();
  }

  /** Tells blocks of an answer to people who do not see it, each when it is complete. */
  tell(message, isDone = false) {
    const shown = this.#shown.get(message.id);
    if (!shown) return;
    const blocks = [...shown.text.children];
    const complete = isDone ? blocks.length : blocks.length - 1;
    const text = blocks.slice(this.#told, complete)
      .map(({ textContent }) => textContent).join("\n");
    if (text !== "") say(text);
    this.#told = isDone ? 0 : Math.max(this.#told, complete);
  }

  /** Goes to the last message. */
  toEnd() {
    this.element.scrollTop = this.element.scrollHeight;
    if (this.element.scrollHeight <= this.element.clientHeight) {
      this.element.lastElementChild?.scrollIntoView({ block: "end" });
    }
  }

  #isNearEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    if (scrollHeight > clientHeight) {
      return scrollHeight - scrollTop - clientHeight < nearEnd;
    }
    const { bottom } = this.element.getBoundingClientRect();
    return bottom - globalThis.innerHeight < 4 * nearEnd;
  }

  #make(message, tree, isRunning) {
    const { role, id, files = [] } = message;
    const text = make("div", { class: "text" });
    const reasoning = make("details", { class: "reasoning" });
    const state = make("p", { class: "state" });
    const stats = make("p", { class: "stats" });
    const article = make(
      "article",
      { class: `message ${role}`, "aria-labelledby": `name-${id}` },
      make("h3", { id: `name-${id}` }, names[role]),
      ...files.map(fileOf),
      reasoning,
      text,
      state,
      stats,
    );
    const shown = { article, text, reasoning, state, stats };
    this.#shown.set(id, shown);
    fill(shown, message, this.contextSize);
    if (message.state !== "writing") {
      article.append(this.#buttons(message, tree, isRunning));
    }
    return article;
  }

  #buttons(message, tree, isRunning) {
    const { role, id, content } = message;
    const siblings = tree.siblingsOf(message);
    const at = siblings.indexOf(message);
    const what = role === "user" ? "message" : "answer";
    const act = (name, text, label, onclick, disabled = false) =>
      button(text, onclick, { label, disabled, "data-act": `${id} ${name}` });
    const branches = siblings.length < 2 ? [] : [
      act(
        "before",
        "‹",
        `Previous ${what}`,
        () => this.acts.show(siblings[at - 1], "before"),
        at === 0,
      ),
      make(
        "span",
        { class: "branch" },
        `${at + 1} of ${siblings.length}`,
      ),
      act(
        "after",
        "›",
        `Next ${what}`,
        () => this.acts.show(siblings[at + 1], "after"),
        at === siblings.length - 1,
      ),
    ];
    return make(
      "div",
      { class: "row actions", role: "group", "aria-label": `This ${what}` },
      ...branches,
      act("copy", "Copy", `Copy this ${what}`, () => copy(content, "Text")),
      act(
        "edit",
        "Edit",
        `Edit this ${what}`,
        () => this.#edit(message),
        isRunning,
      ),
      ...role === "assistant"
        ? [
          act(
            "again",
            "Regenerate",
            "Regenerate this answer",
            () => this.acts.regenerate(message),
            isRunning,
          ),
        ]
        : [],
    );
  }

  #edit(message) {
    const { article, text } = this.#shown.get(message.id);
    const actions = article.querySelector(".actions");
    const area = make("textarea", { "aria-label": "Text", rows: 4 });
    area.value = message.content;
    const close = () => {
      form.remove();
      text.hidden = actions.hidden = false;
      actions.querySelector(`[data-act="${message.id} edit"]`).focus();
    };
    const form = make(
      "form",
      {
        class: "editor",
        onsubmit: (event) => {
          event.preventDefault();
          if (area.value.trim() === "") return area.focus();
          this.acts.edit(message, area.value);
        },
        onkeydown: (event) => {
          if (event.key !== "Escape") return;
          event.stopPropagation();
          close();
        },
      },
      area,
      make(
        "div",
        { class: "row end" },
        button("Cancel", close),
        make(
          "button",
          { type: "submit", class: "primary" },
          message.role === "user" ? "Send" : "Save",
        ),
      ),
    );
    text.hidden = actions.hidden = true;
    actions.before(form);
    area.focus();
  }

  #refocus(act) {
    if (!act) return;
    const find = (name) => {
      const found = this.element.querySelector(`[data-act="${name}"]`);
      return found?.disabled ? undefined : found;
    };
    (find(act) ?? this.element).focus();
  }

  /** Puts the focus on a button of a message. */
  focus(message, act) {
    const actions = this.#shown.get(message.id)?.article
      .querySelectorAll("[data-act]") ?? [];
    const all = [...actions].filter(({ disabled }) => !disabled);
    const right = all.find(({ dataset }) => dataset.act.endsWith(` ${act}`));
    (right ?? all[0] ?? this.element).focus();
  }
}

function focusOf(element) {
  return element?.dataset?.act;
}

function fill(
  { article, text, reasoning, state, stats },
  message,
  contextSize,
) {
  const { content, role, isJson, error } = message;
  article.setAttribute("aria-busy", String(message.state === "writing"));
  if (isJson && content !== "") {
    text.replaceChildren(codeBlock(content, "json"));
  } else if (role === "user") {
    text.classList.add("plain");
    text.textContent = content;
  } else renderMarkdown(text, content);
  fillReasoning(reasoning, message);
  state.textContent = error ?? endings[message.state] ??
    (message.state === "writing" && content === "" ? "…" : "");
  state.classList.toggle("error", error !== undefined);
  stats.textContent = message.stats?.tokens > 0
    ? statsText(message.stats, contextSize)
    : "";
}

function fillReasoning(element, { reasoning = "" }) {
  element.hidden = reasoning === "";
  if (element.hidden) return;
  if (element.children.length === 0) {
    element.append(make("summary", {}, "Thoughts"), make("div"));
  }
  renderMarkdown(element.lastElementChild, reasoning);
}

function fileOf({ name, size, text }) {
  return make(
    "details",
    { class: "file" },
    make("summary", {}, `${name}, ${sizeOf(size)}`),
    make("pre", { tabindex: 0, role: "group", "aria-label": name }, text),
  );
}
