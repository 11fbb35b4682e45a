/** Where the hub is, who asks, and where its files are kept: by the variables of Hugging Face's own tools. */
import { fileSystem } from "../platform/file_system.ts";
import { permits, variable } from "../platform/permission.ts";

/** How the hub is used. */
export interface HubSettings {
  /** The hub's address, without a slash at its end. */
  readonly endpoint: string;
  /** Who asks; told to the endpoint alone. */
  readonly token?: string;
  /** The folder that Hugging Face's tools share; none where it may not be known, or not be read. */
  readonly cache?: string;
  /** Takes what is in the cache, and asks nobody. */
  readonly offline: boolean;
}

/** Folders, first to last, by the variable that names them, and what lies behind it. */
const cacheFolders: readonly (readonly [variable: string, rest: string])[] = [
  ["LLAMA_CACHE", ""],
  ["HF_HUB_CACHE", ""],
  ["HUGGINGFACE_HUB_CACHE", ""],
  ["HF_HOME", "/hub"],
  ["XDG_CACHE_HOME", "/huggingface/hub"],
  ["HOME", "/.cache/huggingface/hub"],
  ["USERPROFILE", "/.cache/huggingface/hub"],
];

/** The variables that are read, where the sandbox permits. */
export const hubVariables: readonly string[] = [
  "HF_ENDPOINT",
  "HF_TOKEN",
  "HUGGING_FACE_HUB_TOKEN",
  "HF_TOKEN_PATH",
  "HF_HUB_OFFLINE",
  ...cacheFolders.map(([name]) => name),
];

/** What the environment says, where it is not given. */
export async function hubSettings(
  given: Partial<HubSettings> = {},
): Promise<HubSettings> {
  const endpoint = given.endpoint ?? variable("HF_ENDPOINT") ??
    "https://huggingface.co";
  const isOffline = /^(1|on|yes|true)$/i.test(variable("HF_HUB_OFFLINE") ?? "");
  return {
    endpoint: endpoint.replace(/\/+$/, ""),
    token: given.token ?? await tokenOf(),
    cache: given.cache ?? folderOf(cacheFolders),
    offline: given.offline || isOffline,
  };
}

/** The token of the environment, or the one that `hf auth login` has kept. */
async function tokenOf(): Promise<string | undefined> {
  const said = variable("HF_TOKEN") ?? variable("HUGGING_FACE_HUB_TOKEN");
  if (said !== undefined) return said.trim();
  const path = variable("HF_TOKEN_PATH") ?? folderOf([
    ["HF_HOME", "/token"],
    ["XDG_CACHE_HOME", "/huggingface/token"],
    ["HOME", "/.cache/huggingface/token"],
    ["USERPROFILE", "/.cache/huggingface/token"],
  ]);
  if (path === undefined) return undefined;
  const { readFile } = fileSystem(path);
  const text = await readFile(path, "utf8").catch(() => "");
  return text.trim() || undefined;
}

/** The first that is known, if it may be read. */
function folderOf(
  folders: typeof cacheFolders,
): string | undefined {
  for (const [name, rest] of folders) {
    const base = variable(name);
    if (base === undefined) continue;
    const path = base.replace(/[/\\]+$/, "") + rest;
    return permits("read", path) ? path : undefined;
  }
}
