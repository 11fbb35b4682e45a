/**
 * PowerInfer's activation profiles: a file `activation_{i}.pt` for each layer,
 * a vector of how often each neuron fired.
 */
import type { ByteSource } from "../bytes/byte_source.ts";
import { FormatError, UsageError } from "../errors.ts";
import { readTorch, tensorsOf } from "../formats/torch/read.ts";
import type { Activation } from "../model/activation.ts";
import type { LayerProfile, Profile } from "./profile.ts";
import { mostProfileTokens } from "./profile_file.ts";

/** The most neurons of a layer; the largest models have some 50,000. */
const mostNeurons = 2 ** 20;

/** What the files do not say. */
export interface PowerInferProfileOptions {
  /** The model's; decides how often gates are positive */
  readonly activation: Activation;
  /** Tokens that were counted; left out, the count of the neuron that fired most */
  readonly tokens?: number;
}

/**
 * Makes a profile of the files of all layers, in any order; their names give
 * the layer.
 *
 * The files do not say how many tokens were counted. Without `tokens` it is the
 * highest count of all layers, as if that neuron had always fired: shares are
 * then at most 1, right in proportion, and too high where no neuron always
 * fires. Counts of more than 2^24 tokens are scaled down to that.
 *
 * Nor do they say how often gates were positive. In ReGLU a neuron fires when
 * its gate is positive; in dReLU its gate and its up must both be, and as two
 * independent, equally frequent events these are positive for the square root
 * of the share that fires (Bamboo-7B: 0.148 fire, 0.39 of the gates are
 * positive, the root is 0.385).
 *
 * @throws {FormatError} where a file is damaged, or holds no vector of counts, or layers differ in length
 * @throws {UsageError} where a layer's file is missing or there twice
 */
export async function readPowerInferProfile(
  sources: readonly ByteSource[],
  { activation, tokens: stated }: PowerInferProfileOptions,
): Promise<Profile> {
  const layers: Float64Array[] = [];
  for (const source of inOrder(sources)) {
    const counts = await readCounts(source);
    const expected = layers[0]?.length ?? counts.length;
    if (counts.length !== expected) {
      throw new FormatError(
        `Cannot read ${source.name}: it counts ${counts.length} neurons, layer 0 has ${expected}`,
      );
    }
    layers.push(counts);
  }
  const highest = layers.reduce(
    (most, counts) => counts.reduce((a, b) => Math.max(a, b), most),
    0,
  );
  if (stated !== undefined && stated < highest) {
    throw new UsageError(
      `Cannot use a profile of ${stated} tokens: a neuron fired for ${highest}`,
    );
  }
  const counted = stated ?? highest;
  const tokens = Math.min(Math.ceil(counted), mostProfileTokens);
  const scale = counted > 0 ? tokens / counted : 0;
  return {
    tokens,
    layers: layers.map((counts): LayerProfile => {
      const active = Uint32Array.from(counts, (n) => Math.round(n * scale));
      const gatePositive = activation === "drelu"
        ? active.map((count) => Math.round(Math.sqrt(count * tokens)))
        : active.slice();
      return { active, gatePositive };
    }),
  };
}

/** The layer that a file's name gives, `activation_12.pt`; `undefined` for other names. */
export function activationFileLayer(name: string): number | undefined {
  const match = name.match(/(?:^|[/\\])activation_(\d+)\.pt$/);
  return match ? Number(match[1]) : undefined;
}

function inOrder(sources: readonly ByteSource[]): ByteSource[] {
  const byLayer = new Map<number, ByteSource>();
  for (const source of sources) {
    const layer = activationFileLayer(source.name);
    if (layer === undefined || byLayer.has(layer)) {
      throw new UsageError(
        `Cannot tell the layer of ${source.name}: ${
          layer === undefined
            ? "a name like activation_0.pt does"
            : `${byLayer.get(layer)!.name} is the same layer's`
        }`,
      );
    }
    byLayer.set(layer, source);
  }
  return Array.from({ length: byLayer.size }, (_, layer) => {
    const source = byLayer.get(layer);
    if (!source) {
      throw new UsageError(
        `Cannot read the profile: activation_${layer}.pt is missing among ${byLayer.size} files`,
      );
    }
    return source;
  });
}

async function readCounts(source: ByteSource): Promise<Float64Array> {
  const tensors = [...tensorsOf(await readTorch(source)).values()];
  const refuse = (what: string) =>
    new FormatError(
      `Cannot read ${source.name}: ${what}, needs one vector of counts`,
    );
  if (tensors.length !== 1) throw refuse(`it has ${tensors.length} tensors`);
  const [tensor] = tensors;
  const { shape, length } = tensor;
  if (length === 0 || shape.filter((side) => side !== 1).length > 1) {
    throw refuse(`its tensor has the shape [${shape.join(", ")}]`);
  }
  if (length > mostNeurons) {
    throw refuse(`it counts ${length} neurons, the most is ${mostNeurons}`);
  }
  const counts = await tensor.values();
  const wrong = counts.find((count) => !(count >= 0 && count < Infinity));
  if (wrong !== undefined) throw refuse(`a count is ${wrong}`);
  return counts;
}
