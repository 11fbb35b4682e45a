/**
 * Whether a GPU computes what it should. Drivers have faults that show as wrong
 * numbers, zeros for halves for one, so every kernel that a model will use is
 * run once and compared with the reference.
 */
import type { ByteSource } from "../bytes/byte_source.ts";
import { fromBuffer } from "../bytes/memory.ts";
import { GpuError } from "../errors.ts";
import { isReadType } from "../formats/ggml/dequantise.ts";
import { quantise } from "../formats/ggml/quantise.ts";
import { randomBlocks } from "../formats/ggml/random_blocks.ts";
import type { TensorInfo } from "../formats/gguf/read.ts";
import type { LayerTensors, Model } from "../model/model.ts";
import {
  layerEntries,
  mapTensors,
  shapeOf,
  sideLengths,
  type TensorName,
} from "../model/schema.ts";
import { type Plan, splitEvenly } from "../plan/plan.ts";
import type { GpuSidePlace } from "./place.ts";
import { ReferencePlace } from "./reference/reference_place.ts";
import { Random } from "../random.ts";
import { topLogits } from "../sampling/top_logits.ts";
import { InlineTeam, type Sides } from "./inline_team.ts";
import type { Team, TeamOptions } from "./team.ts";
import { unpackTopLogits } from "./top_logits_row.ts";

/** Sizes that the blocks of every type divide; neurons are of an expert. */
const sizes = {
  hiddenSize: 256,
  feedForwardSize: 256,
  headCount: 4,
  kvHeadCount: 2,
  headSize: 64,
  ropeSize: 64,
  vocabSize: 32,
};

/** Where there is a router, so many experts, of which a token chooses so many, beside one that is shared. */
const expertSizes = { routed: 4, used: 2 };

const limits = { tokens: 12, contextSize: 32 };

/** A prompt, which is computed in tiles, a few tokens, and a single one: each has kernels of its own. */
const steps = [
  [3, 14, 15, 9, 26, 5, 31, 8, 29, 17, 2, 20],
  [28, 18, 0, 12, 4],
  [5],
];

/**
 * The most that logits may differ, relative to their own size. Sums in another
 * order differ by 1e-6. Then a number may be rounded to the other neighbour, of
 * 127 where it is multiplied by integers or kept in a cache of q8_0; it takes
 * others with it, which comes to 1% at most, but seldom happens.
 */
const tolerance = 5e-3;

/** Models of other weights that are tried; all differ by more where kernels compute something else. */
const tries = 8;

/** Loads a model whole onto the GPU. */
export type LoadOnGpu = (
  source: ByteSource,
  options: TeamOptions,
) => Promise<GpuSidePlace>;

/**
 * Runs small models with a model's types on the GPU and in the reference.
 *
 * @throws {GpuError} where they differ, with both numbers
 */
export async function selfTestGpu(
  options: TeamOptions,
  load: LoadOnGpu,
): Promise<void> {
  for (const layer of distinctLayers(options.model)) {
    let name = "", closest = Infinity;
    for (let seed = 1; seed <= tries && closest >= tolerance; seed++) {
      const tried = await distanceOn(options, load, layer, seed);
      closest = Math.min(closest, tried.distance);
      name = tried.name;
    }
    if (closest < tolerance) continue;
    throw new GpuError(
      `Cannot use ${name}: its logits differ from the reference's by ${
        closest.toPrecision(2)
      } of their size, the limit is ${tolerance}`,
    );
  }
}

/**
 * How far the GPU's logits are from the reference's, in a model of one layer.
 *
 * @throws {GpuError} where it picks other tokens than the likeliest by its own
 */
async function distanceOn(
  options: TeamOptions,
  load: LoadOnGpu,
  layer: LayerTensors,
  seed: number,
): Promise<{ name: string; distance: number }> {
  const { model, source } = smallModel(options.model, layer, seed);
  const whole = splitEvenly(model, 1);
  const [plan] = whole.places;
  const gpuPlan = { places: [], gpu: plan };
  const { sparsity, cacheType } = options;
  const small = { ...options, model, limits, gpuBytes: undefined };
  const team = (plan: Plan, sides: Sides) =>
    new InlineTeam("self-test", { ...small, plan }, sides);
  const gpu = await load(source, { ...small, plan: gpuPlan });
  await using onGpu = team(gpuPlan, { cpu: [], gpu });
  const cpu = [
    await ReferencePlace.load(
      model,
      plan,
      sparsity,
      source,
      { cacheType, roundsInputs: true },
      limits.contextSize,
    ),
  ];
  await using reference = team(whole, { cpu });
  const logits = await logitsOf(onGpu);
  const { name } = gpu.stats;
  await checkPicking(name, onGpu, logits.slice(-sizes.vocabSize));
  return { name, distance: distance(logits, await logitsOf(reference)) };
}

