/** What tokens choose on a device, beside what `chooseExperts` makes of the same scores. */
import assert from "node:assert/strict";
import {
  chooseExperts as chooseHere,
  type Routing,
} from "../../../src/model/experts.ts";
import {
  chooseExperts,
  chooseExpertsGrid,
} from "../../../src/places/gpu/kernels/experts.ts";
import { stepWords } from "../../../src/places/gpu/kernels/step_words.ts";
import { testWithAdapter } from "../../helpers/adapter.ts";
import { gaussianVector } from "../../helpers/seeded_random.ts";
import { Bench } from "./on_device.ts";

const routings: Routing[] = [
  { used: 3, scoring: "softmax", isNormalised: true, scale: 1 },
  { used: 8, scoring: "softmax", isNormalised: false, scale: 1 },
  { used: 1, scoring: "sigmoid", isNormalised: true, scale: 1.5 },
  { used: 70, scoring: "sigmoid", isNormalised: false, scale: 2 },
  { used: 7, shared: 3, scoring: "softmax", isNormalised: false, scale: 2 },
];

/** Many ties, few of the largest; both zeros, what is infinite, and what is no number. */
const rows = [
  gaussianVector(100, 1),
  gaussianVector(100, 2).map(Math.round),
  new Float32Array(100),
  gaussianVector(100, 3).map((value, i) => i % 2 ? value : -0),
  gaussianVector(100, 4).map((value, i) => i % 9 === 5 ? -200 : value),
  gaussianVector(100, 5).map((value, i) => i === 41 ? NaN : value),
];

for (const routing of routings) {
  testWithAdapter(
    `experts are chosen: ${JSON.stringify(routing)}`,
    async () => {
      const { used, shared = 0, scoring, isNormalised, scale } = routing;
      const record = stepWords.record_angles + 2 * used, stride = 256;
      const words = new Uint32Array(
        stepWords.header_words + rows.length * record,
      );
      words[stepWords.token_words] = record;
      using bench = await Bench.open(words);
      const { pipelines, uniforms, step } = bench.context;
      const all = new Float32Array(rows.length * stride);
      rows.forEach((row, t) => all.set(row, t * stride));
      const bytes = await bench.run(() =>
        bench.commands.dispatch(
          pipelines.get(chooseExperts, {
            sigmoid: scoring === "sigmoid",
            normalised: isNormalised,
          }),
          pipelines.bind(chooseExperts, {
            step,
            params: uniforms.add(chooseExperts, {
              experts: 100 - shared,
              used: used - shared,
              shared_count: shared,
              stride,
              routes: stepWords.record_angles,
              scale,
            }),
            scores: bench.buffer(all),
          }),
          chooseExpertsGrid(rows.length),
        ), step);
      const chosen = new Uint32Array(used), weights = new Float64Array(used);
      rows.forEach((row, t) => {
        chooseHere(routing, row, chosen, weights);
        const first = stepWords.header_words + t * record +
          stepWords.record_angles;
        const ids = new Uint32Array(bytes, 4 * first, 2 * used);
        const counts = new Float32Array(bytes, 4 * first, 2 * used);
        for (let slot = 0; slot < used; slot++) {
          assert.equal(ids[2 * slot], chosen[slot], `token ${t}, ${slot}`);
          const actual = counts[2 * slot + 1], expected = weights[slot];
          assert(
            Number.isNaN(expected)
              ? Number.isNaN(actual)
              : Math.abs(actual - expected) < 2e-6 * expected + 1e-30,
            `token ${t}, ${slot}: ${actual}, not ${expected}`,
          );
        }
      });
    },
  );
}
