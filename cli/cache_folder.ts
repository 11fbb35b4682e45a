/**
 * Where a user's programs keep what they can do without.
 *
 * @module
 */
import { permits } from "./beside_model.ts";

/** The variables that say where, and what lies behind each, by the system's custom. */
const places: readonly (readonly [variable: string, folder: string])[] =
  Deno.build.os === "windows"
    ? [["LOCALAPPDATA", "/culm"]]
    : Deno.build.os === "darwin"
    ? [["HOME", "/Library/Caches/culm"]]
    : [["XDG_CACHE_HOME", "/culm"], ["HOME", "/.cache/culm"]];

/** What a user permits for the folder to be used. */
export const cacheFolderFlags = `--allow-env=${
  places.map(([variable]) => variable).join(",")
} --allow-read --allow-write`;

/** culm's folder; none where the sandbox does not let us ask where it is, or read and write it. */
export async function cacheFolder(): Promise<string | undefined> {
  for (const [variable, folder] of places) {
    const { state } = await Deno.permissions.query({ name: "env", variable });
    const base = state === "granted" ? Deno.env.get(variable) : undefined;
    if (!base) continue;
    const path = base + folder;
    const mayUse = await permits("read", path) && await permits("write", path);
    return mayUse ? path : undefined;
  }
}