/** Of numbers from what they should be, relative to the size of these. */
function distance(actual: number[], expected: number[]): number {
  return Math.hypot(...actual.map((value, i) => value - expected[i])) /
    Math.hypot(...expected);
}

/** The logits of the last token of each step. */
async function logitsOf(team: Team): Promise<number[]> {
  const { batch } = team;
  const logits: number[] = [];
  let position = 0;
  batch.copyCount = 0;
  await team.reserve(1);
  batch.pages[0] = 0;
  for (const ids of steps) {
    ids.forEach((id, t) => {
      batch.tokens[t] = id;
      batch.positions[t] = position++;
      batch.sequences[t] = 0;
      batch.wantLogits[t] = Number(t === ids.length - 1);
      batch.setModeValue(t);
    });
    batch.length = ids.length;
    for (const row of await team.run()) logits.push(...row);
  }
  return logits;
}

/** Runs the last step again, for the largest of its logits. */
async function checkPicking(
  name: string,
  team: Team,
  logits: number[],
): Promise<void> {
  const expected = topLogits(Float32Array.from(logits), 8);
  team.batch.top = expected.ids.length;
  const [row] = await team.run();
  const { ids, logSumExp } = unpackTopLogits(row);
  const error = Math.abs(logSumExp - expected.logSumExp);
  if (`${ids}` === `${expected.ids}` && error < tolerance) return;
  throw new GpuError(
    `Cannot use ${name}: the tokens it picks are ${ids} (log-sum ${logSumExp}), the likeliest are ${expected.ids} (${expected.logSumExp})`,
  );
}

/** One layer for each set of types. */
function distinctLayers({ layers }: Model): LayerTensors[] {
  const typesOf = (layer: LayerTensors) =>
    layerEntries(layer).map(([name, { type }]) => `${name} ${type}`).join();
  return Array.from(Map.groupBy(layers, typesOf).values(), ([layer]) => layer);
}

/** A model of one layer, of the types of `layer`, with random weights. */
function smallModel(
  model: Model,
  layer: LayerTensors,
  seed: number,
): { model: Model; source: ByteSource } {
  const { qkNorm, attention } = model;
  const shared = model.routing?.shared ? 1 : 0;
  const expertCount = model.routing ? expertSizes.routed + shared : 1;
  const own = {
    ...sizes,
    feedForwardSize: expertCount * sizes.feedForwardSize,
    expertCount,
    routing: model.routing &&
      { ...model.routing, used: expertSizes.used + shared, shared },
  };
  const lengths = {
    ...sideLengths({ ...own, qkNorm }),
    vocab: sizes.vocabSize,
  };
  const parts: { offset: number; bytes: Uint8Array }[] = [];
  let end = 0;
  const random = new Random(seed);
  const small = (like: TensorInfo, name: TensorName): TensorInfo => {
    // Each expert's half of a predictor has so many rows.
    const rank = name === "fc1" ? expertCount * 256 : 256;
    const shape = shapeOf(name, { ...lengths, rank });
    const length = shape.reduce((product, side) => product * side, 1);
    // Norms are about 1, rows of matrices about 1 long.
    const scale = shape.length === 1 ? 0.1 : Math.sqrt(3 / shape[0]);
    const mean = /_norm$|^rope_/.test(name) ? 1 : 0;
    const { type } = like;
    const bytes = isReadType(type)
      ? randomBlocks(type, length, scale / 2, () => random.next())
      : quantise(
        type,
        new Float32Array(length)
          .map(() => mean + scale * (2 * random.next() - 1)),
      );
    const offset = end;
    parts.push({ offset, bytes });
    end += bytes.length;
    const byteLength = bytes.length;
    return { ...like, shape, offset, byteLength, pieces: undefined };
  };
  const tensors = { ...model, layers: [layer] };
  const smallTensors = mapTensors(tensors, small);
  const file = new Uint8Array(end);
  for (const { offset, bytes } of parts) file.set(bytes, offset);
  return {
    model: {
      ...model,
      ...own,
      ...limits,
      ...smallTensors,
      attention: [{
        ...attention[model.layers.indexOf(layer)],
        window: undefined,
      }],
      sparseThresholds: [0],
    },
    source: fromBuffer(file, "check"),
  };
}
