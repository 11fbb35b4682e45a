import * as v from "valibot";
import type { SchemaOf } from "../options.ts";

/**
 * How gate and up make a neuron's value h, by what is done to the gate g:
 * `drelu` relu(g)·relu(u), `reglu` relu(g)·u, `relu2` relu(g)²·u, `swiglu`
 * silu(g)·u, `geglu` gelu(g)·u with tanh's approximation (Hendrycks & Gimpel
 * 2016, arXiv 1606.08415), `swiglu_oai` g · sigmoid(1.702 g) · (u + 1) with g
 * cut off above 7 and u beyond ±7 (gpt-oss). Where an FFN has no gate, up takes
 * its place, and nothing is multiplied: relu(u)². Those of relu leave most
 * neurons exactly zero.
 */
export type Activation =
  | "drelu"
  | "reglu"
  | "relu2"
  | "swiglu"
  | "geglu"
  | "swiglu_oai";

const activations: readonly Activation[] = [
  "drelu",
  "reglu",
  "relu2",
  "swiglu",
  "geglu",
  "swiglu_oai",
];

/** An activation, or FATReLU (arXiv 2403.07341) with its threshold: `reglu` that takes gates up to it for 0. */
export type ActivationChoice = Activation | `fatrelu=${number}`;

/** What a choice means. */
export interface ChosenActivation {
  /** What becomes of gate and up */
  readonly activation: Activation;
  /** Gates up to this count as 0 */
  readonly gateThreshold: number;
}

const fatrelu = /^fatrelu=(\d+(?:\.\d*)?|\.\d+)$/;

const expected = `one of ${
  activations.join(", ")
} and fatrelu=VALUE, as in fatrelu=0.01`;

/** Says which activation a model has, over what its file implies. */
export const activationOption: {
  readonly schema: SchemaOf<ActivationChoice>;
  readonly type: "string";
  readonly flag: "--activation <name>";
  readonly description: string;
} = {
  schema: v.custom<ActivationChoice>(
    (value) =>
      typeof value === "string" &&
      (activations.includes(value as Activation) || isFatRelu(value)),
    expected,
  ) as SchemaOf<ActivationChoice>,
  type: "string",
  flag: "--activation <name>",
  description: `${
    activations.join(", ")
  } or fatrelu=VALUE, over what the file implies`,
};

/** Whether a text is FATReLU's name with its threshold, as files that culm writes have it. */
export function isFatRelu(text: string): text is `fatrelu=${number}` {
  return fatrelu.test(text);
}

/** What a caller's choice means. */
export function chosenActivation(choice: ActivationChoice): ChosenActivation {
  const threshold = fatrelu.exec(choice)?.[1];
  return threshold === undefined
    ? { activation: choice as Activation, gateThreshold: 0 }
    : { activation: "reglu", gateThreshold: Number(threshold) };
}

/** Whether neurons of this activation are exactly zero where the gate is not positive. */
export function isSparse(activation: Activation): boolean {
  return activation === "drelu" || activation === "reglu" ||
    activation === "relu2";
}
