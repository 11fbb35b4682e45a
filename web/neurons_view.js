/** Which neurons fire: the picture, and the same in words. */
import { percent } from "./answer_stats.js";
import { make } from "./dom.js";
import { eventsOf } from "./event_stream.js";
import { NeuronsPicture } from "./neurons_picture.js";

/** Ms between two times that the words change, so that they can be read. */
const wordInterval = 1000;

/** Groups of neurons that a layer is drawn in, at most. */
const mostBuckets = 512;

/** Shows what `/v1/neurons` tells in the elements of the page that are there for it. */
export class NeuronsView {
  #layers;
  /** What has fired since the words were written */
  #sum;
  #written = -wordInterval;
  #timer;

  /** `onFired` is told each time of each layer's neurons, and how many of them fired. */
  constructor({ onFired = () => {} } = {}) {
    this.onFired = onFired;
    this.picture = new NeuronsPicture(find("picture"), find("key"));
    find("table").closest("details").addEventListener(
      "toggle",
      () => this.#writeTable(),
    );
  }

  /**
   * Shows what fires until that is not told any more; `request` asks as that of
   * api.js does.
   */
  async watch(request, signal) {
    const buckets = Math.min(mostBuckets, this.picture.width);
    const path = `v1/neurons?buckets=${buckets}`;
    const response = await request(path, { signal });
    for await (const { event, data } of eventsOf(response)) {
      if (event === "layers") this.#begin(JSON.parse(data));
      else if (event === "fired") this.#take(JSON.parse(data));
    }
  }

  /** Forgets what was told: another model is used. */
  clear() {
    this.#sum = this.#layers = this.last = undefined;
    this.picture.clear();
    find("summary").textContent = "Nothing has been computed yet.";
    find("picture").setAttribute("aria-label", "Nothing yet");
    find("table").replaceChildren();
  }

  #begin(layers) {
    this.#layers = layers;
    this.#sum = undefined;
    this.picture.begin(layers);
  }

  #take({ tokens, layers, buckets }) {
    this.picture.draw(bytesOf(buckets), tokens);
    this.#sum ??= {
      tokens: 0,
      layers: layers.map(() => ({ hot: 0, cold: 0 })),
    };
    this.#sum.tokens += tokens;
    layers.forEach(({ hot, cold }, i) => {
      this.#sum.layers[i].hot += tokens * hot;
      this.#sum.layers[i].cold += tokens * cold;
    });
    this.onFired(this.#rows({ tokens: 1, layers }));
    const wait = this.#written + wordInterval - performance.now();
    this.#timer ??= setTimeout(() => this.#write(), Math.max(0, wait));
  }

  /** Writes what it was like since this was done last. */
  #write() {
    this.#timer = undefined;
    this.#written = performance.now();
    if (!this.#sum) return;
    const { counted } = this.#layers;
    const rows = this.#rows(this.#sum);
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

  #rows({ tokens, layers }) {
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
