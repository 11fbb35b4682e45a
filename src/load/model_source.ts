/** Where a model's bytes may come from. */
import type * as v from "valibot";
import type { ByteSource } from "../bytes/byte_source.ts";
import { openFile } from "../bytes/file.ts";
import { type Folder, isFolder, openFolder } from "../bytes/folder.ts";
import {
  type AnySource,
  anySource,
  isWebAddress,
  located,
  openSource,
} from "../bytes/open.ts";
import { openWhole } from "../bytes/parts.ts";
import type { UrlOptions } from "../bytes/url.ts";
import { isHubName, readHubName } from "../hub/name.ts";
import type { PullOptions } from "../hub/pull.ts";
import { hubSettings } from "../hub/settings.ts";

/**
 * What {@linkcode load} reads from: a path, a URL, bytes, or anything that reads
 * ranges. A path may lead to a Hugging Face folder, which is read as the F16
 * file that it converts to. Of a file in parts (`-00001-of-00003.gguf`) the path
 * or URL of any one stands for all. `hf:OWNER/REPO:QUANT` is a model of the
 * Hugging Face hub (`hf:OWNER/REPO@REVISION/FILE` in full).
 */
export type ModelSource = AnySource;

/** Whether something is a {@linkcode ModelSource}. */
export const modelSource: v.GenericSchema<ModelSource> = anySource;

/**
 * Opens what is no {@linkcode ByteSource} yet; the caller closes it.
 *
 * @throws {UsageError} for something else
 */
export function toByteSource(
  source: ModelSource,
  options?: UrlOptions,
): Promise<ByteSource> {
  return openModel(source, options);
}

/** The same; with `keep`, a model of the hub is fetched into the cache first, where there is one that may be written. */
export async function openModel(
  source: ModelSource,
  options?: UrlOptions,
  keep?: PullOptions,
): Promise<ByteSource> {
  if (source instanceof URL) {
    return await openWhole(
      source.href,
      (each) => openSource(new URL(each), options),
    );
  }
  if (typeof source !== "string") return await openSource(source);
  if (isHubName(source)) return await openHubModel(source, options, keep);
  const name = located(source);
  return isWebAddress(name)
    ? await openWhole(name, (each) => openSource(each, options))
    : await openPath(name);
}

async function openPath(path: string): Promise<ByteSource> {
  return await isFolder(path)
    ? await viewed(await openFolder(path))
    : await openWhole(path, openFile);
}

/** A folder as the file that it converts to. The converter is loaded only where it is wanted. */
async function viewed(folder: Folder): Promise<ByteSource> {
  const { viewFolder } = await import("../convert/view.ts");
  return await viewFolder(folder);
}

/** Opens a model of the hub: of the cache where it is there or can be kept, else where it is. */
async function openHubModel(
  text: string,
  options: UrlOptions = {},
  keep?: PullOptions,
): Promise<ByteSource> {
  const { canKeep, openOnHub, pull, resolve } = await import("../hub/pull.ts");
  const settings = await hubSettings();
  const found = await resolve(readHubName(text), settings, keep ?? options);
  if (typeof found === "string") return await openPath(found);
  if (keep && canKeep(settings)) {
    return await openPath(await pull(found, settings, keep));
  }
  const opened = await openOnHub(found, settings, options);
  return "files" in opened ? await viewed(opened) : opened;
}
