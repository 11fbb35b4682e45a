/**
 * How gate and up make a neuron's value h:
 * `drelu` relu(g)·relu(u), `reglu` relu(g)·u, `swiglu` silu(g)·u.
 * The first two leave most neurons exactly zero.
 */
export type Activation = "drelu" | "reglu" | "swiglu";

/** Says which activation a model has, over what its file implies. */
export const activationOption = {
  enum: ["drelu", "reglu", "swiglu"],
  flag: "--activation <name>",
  description: "drelu, reglu or swiglu, over what the file implies",
} as const;

/** Whether neurons of this activation are exactly zero where the gate is not positive. */
export function isSparse(activation: Activation): boolean {
  return activation !== "swiglu";
}
