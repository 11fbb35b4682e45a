/** A model that the tests of a file share: loaded by the first, closed behind the last. */
import {
  type LanguageModel,
  load,
  type LoadOptions,
  type ModelSource,
} from "../../mod.ts";

export function sharedModel(
  source: ModelSource,
  options?: LoadOptions,
): () => Promise<LanguageModel> {
  let model: Promise<LanguageModel> | undefined;
  Deno.test.afterAll(async () => {
    await (await model)?.[Symbol.asyncDispose]();
  });
  return () => model ??= load(source, options);
}
