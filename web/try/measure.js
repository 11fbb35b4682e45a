/** Tokens per second of one text, in several modes by turns. */
import { percent } from "../answer_stats.js";

/** Runs of each mode that count. */
const rounds = 5;

/** Seconds that a run is to take, and the tokens that it has. */
const runSeconds = 0.3, fewestTokens = 24, mostTokens = 256;

/**
 * Measures engines by turns, `{ mode: engine }`, so that what else the machine
 * does falls on all alike. Gives the medians by mode; `onRun` is told how many
 * of all runs are done.
 */
export async function measure(engines, { signal, onWarm, onRun }) {
  const modes = Object.keys(engines);
  let slowest;
  // The first time, much is done once.
  for (let time = 0; time < 2; time++) {
    slowest = Infinity;
    for (const mode of modes) {
      const { perSecond } = await engines[mode].measure(fewestTokens, signal);
      slowest = Math.min(slowest, perSecond);
    }
  }
  onWarm();
  const tokens = Math.round(
    Math.min(mostTokens, Math.max(fewestTokens, runSeconds * slowest)),
  );
  const runs = Object.fromEntries(modes.map((mode) => [mode, []]));
  for (let round = 0; round < rounds; round++) {
    // Who comes first changes too.
    for (const mode of round % 2 ? modes.toReversed() : modes) {
      runs[mode].push(await engines[mode].measure(tokens, signal));
      const done = modes.reduce((sum, mode) => sum + runs[mode].length, 0);
      onRun(done, rounds * modes.length);
    }
  }
  const results = modes.map((mode) => [mode, {
    perSecond: median(runs[mode].map(({ perSecond }) => perSecond)),
    skippedShare: runs[mode][0].skippedShare,
  }]);
  return { tokens, rounds, ...Object.fromEntries(results) };
}

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2
    ? sorted[half]
    : (sorted[half - 1] + sorted[half]) / 2;
}

/** A speed as people read it. */
export function speedText(perSecond) {
  return perSecond.toFixed(perSecond < 100 ? 1 : 0);
}

/** What came out, in a sentence. */
export function resultText({ exact, dense }) {
  if (!exact) {
    return "This model's neurons are never exactly zero, so there is nothing to skip.";
  }
  const skipped = percent(exact.skippedShare);
  const times = exact.perSecond / dense.perSecond;
  return `${skipped} of all neurons are zero and skipped, which makes it ${
    times.toFixed(2)
  } times as fast; the text is the same.`;
}
