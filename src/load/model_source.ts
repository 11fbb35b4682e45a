/** Where a model's bytes may come from. */
import type * as v from "valibot";
import type { ByteSource } from "../bytes/byte_source.ts";
import { openFile } from "../bytes/file.ts";
import { isFolder, openFolder } from "../bytes/folder.ts";
import { type AnySource, anySource, openSource } from "../bytes/open.ts";
import { openWhole } from "../bytes/parts.ts";
import { fromUrl, type UrlOptions } from "../bytes/url.ts";

/**
 * What {@linkcode load} reads from: a path, a URL, bytes, or anything that reads
 * ranges. A path may lead to a Hugging Face folder, which is read as the F16
 * file that it converts to. Of a file in parts (`-00001-of-00003.gguf`) the path
 * or URL of any one stands for all.
 */
export type ModelSource = AnySource;

/** Whether something is a {@linkcode ModelSource}. */
export const modelSource: v.GenericSchema<ModelSource> = anySource;

/**
 * Opens what is no {@linkcode ByteSource} yet; the caller closes it.
 *
 * @throws {UsageError} for something else
 */
export async function toByteSource(
  source: ModelSource,
  options?: UrlOptions,
): Promise<ByteSource> {
  if (typeof source === "string") {
    if (/^https?:/.test(source)) return await fromUrls(source, options);
    if (!await isFolder(source)) return await openWhole(source, openFile);
    // The converter is loaded only where it is wanted.
    const { viewFolder } = await import("../convert/view.ts");
    return await viewFolder(await openFolder(source));
  }
  if (source instanceof URL) {
    return source.protocol === "file:"
      ? await openWhole(source.href, (each) => openFile(new URL(each)))
      : await fromUrls(source.href, options);
  }
  return await openSource(source);
}

function fromUrls(url: string, options?: UrlOptions): Promise<ByteSource> {
  return openWhole(url, (each) => fromUrl(each, options));
}
