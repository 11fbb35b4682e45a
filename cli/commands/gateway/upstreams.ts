/** The upstreams that flags name, and a file. */
import { split } from "../../http/flags.ts";
import { readText } from "../../input.ts";
import type { GatewayFlags } from "./options.ts";

/**
 * Their addresses.
 *
 * @throws {CulmError} for a file that cannot be read
 */
export async function upstreamsOf(
  { upstreams, upstreamsFile }: GatewayFlags,
): Promise<string[]> {
  const named = split(upstreams) ?? [];
  if (upstreamsFile === undefined) return named;
  const lines = (await readText(upstreamsFile)).split("\n")
    .map((line) => line.replace(/#.*/, "").trim());
  return [...named, ...lines.filter((line) => line !== "")];
}
