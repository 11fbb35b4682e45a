/** By what queues know a model with its settings: only workers of the same key answer a batch. */
import { modelFingerprint } from "../model_file.ts";
import { cacheTypeOf, type LoadFlags } from "../options.ts";
import { digitsOf } from "./batch_id.ts";

/** The flags on which results depend, beside those of the model's file. */
export type WorkFlags = Pick<
  LoadFlags,
  | "model"
  | "activation"
  | "sparsity"
  | "contextSize"
  | "cacheTypeK"
  | "cacheTypeV"
>;

/** Everything but the requests on which results depend. */
export async function workOf(
  flags: WorkFlags,
  signal?: AbortSignal,
): Promise<unknown[]> {
  const { sparsity, contextSize } = flags;
  return [
    await modelFingerprint(flags, signal),
    [sparsity, contextSize, cacheTypeOf(flags)],
  ];
}

/** The same as a word of 32 digits. */
export async function workKeyOf(
  flags: WorkFlags,
  signal?: AbortSignal,
): Promise<string> {
  return await digitsOf(await workOf(flags, signal));
}
