/** How far positions turn heads, as a file's keys say it. */
import { UnsupportedError } from "../errors.ts";
import { printable } from "../formats/gguf/header_cursor.ts";
import type { HyperParameterReader } from "./hyper_parameters.ts";
import type { Rotation } from "./rope.ts";

/** What `rope.scaling.type` may be. A factor without a type is linear; longrope's are tensors. */
const scalings = ["none", "linear", "yarn", "longrope"];

/** Reads the keys of `rope`, as llama.cpp does: a factor of 0 says nothing. */
export function readRotation(
  keys: HyperParameterReader,
  contextSize: number,
): Rotation {
  const scaling = keys.text("ropeScaling") ?? "linear";
  if (!scalings.includes(scaling)) {
    throw new UnsupportedError(
      `Cannot run rope scaling of type "${printable(scaling)}" (${
        scalings.join(", ")
      } are)`,
    );
  }
  const name = keys.number("ropeScale") === undefined
    ? "oldRopeScale"
    : "ropeScale";
  const isScaled = scaling !== "none" && keys.number(name) !== 0;
  const scale = isScaled ? keys.real(name, 1) : 1;
  const base = keys.real("ropeBase", 10000);
  const magnitude = keys.real("ropeMagnitude", 1);
  if (scaling !== "yarn") return { base, scale, magnitude };
  // Stretched attention is sharper: sqrt(1 / t) of the paper, on queries and keys alike.
  const sharper = (multiplier: number) =>
    1 + 0.1 * multiplier * Math.log(Math.max(1, scale));
  const multiplier = keys.optional("yarnLogMultiplier") ?? 0;
  return {
    base,
    scale,
    magnitude: magnitude * sharper(1) / sharper(multiplier),
    yarn: {
      contextSize: keys.size("originalContextSize", contextSize),
      betaFast: keys.real("yarnBetaFast", 32),
      betaSlow: keys.real("yarnBetaSlow", 1),
    },
  };
}
