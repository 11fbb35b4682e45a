/**
 * The predictor that lies beside a model, `MODEL.predictor`.
 *
 * @module
 */
import type { LanguageModel } from "../mod.ts";
import { besideModel, isReadable } from "./beside_model.ts";
import type { LoadFlags, ModelFlags } from "./options.ts";
import { note, printable } from "./terminal.ts";

/** Where a model's predictor lies; the embedded model and URLs have no such place. */
export function predictorPathOf(flags: ModelFlags): string | undefined {
  return besideModel(flags, "predictor");
}

/** The predictor that the flags name, or else, where they want one, the one beside the model. */
export async function findPredictor(
  flags: ModelFlags & Pick<LoadFlags, "predictor" | "sparsity">,
): Promise<string | undefined> {
  const { predictor, sparsity } = flags;
  if (predictor !== undefined) return predictor || undefined;
  const path = predictorPathOf(flags);
  if (sparsity.mode !== "predictor" || path === undefined) return undefined;
  return await isReadable(path) ? path : undefined;
}

/** Says which predictor a model was loaded with. */
export function notePredictor(
  { model }: LanguageModel,
  path: string | undefined,
): void {
  const ranks = model.layers.map(({ fc1 }) => fc1?.shape[1] ?? 0);
  const where = path ? `from ${printable(path)}` : "in the model file";
  note(`predictor: rank ${rankText(ranks)}, ${where}`);
}

/** Ranks of layers: `64`, or `32 to 128`. */
export function rankText(ranks: readonly number[]): string {
  const [least, most] = [Math.min(...ranks), Math.max(...ranks)];
  return least === most ? `${most}` : `${least} to ${most}`;
}
