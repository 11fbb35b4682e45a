/**
 * Which neurons of a layer are computed. For each token g = gate·n(x),
 * u = up·n(x), and h is the activation of both.
 *
 * @module
 */
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
  const value = argument === undefined || argument.trim() === ""
    ? NaN
    : Number(argument);
  if (argument === undefined) {
    if (mode === "dense" || mode === "exact" || mode === "predictor") {
      return { mode };
    }
  } else if (mode === "predictor" && Number.isFinite(value)) {
    return { mode, threshold: value };
  } else if (mode === "top-k" && value > 0 && value <= 1) {
    return { mode, share: value };
  } else if (mode === "threshold" && value >= 0 && Number.isFinite(value)) {
    return { mode, value };
  }
  throw new UsageError(
    `Cannot use sparsity "${text}": needs dense, exact, predictor, predictor=SCORE, top-k=SHARE (above 0, at most 1) or threshold=VALUE (0 or more)`,
  );
}

/**
 * The same, where it is one.
 *
 * @throws {UsageError} for a mode that there is not, or a number out of range
 */
export function checkSparsity({ mode, ...rest }: Sparsity): Sparsity {
  const [value] = Object.values(rest).filter((each) => each !== undefined);
  return parseSparsity(value === undefined ? mode : `${mode}=${value}`);
}
