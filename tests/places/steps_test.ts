/**
 * A token has the same logits, to the last bit, alone and in a step with up to
 * seven others, of sequences of their own: whatever rows the others need, and
 * whether rows are streamed or picked.
 */
import assert from "node:assert/strict";
import { Engine } from "../../src/engine/engine.ts";
import type { GgmlType } from "../../src/formats/ggml/types.ts";
import { splitEvenly } from "../../src/plan/plan.ts";
import type { Sparsity } from "../../src/plan/sparsity.ts";
import {
  type RandomModel,
  randomModel,
  type RandomModelOptions,
} from "../helpers/random_model.ts";
import { cpuTeam, randomProfile } from "../helpers/teams.ts";

const users = 8;

interface Case {
  readonly name: string;
  readonly options: RandomModelOptions;
  readonly modes: readonly Sparsity[];
  readonly measureRecall?: boolean;
}

const exact: Sparsity = { mode: "exact" };
const predictor: Sparsity = { mode: "predictor" };

const types: readonly GgmlType[] = [
  "F32",
  "F16",
  "Q4_0",
  "Q4_1",
  "Q4_K",
  "IQ4_NL",
  "IQ3_S",
  "MXFP4",
  "Q8_0",
  "Q5_1",
  "Q6_K",
  "Q2_K",
];

const sparse: RandomModelOptions = {
  architecture: "bamboo",
  feedForwardSize: 256,
  predictorRank: 32,
  downByNeuron: true,
};
const cases: readonly Case[] = [
  ...types.map((type, i) => ({
    name: type,
    // Also with half a group of columns at the end of a row, where blocks allow it.
    options: {
      ...sparse,
      type,
      hiddenSize: type.includes("_K") || type === "IQ3_S"
        ? 256
        : [64, 192][i % 2],
    },
    modes: [exact, predictor],
  })),
  {
    name: "more groups than one, outputs in blocks",
    options: {
      ...sparse,
      type: "Q4_0",
      feedForwardSize: 800,
      downByNeuron: false,
    },
    modes: [exact, predictor],
  },
  {
    name: "biases",
    options: {
      ...sparse,
      architecture: "llama",
      magic: "PWRI",
      type: "F16",
      biases: true,
    },
    modes: [exact, predictor],
  },
  {
    name: "gates that have to pass a threshold",
    options: {
      ...sparse,
      architecture: "llama",
      type: "Q4_0",
      keys: { activation: "fatrelu=0.05" },
    },
    modes: [exact, predictor],
  },
  {
    name: "recall is measured",
    options: { ...sparse, type: "Q4_0" },
    modes: [predictor],
    measureRecall: true,
  },
  {
    name: "no gate",
    options: {
      architecture: "arcee",
      type: "Q4_0",
      feedForwardSize: 256,
      downByNeuron: true,
    },
    modes: [exact],
  },
  {
    name: "small activations are dropped",
    options: { ...sparse, type: "Q4_0" },
    modes: [{ mode: "threshold", value: 0.03 }, { mode: "top-k", share: 0.2 }],
  },
];

/** The logits of one token of each user, behind a past of its own, in steps of so many. */
async function logitsOf(
  made: RandomModel,
  sparsity: Sparsity,
  { measureRecall }: Case,
  perStep: number,
): Promise<Float32Array[]> {
  const { model } = made;
  const isPicking = sparsity.mode === "predictor";
  const profile = randomProfile(made);
  // A predictor's border is part of what it computes, the others' is not.
  const hotShare = isPicking ? 0.25 : [0, 0.3, 1][perStep % 3];
  const plan = splitEvenly(model, 1 + perStep % 3, profile);
  const team = await cpuTeam(made, plan, sparsity, { hotShare, measureRecall });
  await using engine = new Engine(team, model.vocabSize);
  const sequences = [];
  for (let user = 0; user < users; user++) {
    const past = [user + 1, 3 * user + 2];
    sequences.push(await engine.startSequence(past));
  }
  const logits: Float32Array[] = [];
  for (let first = 0; first < users; first += perStep) {
    const rows = await Promise.all(
      sequences.slice(first, first + perStep).map((sequence, i) =>
        engine.evaluate(sequence, [7 + 5 * (first + i)])
      ),
    );
    logits.push(...rows.flat());
  }
  for (const sequence of sequences) sequence[Symbol.dispose]();
  return logits;
}

for (const made of cases) {
  for (const sparsity of made.modes) {
    Deno.test(`tokens are the same alone and together: ${made.name}, ${sparsity.mode}`, async () => {
      const model = await randomModel(made.options);
      const alone = await logitsOf(model, sparsity, made, 1);
      assert(alone.every((row) => row.every(Number.isFinite)));
      for (let perStep = 2; perStep <= users; perStep++) {
        const together = await logitsOf(model, sparsity, made, perStep);
        assert.deepEqual(together, alone, `${perStep} a step`);
      }
    });
  }
}
