/** The models that can be had: the embedded one, those of the hub, which the browser keeps, and a file. */
import { ModelStore } from "../../browser.ts";
import { percent } from "../answer_stats.js";
import { button, make, notice, say } from "../dom.js";

/**
 * The list of models. An event `choose` has in `detail` what is to be loaded:
 * `{ title, source }`, as `openEngine` takes it.
 */
export class ModelsPanel extends EventTarget {
  #rows = [];
  #store;

  /** `models` are those of models.json, `endpoint` is the hub's address. */
  constructor(list, { endpoint, models }) {
    super();
    this.list = list;
    this.endpoint = endpoint;
    this.#add(
      { title: "tiny-bamboo", about: "ReLU-sparse, tells stories" },
      {},
    );
    for (const model of models) this.#addKept(model);
  }

  /** Finds out what is kept; models that are no longer offered are listed too. */
  async refresh() {
    const kept = await this.#opened().then((store) => store.list(), () => []);
    for (const { name, size } of kept) {
      if (this.#rows.some((row) => row.model.name === name)) continue;
      this.#addKept({ name, title: name.replace(/^hf:/, ""), about: "", size });
    }
    for (const row of this.#rows) {
      if (!row.model.name) continue;
      const found = kept.find(({ name }) => name === row.model.name);
      row.loaded = found?.loaded ?? 0;
      row.isWhole = found?.isWhole ?? false;
      row.show();
    }
  }

  /** Has the embedded model used. */
  begin() {
    this.#choose(this.#rows[0]);
  }

  /** Takes a file that was picked or dropped. */
  takeFile(file) {
    const others = this.#rows.filter(({ source }) => source.file);
    for (const { source, use } of others) if (use === "") this.forget(source);
    const model = { title: file.name, about: "a file of yours" };
    this.#choose(this.#add(model, { file }));
  }

  /** Lists a file no more: it cannot be used. */
  forget(source) {
    if (!source.file) return;
    const at = this.#rows.findIndex((row) => row.source === source);
    for (const { element } of this.#rows.splice(at, 1)) element.remove();
  }

  /** Says which one is used; `isLoading` where it will be. */
  mark(source, isLoading = false) {
    for (const row of this.#rows) {
      row.use = row.source !== source ? "" : isLoading ? "Loading…" : "In use";
      row.show();
    }
  }

  #add(model, source) {
    const row = new ModelRow(model, source, {
      use: () => this.#choose(row),
      get: () => this.#fetch(row),
      remove: () => this.#remove(row),
    });
    this.#rows.push(row);
    this.list.append(row.element);
    return row;
  }

  #addKept(model) {
    const source = { kept: model.name, endpoint: this.endpoint };
    return this.#add(model, source);
  }

  #choose({ model: { title }, source }) {
    const detail = { title, source };
    this.dispatchEvent(new CustomEvent("choose", { detail }));
  }

  #opened() {
    return this.#store ??= ModelStore.open();
  }

  /** Fetches a model, or what lacks of it, and has it used. */
  async #fetch(row) {
    const { name, title } = row.model;
    const stopping = row.stopping = new AbortController();
    const { signal } = stopping;
    const kind = `fetching ${name}`;
    notice("", { kind });
    row.show();
    try {
      const store = await this.#opened();
      const source = await store.open(name, {
        endpoint: this.endpoint,
        signal,
        onProgress: ({ loaded, total }) => {
          row.loaded = loaded;
          row.model.size = total;
          row.show();
        },
        onWarning: (warning) => notice(`${title}: ${warning}.`, { kind }),
      });
      try {
        await source.whole;
      } finally {
        await source.close();
      }
      notice("", { kind });
      say(`${title} is there`);
      row.stopping = undefined;
      this.#choose(row);
    } catch (error) {
      notice(signal.aborted ? "" : `${title}: ${error.message}.`, { kind });
    }
    row.stopping = undefined;
    await this.refresh();
  }

  async #remove(row) {
    try {
      await (await this.#opened()).delete(row.model.name);
      say(`${row.model.title} is deleted`);
    } catch (error) {
      notice(`${error.message}.`, { kind: "store" });
    }
    await this.refresh();
  }
}

/** One model: what it is, how far it is there, and what can be done with it. */
class ModelRow {
  loaded = 0;
  isWhole = false;
  /** What it is used for */
  use = "";
  /** Stops fetching, while that goes on */
  stopping;

  constructor(model, source, acts) {
    this.model = { ...model };
    this.source = source;
    this.title = make("h3");
    this.about = make("p", { class: "hint" });
    this.progress = make("progress", { max: 1 });
    this.buttons = {
      use: button("Use", acts.use),
      get: button("", acts.get),
      cancel: button("Cancel", () => this.stopping.abort()),
      remove: button("Delete", acts.remove),
    };
    this.state = make("p", { class: "use" });
    this.element = make(
      "li",
      { class: "model" },
      this.title,
      this.about,
      this.progress,
      make("div", { class: "row" }, this.state, ...Object.values(this.buttons)),
    );
    this.show();
  }

  /** Shows the state. */
  show() {
    const { title, about, size = 0, name } = this.model;
    const isFetched = this.stopping !== undefined;
    const isThere = !name || this.isWhole;
    const isPart = !isThere && this.loaded > 0;
    this.title.textContent = title ?? "";
    this.about.textContent = [
      about,
      isPart || isFetched
        ? `${megabytes(this.loaded)} of ${megabytes(size)} MB`
        : size > 0 && `${megabytes(size)} MB`,
    ].filter(Boolean).join(" · ");
    this.progress.hidden = !isFetched && !isPart;
    this.progress.value = size > 0 ? this.loaded / size : 0;
    this.progress.setAttribute(
      "aria-label",
      `${title}: ${percent(this.progress.value)} fetched`,
    );
    this.state.textContent = this.use;
    this.element.classList.toggle("used", this.use !== "");
    const { use, get, cancel, remove } = this.buttons;
    get.textContent = isPart ? "Resume" : "Get";
    this.#offer({
      use: isThere && !isFetched && this.use === "",
      get: !isThere && !isFetched,
      cancel: isFetched,
      remove: name && (isThere || isPart) && !isFetched && this.use === "",
    });
    for (const each of [use, get, cancel, remove]) {
      each.setAttribute("aria-label", `${each.textContent} ${title}`);
    }
  }

  /** Shows those buttons that do something; the focus does not get lost. */
  #offer(isOffered) {
    const all = Object.entries(this.buttons);
    const [focused] = all.find(([, each]) => each === document.activeElement) ??
      [];
    for (const [name, each] of all) each.hidden = !isOffered[name];
    if (!focused || isOffered[focused]) return;
    const next = all.find(([name]) => isOffered[name])?.[1];
    if (next) next.focus();
    else {
      this.title.tabIndex = -1;
      this.title.focus();
    }
  }
}

function megabytes(bytes) {
  return (bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0);
}
