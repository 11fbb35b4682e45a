/** The picture of neurons: a row for each layer, a column for each group of its neurons. */
import { make } from "./dom.js";

/** What is left of a neuron's light after a second, where things may move. */
const afterglow = 0.02;

/** Ms between two pictures at least: what is drawn on the CPU takes time from what computes. */
const frameInterval = 30;

/** What stays of it until the next tokens come. */
const rest = 0.6;

/** For which share of all tokens a group fires that is hot, where no profile says which are. */
const hotShare = 0.25;

/** Draws what fires on a canvas, in the colours of its key. */
export class NeuronsPicture {
  #layers;
  /** Whether a profile says which neurons are hot */
  #isProfiled = false;
  /** `[layers, buckets]`, 0 to 1: what was told last, and what is shown */
  #told = new Float32Array();
  #light = new Float32Array();
  /** `[layers, buckets]`: for how many tokens each has fired, and how many there were */
  #fired = new Float32Array();
  #tokens = 0;
  #frame;
  #last = 0;
  #small = document.createElement("canvas");
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(canvas, key) {
    this.canvas = canvas;
    this.key = key;
    const again = () => this.#paint();
    new ResizeObserver(again).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener(
      "change",
      again,
    );
    new MutationObserver(again).observe(document.documentElement, {
      attributeFilter: ["data-theme"],
    });
  }

  /** Columns that can be told apart. */
  get width() {
    const width = this.canvas.clientWidth || 320;
    return Math.round(width * globalThis.devicePixelRatio);
  }

  /** Takes what the layers are like. */
  begin({ layers, buckets }) {
    this.#layers = layers;
    this.#told = new Float32Array(layers.length * buckets);
    this.#light = this.#told.slice();
    this.#fired = this.#told.slice();
    this.#tokens = 0;
    this.#small.width = buckets;
    this.#small.height = layers.length;
    const isProfiled = this.#isProfiled = layers.some(({ hot }) => hot > 0);
    const kinds = [
      layers.some(({ gpu }) => gpu > 0) && ["gpu", "On the GPU"],
      ["hot", isProfiled ? "Hot, on the CPU" : "Fire for every fourth token"],
      layers.some(({ neurons, gpu, hot }) => neurons > gpu + hot) &&
      ["cold", isProfiled ? "Cold, on the CPU" : "Fire more seldom"],
    ];
    this.key.replaceChildren(
      ...kinds.filter(Boolean)
        .map(([kind, text]) => make("li", { class: kind }, text)),
    );
  }

  /** Shows nothing until something is told again. */
  clear() {
    this.#layers = undefined;
    this.canvas.width = 1;
    this.key.replaceChildren();
  }

  /** Shows for what share of some tokens each group has fired, `[layers, buckets]` bytes. */
  draw(bytes, tokens) {
    const isStill = this.#still.matches;
    this.#tokens += tokens;
    bytes.forEach((byte, i) => {
      this.#fired[i] += tokens * byte / 255;
      // By its root, what fires seldom is seen too.
      const now = this.#told[i] = Math.sqrt(byte / 255);
      this.#light[i] = isStill ? now : Math.max(now, this.#light[i]);
    });
    if (isStill) this.#paint();
    else this.#move();
  }

  /** Lets the light fade, as long as there is some. */
  #move() {
    this.#frame ??= requestAnimationFrame((time) => {
      this.#frame = undefined;
      if (time - this.#last < frameInterval) return this.#move();
      const seconds = Math.min(0.1, (time - this.#last) / 1000);
      this.#last = time;
      const left = afterglow ** seconds;
      let most = 0;
      this.#light.forEach((light, i) => {
        const end = rest * this.#told[i];
        most = Math.max(most, Math.abs(light - end));
        this.#light[i] = end + left * (light - end);
      });
      this.#paint();
      if (most > 0.01) this.#move();
    });
  }

  #paint() {
    if (!this.#layers) return;
    const { canvas } = this;
    const scale = globalThis.devicePixelRatio;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
    this.#paintOn(canvas.getContext("2d"), canvas, this.#light);
  }

  /** Paints what was told last on another canvas, from its top left corner on. */
  paintOn(context, size) {
    if (this.#layers) this.#paintOn(context, size, this.#told);
  }

  #paintOn(context, { width, height }, lights) {
    const small = this.#small, { width: buckets } = small;
    const colours = this.#colours();
    const image = new ImageData(buckets, small.height);
    this.#layers.forEach((layer, row) => {
      for (let i = 0; i < buckets; i++) {
        const at = row * buckets + i;
        const kind = this.#kindOf(
          layer,
          Math.floor(i * layer.neurons / buckets),
          at,
        );
        // The GPU counts none: its neurons are even.
        const light = kind === "gpu" ? 0.4 : lights[at];
        const [red, green, blue] = colours[kind];
        image.data.set([red, green, blue, Math.round(255 * light)], 4 * at);
      }
    });
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, width, height);
  }

  #kindOf({ gpu, hot }, neuron, at) {
    if (neuron < gpu) return "gpu";
    const isHot = this.#isProfiled
      ? neuron < gpu + hot
      : this.#fired[at] >= hotShare * this.#tokens;
    return isHot ? "hot" : "cold";
  }

  /** The colours of the key, as `[red, green, blue]`. */
  #colours() {
    const found = { gpu: [128, 0, 128], hot: [192, 0, 0], cold: [0, 0, 192] };
    for (const item of this.key.children) {
      const { backgroundColor } = getComputedStyle(item, "::before");
      const numbers = backgroundColor.match(/[\d.]+/g)?.map(Number);
      if (numbers?.length >= 3) found[item.className] = numbers.slice(0, 3);
    }
    return found;
  }
}
