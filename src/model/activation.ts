/**
 * What makes a neuron's value.
 *
 * @module
 */

/**
 * How gate and up make a neuron's value h:
 * `drelu` relu(g)·relu(u), `reglu` relu(g)·u, `swiglu` silu(g)·u.
 * The first two leave most neurons exactly zero.
 */
export type Activation = "drelu" | "reglu" | "swiglu";

/** Whether neurons of this activation are exactly zero where the gate is not positive. */
export function isSparse(activation: Activation): boolean {
  return activation !== "swiglu";
}
