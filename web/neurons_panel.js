/** The panel of neurons that fire, while the server computes. */
import { request } from "./api.js";
import { byId } from "./dom.js";
import { NeuronsView } from "./neurons_view.js";

/** Ms before the server is asked again. */
const patience = 2000;

const openName = "culm-neurons";

/** The panel, which watches as long as it is looked at. */
export class NeuronsPanel {
  #watching;

  constructor(panel, toggle) {
    this.panel = panel;
    this.toggle = toggle;
    this.view = new NeuronsView();
    toggle.addEventListener("click", () => {
      this.#show(panel.hidden);
      keep(panel.hidden ? "closed" : "open");
    });
    document.addEventListener("visibilitychange", () => this.restart());
    const wide = matchMedia("(min-width: 75rem)").matches;
    this.#show(kept() ? kept() === "open" : wide);
  }

  /** Watches anew, where the panel is looked at. */
  restart() {
    this.#watching?.abort();
    this.#watching = undefined;
    if (this.panel.hidden || document.hidden) return;
    this.#watching = new AbortController();
    this.#watch(this.#watching.signal);
  }

  #show(isShown) {
    this.panel.hidden = !isShown;
    this.toggle.setAttribute("aria-expanded", String(isShown));
    this.restart();
  }

  async #watch(signal) {
    while (!signal.aborted) {
      try {
        await this.view.watch(request, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 404) {
          byId("neurons-summary").textContent = "This server does not tell.";
          return;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, patience));
    }
  }
}

function kept() {
  try {
    return localStorage.getItem(openName);
  } catch {
    return null;
  }
}

function keep(value) {
  try {
    localStorage.setItem(openName, value);
  } catch {
    // The browser keeps nothing.
  }
}
