import assert from "node:assert/strict";
import {
  bambooCdf,
  firingProbabilities,
  gatePower,
} from "../../../src/plan/firing.ts";

/** The share of all activations that the hottest neurons take. */
function shareOf(probabilities: Float64Array, hottest: number): number {
  const count = Math.round(hottest * probabilities.length);
  return sum(probabilities.subarray(0, count)) / sum(probabilities);
}

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}

const layers = firingProbabilities(32, 14336, 0.15);

Deno.test("on average over the layers, activations are distributed as Bamboo's", () => {
  for (const [hottest, share] of bambooCdf) {
    const mean = layers.reduce(
      (total, layer) => total + shareOf(layer, hottest) / layers.length,
      0,
    );
    assert.ok(
      Math.abs(mean - share) < 0.02,
      `${hottest}: ${mean}, not ${share}`,
    );
  }
});

Deno.test("layer 21 is the steepest and layer 31 the flattest, as Bamboo's are", () => {
  const shares = layers.map((layer) => shareOf(layer, 0.1));
  assert.equal(shares.indexOf(Math.max(...shares)), 21);
  assert.equal(shares.indexOf(Math.min(...shares)), 31);
});

Deno.test("every layer has the mean asked for, in probabilities from the hottest down", () => {
  for (const active of [0.02, 0.15, 0.5, 0.9]) {
    for (const layer of firingProbabilities(4, 1000, active)) {
      assert.ok(Math.abs(sum(layer) / layer.length - active) < 1e-6);
      assert.ok(
        layer.every((p, i) => p > 0 && p < 1 && p <= (layer[i - 1] ?? 1)),
      );
    }
  }
});

Deno.test("the gate's power gives the share of positive gates", () => {
  const power = gatePower(layers, 0.39);
  const share = layers.reduce(
    (total, layer) => total + sum(layer.map((p) => p ** power)) / layer.length,
    0,
  ) / layers.length;
  assert.ok(Math.abs(share - 0.39) < 1e-6);
});
