/**
 * Which neurons of a layer are computed. For each token g = gate·n(x),
 * u = up·n(x), and h is the activation of both.
 */
import * as v from "valibot";
import { UsageError } from "../errors.ts";

/**
 * - `dense`: every row of gate, up and down; exact.
 * - `exact`: every gate row, up rows where g > 0, down rows where h ≠ 0; as dense, up to summation order.
 * - `predictor`: only neurons to which a predictor, the file's or one that `culm predictor`
 *   made, gives at least `threshold` (what its file says where left out), then the exact
 *   cascade on those; approximate.
 * - `top-k`: of the exact h, the `share` of a layer's neurons with the largest |h| are kept; a measuring mode.
 * - `threshold`: of the exact h, those with |h| > `value` are kept; approximate.
 */
export type Sparsity =
  | { readonly mode: "dense" }
  | { readonly mode: "exact" }
  | { readonly mode: "predictor"; readonly threshold?: number }
  | { readonly mode: "top-k"; readonly share: number }
  | { readonly mode: "threshold"; readonly value: number };

const modes = ["dense", "exact", "predictor", "top-k", "threshold"];

const finite = (least: number, message: string) =>
  v.pipe(
    v.number(message),
    v.finite(message),
    v.minValue(least, message),
  );

/** Every mode, with what it takes. */
export const sparsitySchema: v.GenericSchema<Sparsity> = v.variant(
  "mode",
  [
    v.strictObject({ mode: v.literal("dense") }),
    v.strictObject({ mode: v.literal("exact") }),
    v.strictObject({
      mode: v.literal("predictor"),
      threshold: v.optional(finite(-Infinity, "a number")),
    }),
    v.strictObject({
      mode: v.literal("top-k"),
      share: v.pipe(
        finite(Number.MIN_VALUE, "a number above 0, at most 1"),
        v.maxValue(1, "a number above 0, at most 1"),
      ),
    }),
    v.strictObject({
      mode: v.literal("threshold"),
      value: finite(0, "a number from 0 up"),
    }),
  ],
  ({ path }) =>
    path
      ? `one of ${modes.join(", ")}`
      : `an object such as { mode: "exact" }, whose mode is one of ${
        modes.join(", ")
      }`,
);

/** What the number behind a mode's name is called, where that is not `value`. */
const argumentNames = new Map([["predictor", "threshold"], ["top-k", "share"]]);

/**
 * Reads `dense`, `exact`, `predictor`, `predictor=0.1`, `top-k=0.15` or `threshold=0.1`.
 *
 * @throws {UsageError} for anything else
 *
 * @example
 * ```ts
 * import { parseSparsity } from "@culm/culm";
 * console.log(parseSparsity("top-k=0.15")); // { mode: "top-k", share: 0.15 }
 * ```
 */
export function parseSparsity(text: string): Sparsity {
  const [mode, ...rest] = text.split("=");
  const argument = rest.length > 0 ? rest.join("=") : undefined;
  const value = argument?.trim() === "" ? NaN : Number(argument);
  const name = argumentNames.get(mode) ?? "value";
  const asked = argument === undefined ? { mode } : { mode, [name]: value };
  const { success, output } = v.safeParse(sparsitySchema, asked);
  if (success) return output;
  throw new UsageError(
    `Cannot use sparsity "${text}": needs dense, exact, predictor, predictor=SCORE, top-k=SHARE (above 0, at most 1) or threshold=VALUE (0 or more)`,
  );
}
