/** Where bytes may come from. */
import * as v from "valibot";
import { checkValue } from "../options.ts";
import type { ByteSource } from "./byte_source.ts";
import { nodeModule } from "../platform/node_module.ts";
import { openFile } from "./file.ts";
import { fromBlob, fromBuffer } from "./memory.ts";
import { fromUrl, type UrlOptions } from "./url.ts";

/** A path, a URL, bytes, or anything that reads ranges. */
export type AnySource = string | URL | Blob | Uint8Array | ByteSource;

/** Whether something is a {@linkcode AnySource}. */
export const anySource: v.GenericSchema<AnySource> = v.custom(
  (value) =>
    typeof value === "string" || value instanceof URL ||
    value instanceof Blob || value instanceof Uint8Array ||
    typeof (value as ByteSource | null)?.read === "function",
  "a path, a URL, a Blob, a Uint8Array or a ByteSource",
);

/**
 * Opens what is no {@linkcode ByteSource} yet; the caller closes it.
 *
 * @throws {UsageError} for something else
 */
export async function openSource(
  source: AnySource,
  options?: UrlOptions,
): Promise<ByteSource> {
  checkValue("source", { schema: anySource }, source ?? null);
  if (typeof source === "string") {
    const name = located(source);
    return isWebAddress(name)
      ? await fromUrl(name, options)
      : await openFile(name);
  }
  if (source instanceof URL) {
    return source.protocol === "file:"
      ? await openFile(source)
      : await fromUrl(source, options);
  }
  if (source instanceof Blob) return fromBlob(source);
  if (source instanceof Uint8Array) return fromBuffer(source);
  return source;
}

/** Where a path or URL leads: of a page, which has no files, a path is a URL's. */
export function located(text: string): string {
  const { location } = globalThis as { readonly location?: Location };
  const isPath = !isWebAddress(text) && nodeModule("node:fs/promises");
  return isPath || !location ? text : new URL(text, location.href).href;
}

/** Whether a text is a URL that is asked for over the network, and no path. */
export function isWebAddress(text: string): boolean {
  return /^https?:/.test(text);
}
