/** SmolLM2-135M-Instruct, a real model, where it was fetched. */
import { existsSync } from "node:fs";
import { needs, testNeeding } from "./needs.ts";
import { hasShared } from "./shared_data.ts";

/** Where `deno task fetch:smollm2` puts it. */
export const smollm2Url: URL = new URL(
  "../../.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf",
  import.meta.url,
);

/** Registers a test that is skipped where the model, or a public file that it reads, is not here. */
export function testWithSmolLM2(
  name: string,
  paths: readonly string[],
  fn: () => Promise<void>,
): void {
  const hasModel = existsSync(smollm2Url);
  const hasAll = paths.every((path) => hasShared(`data/${path}`));
  testNeeding(hasModel ? needs.data : needs.smollm2, hasModel && hasAll, {
    name: `SmolLM2: ${name}`,
    fn,
  });
}
