/** Which neurons fire, while the server computes: a picture, and the same in words. */
import { percent } from "./answer_stats.js";
import { request } from "./api.js";
import { make } from "./dom.js";
import { eventsOf } from "./event_stream.js";
import { NeuronsPicture } from "./neurons_picture.js";

/** Ms between two times that the words change, so that they can be read. */
const wordInterval = 1000;

/** Groups of neurons that a layer is drawn in, at most. */
const mostBuckets = 512;

/** Ms before the server is asked again. */
const patience = 2000;

const openName = "culm-neurons";

/** The panel, which watches as long as it is looked at. */
export class NeuronsPanel {
  #watching;
  #layers;
  /** What has fired since the words were written */
  #sum;
  #written = -wordInterval;
  #timer;

  constructor(panel, toggle) {
    this.panel = panel;
    this.toggle = toggle;
    this.picture = new NeuronsPicture(find("picture"), find("key"));
    toggle.addEventListener("click", () => {
      this.#show(panel.hidden);
      keep(panel.hidden ? "closed" : "open");
    });
    find("table").closest("details").addEventListener(
      "toggle",
      () => this.#writeTable(),
    );
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
    const buckets = Math.min(mostBuckets, this.picture.width);
    while (!signal.aborted) {
      try {
        const path = `v1/neurons?buckets=${buckets}`;
        const response = await request(path, { signal });
        for await (const { event, data } of eventsOf(response)) {
          if (event === "layers") this.#begin(JSON.parse(data));
          else if (event === "fired") this.#take(JSON.parse(data));
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 404) {
          find("summary").textContent = "This server does not tell.";
          return;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, patience));
    }
  }

  #begin(layers) {
    this.#layers = layers;
    this.#sum = undefined;
    this.picture.begin(layers);
  }

  #take({ tokens, layers, buckets }) {
    this.picture.draw(bytesOf(buckets));
    this.#sum ??= {
      tokens: 0,
      layers: layers.map(() => ({ hot: 0, cold: 0 })),
    };
    this.#sum.tokens += tokens;
    layers.forEach(({ hot, cold }, i) => {
      this.#sum.layers[i].hot += tokens * hot;
      this.#sum.layers[i].cold += tokens * cold;
    });
    const wait = this.#written + wordInterval - performance.now();
    this.#timer ??= setTimeout(() => this.#write(), Math.max(0, wait));
  }

  /** Writes what it was like since this was done last. */
  #write() {
    this.#timer = undefined;
    this.#written = performance.now();
    if (!this.#sum) return;
    const { counted } = this.#layers;
    const rows = this.#rows();
    this.#sum = undefined;
    const sum = (name) => rows.reduce((total, row) => total + row[name], 0);
    const fired = sum("fired") / (sum("hot") + sum("cold") || 1);
    const hot = sum("hot") > 0
      ? ` Of the hot ones ${
        percent(sum("firedHot") / sum("hot"))
      }, of the others ${percent(sum("firedCold") / (sum("cold") || 1))}.`
      : " Which are hot, no profile says.";
    const gpu = sum("gpu") > 0
      ? ` ${
        percent(sum("gpu") / sum("neurons"))
      } of all are on the GPU, which does not count them.`
      : "";
    const what = counted === "active"
      ? "of the CPU's neurons fire"
      : "of the CPU's neurons have a gate above zero (this model's are never exactly zero)";
    const text = `${percent(fired)} ${what}.${hot}${gpu}`;
    find("summary").textContent = text;
    find("picture").setAttribute(
      "aria-label",
      `${rows.length} layers from the first, at the top, to the last. ${text}`,
    );
    this.last = rows;
    this.#writeTable();
  }

  #rows() {
    const { tokens, layers } = this.#sum;
    return this.#layers.layers.map(({ neurons, gpu, hot }, i) => {
      const cold = neurons - gpu - hot;
      const firedHot = hot * layers[i].hot / tokens;
      const firedCold = cold * layers[i].cold / tokens;
      const fired = firedHot + firedCold;
      return { neurons, gpu, hot, cold, fired, firedHot, firedCold };
    });
  }

  #writeTable() {
    const place = find("table");
    if (!this.last || !place.closest("details").open) return;
    const cells = (tag, texts) =>
      make(
        "tr",
        {},
        ...texts.map((text, i) =>
          make(
            i === 0 || tag === "th" ? "th" : "td",
            { scope: tag === "th" ? "col" : i === 0 ? "row" : undefined },
            text,
          )
        ),
      );
    const head = ["Layer", "Neurons", "GPU", "Hot", "Fire", "Hot fire"];
    const rows = this.last.map((row, i) =>
      cells(
        "td",
        [
          i + 1,
          row.neurons,
          row.gpu,
          row.hot,
          percent(row.fired / (row.hot + row.cold || 1)),
          row.hot > 0 ? percent(row.firedHot / row.hot) : "–",
        ].map(String),
      )
    );
    place.replaceChildren(
      make(
        "table",
        {},
        make("thead", {}, cells("th", head)),
        make("tbody", {}, ...rows),
      ),
    );
  }
}

function find(name) {
  return document.getElementById(`neurons-${name}`);
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
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
