/** Which share of each layer's neurons fires: a bar for each row of the picture beside it. */
import { percent } from "../answer_stats.js";
import { colourOf } from "./colours.js";

/** How much of what is shown is left when something new is told. */
const inertia = 0.7;

/** Px that a row has to have for its number to be written. */
const leastHeight = 13;

/** Draws the bars on a canvas. */
export class LayerShares {
  #shown = [];
  #frame;

  constructor(canvas) {
    this.canvas = canvas;
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener(
      "change",
      () => this.#draw(),
    );
  }

  /** Shows nothing. */
  clear() {
    this.#shown = [];
    this.#draw();
  }

  /** Takes what fired of each layer. */
  show(rows) {
    const isSame = rows.length === this.#shown.length;
    this.#shown = rows.map(({ fired, hot, cold }, i) => {
      const now = fired / (hot + cold || 1);
      return isSame ? inertia * this.#shown[i] + (1 - inertia) * now : now;
    });
    this.#draw();
  }

  #draw() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.#paint();
    });
  }

  #paint() {
    const { canvas } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = globalThis.devicePixelRatio;
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    const rows = this.#shown.length;
    if (rows === 0) return;
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const row = height / rows, thickness = Math.max(1, Math.min(8, row - 2));
    const isNumbered = row >= leastHeight;
    const end = isNumbered ? width - 40 : width;
    // A quarter, a half, three quarters, or all is the longest bar.
    const most = Math.ceil(4 * Math.max(0.01, ...this.#shown)) / 4;
    const accent = colourOf("--accent"), faint = colourOf("--faint");
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    this.#shown.forEach((share, i) => {
      const middle = row * (i + 0.5);
      const length = Math.max(1, end * share / most);
      context.fillStyle = accent;
      context.fillRect(0, middle - thickness / 2, length, thickness);
      if (!isNumbered) return;
      context.fillStyle = faint;
      context.fillText(percent(share), width, middle);
    });
  }
}
