/** What a batch in the queue is called: the same file, model and settings have one name. */
import { sha256 } from "../checkpoint.ts";
import { BadFlags } from "../option.ts";

/** OpenAI's form. */
export const batchIdPattern = /^batch_[0-9a-f]{32}$/;

/** 32 digits that stand for some values. */
export async function digitsOf(parts: readonly unknown[]): Promise<string> {
  return (await sha256(JSON.stringify(parts))).slice(0, 32);
}

/** The id of a batch, made of what its results depend on. */
export async function batchIdOf(...parts: readonly unknown[]): Promise<string> {
  return `batch_${await digitsOf(parts)}`;
}

/** @throws {BadFlags} for what is no id */
export function checkBatchId(text: string): void {
  if (batchIdPattern.test(text)) return;
  throw new BadFlags(
    `Cannot find ${
      JSON.stringify(text)
    }: culm batch submit prints ids, batch_ and 32 digits`,
  );
}
