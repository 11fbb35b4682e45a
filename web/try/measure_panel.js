/** Measures the model that is used, and makes a picture of what came out. */
import { byId, notice, say } from "../dom.js";
import { drawCard } from "./card.js";
import { machineText } from "./machine.js";
import { measure, resultText, speedText } from "./measure.js";

/** The part of the page where that is done. */
export class MeasurePanel {
  #stopping;
  #result;

  /**
   * `begin` gives what is measured, `{ title, info, engines, end }`; what has to
   * be still meanwhile is told by `onBusy`, and by `onWarm` what the warm-up may
   * have. `picture` is the neurons'.
   */
  constructor({ picture, begin, onWarm, onBusy }) {
    this.picture = picture;
    this.begin = begin;
    this.onWarm = onWarm;
    this.onBusy = onBusy;
    this.canvas = byId("card");
    byId("measure-machine").textContent = machineText();
    byId("measure-start").addEventListener("click", () => this.#start());
    byId("measure-stop").addEventListener(
      "click",
      () => this.#stopping?.abort(),
    );
    byId("card-save").addEventListener("click", () => this.#save());
    byId("card-copy").addEventListener("click", () => this.#copy());
    byId("card-share").addEventListener("click", () => this.#share());
    byId("card-copy").hidden = !globalThis.ClipboardItem;
    byId("card-share").hidden = !canShare();
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", () => this.#draw());
  }

  /** Nothing is known of this model. */
  clear() {
    this.#stopping?.abort();
    this.#result = undefined;
    byId("measure-result").hidden = true;
  }

  async #start() {
    this.clear();
    const { signal } = this.#stopping = new AbortController();
    this.#show(true);
    notice("", { kind: "measure" });
    let measured;
    try {
      measured = await this.begin();
      signal.throwIfAborted();
      const result = await measure(measured.engines, {
        signal,
        onWarm: this.onWarm,
        onRun: (done, all) => {
          byId("measure-progress").value = done / all;
        },
      });
      this.#result = { ...measured, ...result, machine: machineText() };
      this.#write();
    } catch (error) {
      if (!signal.aborted) notice(`${error.message}.`, { kind: "measure" });
    } finally {
      await measured?.end();
      this.#show(false);
    }
  }

  #show(isBusy) {
    const hadFocus = byId("measure").contains(document.activeElement);
    byId("measure-start").hidden = isBusy;
    byId("measure-stop").hidden = !isBusy;
    byId("measure-progress").hidden = !isBusy;
    byId("measure-progress").value = 0;
    if (hadFocus) byId(isBusy ? "measure-stop" : "measure-start").focus();
    this.onBusy(isBusy);
  }

  #write() {
    const { exact, dense, tokens, rounds } = this.#result;
    byId("measure-result").hidden = false;
    byId("measure-sparse").hidden = !exact;
    const most = Math.max(dense.perSecond, exact?.perSecond ?? 0);
    for (const [name, result] of Object.entries({ sparse: exact, dense })) {
      if (!result) continue;
      byId(`measure-${name}-speed`).textContent = speedText(result.perSecond);
      byId(`measure-${name}-bar`).value = result.perSecond / most;
    }
    byId("measure-words").textContent = `${
      resultText(this.#result)
    } Medians of ${rounds} runs of ${tokens} tokens each, ${
      exact ? "both modes by turns, " : ""
    }the prompt left out.`;
    say(byId("measure-words").textContent);
    this.#draw();
  }

  #draw() {
    if (this.#result) drawCard(this.canvas, this.picture, this.#result);
  }

  async #image() {
    const blob = await new Promise((resolve) => this.canvas.toBlob(resolve));
    const name = this.#result.title.replaceAll(/[^\w.-]+/g, "-");
    return new File([blob], `culm-${name}.png`, { type: blob.type });
  }

  async #save() {
    const file = await this.#image();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = file.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  async #copy() {
    try {
      const item = new ClipboardItem({ "image/png": this.#image() });
      await navigator.clipboard.write([item]);
      say("Picture copied");
    } catch (error) {
      notice(`Cannot copy the picture: ${error.message}.`, { kind: "measure" });
    }
  }

  async #share() {
    try {
      await navigator.share({ files: [await this.#image()] });
    } catch (error) {
      // Who shares may think better of it.
      if (error.name === "AbortError") return;
      notice(`Cannot share the picture: ${error.message}.`, {
        kind: "measure",
      });
    }
  }
}

function canShare() {
  const file = new File([], "culm.png", { type: "image/png" });
  return navigator.canShare?.({ files: [file] }) ?? false;
}
