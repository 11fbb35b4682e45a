/**
 * The block of timings that follows a text, in llama.cpp's form, and what was
 * computed and read.
 *
 * @module
 */
import type { LanguageModel, Summary } from "../mod.ts";
import {
  bytesRead,
  type CountName,
  doubtOfStats,
  type PlaceStats,
  totalOf,
} from "../lab.ts";
import { formatBytes, formatShare } from "./format.ts";
import { note } from "./terminal.ts";

/** Adds up one or more generations of one run. */
export class Timings {
  readonly #loadMs: number;
  readonly #start = performance.now();
  #promptTokens = 0;
  #promptMs = 0;
  #evalTokens = 0;
  #evalMs = 0;
  #draftedTokens = 0;
  #acceptedTokens = 0;
  #firstTokenMs?: number;
  #computedRows = 0;
  #totalRows = 0;
  #evalBytes = 0;
  #fileBytes = 0;
  #readExperts = 0;
  #missedExperts = 0;
  #askedRows = 0;
  #missedRows = 0;

  /** `loadMs` is what loading took. */
  constructor(loadMs: number) {
    this.#loadMs = loadMs;
  }

  /** Adds what a generation took; `firstTokenMs` where it gave a token. */
  add(summary: Summary, firstTokenMs?: number): void {
    this.#promptTokens += summary.promptTokens - summary.cachedTokens;
    this.#promptMs += summary.promptMs;
    // The first token comes out of the prompt's evaluation.
    const { draftedTokens, acceptedTokens } = summary;
    // Those that were drafted in vain are no tokens of the text.
    this.#evalTokens += summary.completionStats.tokens - draftedTokens +
      acceptedTokens;
    this.#draftedTokens += draftedTokens;
    this.#acceptedTokens += acceptedTokens;
    this.#evalMs += summary.completionMs;
    this.#firstTokenMs ??= firstTokenMs;
    this.#evalBytes += bytesRead(summary.completionStats);
    const count = (name: CountName) => totalOf(summary.completionStats, name);
    this.#fileBytes += count("fileBytes");
    this.#readExperts += count("readExperts");
    this.#missedExperts += count("missedExperts");
    this.#askedRows += count("askedRows");
    this.#missedRows += count("missedRows");
    const { computed, total } = ffnRows(summary.completionStats);
    this.#computedRows += computed;
    this.#totalRows += total;
  }

  /** The block, without a line feed at its end. */
  toString(): string {
    const totalMs = this.#loadMs + performance.now() - this.#start;
    const lines: [string, string][] = [
      ["load time", milliseconds(this.#loadMs)],
      ["prompt eval time", rate(this.#promptMs, this.#promptTokens, "tokens")],
      ["eval time", rate(this.#evalMs, this.#evalTokens, "runs")],
      ["total time", milliseconds(totalMs)],
    ];
    if (this.#firstTokenMs !== undefined) {
      lines.push(["first token after", milliseconds(this.#firstTokenMs)]);
    }
    if (this.#draftedTokens > 0) {
      const share = formatShare(this.#acceptedTokens, this.#draftedTokens);
      lines.push([
        "drafts",
        `${
          share.padStart(12)
        } accepted (${this.#acceptedTokens} of ${this.#draftedTokens} tokens)`,
      ]);
    }
    if (this.#evalTokens > 0) {
      const skipped = this.#totalRows - this.#computedRows;
      const bytes = Math.round(this.#evalBytes / this.#evalTokens);
      if (skipped > 0) {
        const share = formatShare(skipped, this.#totalRows);
        lines.push(["FFN rows skipped", `${share.padStart(12)} in each run`]);
      }
      lines.push([
        "weights and KV read",
        `${formatBytes(bytes).padStart(12)} in each run`,
      ]);
      if (this.#fileBytes > 0) {
        const bytes = Math.round(this.#fileBytes / this.#evalTokens);
        const [asked, missed, what] = this.#readExperts > 0
          ? [this.#readExperts, this.#missedExperts, "experts"]
          : [this.#askedRows, this.#missedRows, "rows asked for"];
        lines.push([
          "read from the file",
          `${formatBytes(bytes).padStart(12)} in each run; ${
            formatShare(asked - missed, asked)
          } of the ${what} were in memory`,
        ]);
      }
    }
    return lines.map(([name, text]) => `${name.padStart(19)} = ${text}`).join(
      "\n",
    );
  }
}

/** Warns where what was computed looks like another activation's. */
export function warnOfActivation({ model, engine }: LanguageModel): void {
  const doubt = doubtOfStats(model, engine.stats());
  if (doubt) note(`warning: ${doubt}`);
}

/** Rows of gate, up and down that were computed, of those that a dense run computes. */
export function ffnRows(
  stats: PlaceStats,
): { computed: number; total: number } {
  const gates = totalOf(stats, "gateRows");
  return {
    computed: gates + totalOf(stats, "upRows") + totalOf(stats, "downRows"),
    // An FFN without a gate has two.
    total: (gates > 0 ? 3 : 2) * totalOf(stats, "neurons"),
  };
}

function milliseconds(ms: number): string {
  return `${ms.toFixed(2).padStart(10)} ms`;
}

function rate(ms: number, count: number, unit: string): string {
  const each = count > 0 ? ms / count : 0;
  const perSecond = ms > 0 ? 1000 * count / ms : 0;
  return `${milliseconds(ms)} / ${String(count).padStart(5)} ${
    unit.padEnd(6)
  } (${each.toFixed(2).padStart(8)} ms per token, ${
    perSecond.toFixed(2).padStart(9)
  } tokens per second)`;
}
