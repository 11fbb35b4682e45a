/**
 * Models of the Hugging Face hub: what `-hf` names becomes a file of the cache
 * before a command begins, fetched where it is not there.
 *
 * @module
 */
import {
  CulmError,
  FormatError,
  LimitError,
  TokenizerError,
  UnsupportedError,
  UsageError,
} from "../mod.ts";
import {
  checkHubName,
  type HubName,
  hubNameText,
  isHubName,
  readHubName,
} from "../src/hub/name.ts";
import {
  canKeep,
  type HubModel,
  openOnHub,
  pull,
  resolve,
} from "../src/hub/pull.ts";
import {
  type HubSettings,
  hubSettings,
  hubVariables,
} from "../src/hub/settings.ts";
import { viewFolder } from "../src/convert/view.ts";
import type { CommandSpec, Flags } from "./command.ts";
import { inspectFile, type Inspection } from "./commands/inspect/inspection.ts";
import { formatBytes } from "./format.ts";
import { Interrupt } from "./interrupt.ts";
import { BadFlags } from "./option.ts";
import type { HubFlags } from "./options.ts";
import { note, printable, ProgressBar } from "./terminal.ts";

/** What is thrown of a file that can be fetched, and is none that runs. */
const doesNotRun = [FormatError, LimitError, TokenizerError, UnsupportedError];

/** What a user permits for models to be fetched and kept. */
export const hubFlags =
  `--allow-net=huggingface.co,*.huggingface.co,*.hf.co --allow-env=${
    hubVariables.join(",")
  } --allow-read --allow-write`;

/** Says what goes on otherwise than asked. */
export function warn(message: string): void {
  note(`note: ${printable(message)}`);
}

/**
 * The flags of a command, in which models of the hub have become paths; names
 * stay, where a command reads headers alone and the file is not there, or where
 * it cannot be kept.
 */
export async function withHubModels(
  flags: Flags,
  { options, readsHeader }: Pick<CommandSpec, "options" | "readsHeader">,
): Promise<Flags> {
  const specs = Object.values(options).map((table) => table.model);
  const spec = specs.find((each) => each !== undefined);
  if (!spec || !("hfRepo" in flags)) return flags;
  const { model } = flags as { model?: string | readonly string[] };
  const asked = askedOf(flags);
  const given = [model ?? []].flat();
  if (asked !== undefined && typeof model === "string") {
    throw new BadFlags("Cannot use -m and -hf: each names the model");
  }
  const names = asked === undefined ? given : [...given, hubNameText(asked)];
  if (!names.some(isHubName)) return flags;
  const paths: string[] = [];
  for (const name of names) {
    paths.push(
      isHubName(name)
        ? await pathOf(readHubName(name), flags, readsHeader?.(flags))
        : name,
    );
  }
  return { ...flags, model: spec.type === "strings" ? paths : paths[0] };
}

/** What the flags name on the hub, but for `-m`. */
function askedOf(
  { hfRepo, hfFile, revision }: HubFlags,
): HubName | undefined {
  if (hfRepo !== undefined) return hubName(hfRepo, { hfFile, revision });
  const lonely = hfFile !== undefined
    ? "-hff"
    : revision !== undefined
    ? "--revision"
    : undefined;
  if (lonely === undefined) return undefined;
  throw new BadFlags(`Cannot use ${lonely}: it goes with -hf OWNER/REPO`);
}

/** A name, with what flags say of it. */
export function hubName(
  text: string,
  { hfFile, revision }: HubFlags,
): HubName {
  try {
    const name = readHubName(text);
    return checkHubName({
      ...name,
      revision: revision ?? name.revision,
      file: hfFile ?? name.file,
    });
  } catch (error) {
    throw error instanceof UsageError ? new BadFlags(error.message) : error;
  }
}

/** The path of a model; its name, where it is to be read where it is. */
export async function pathOf(
  name: HubName,
  flags: HubFlags,
  readsHeader = false,
): Promise<string> {
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  const settings = await hubSettings({ offline: flags.offline });
  const found = await resolve(name, settings, { signal, onWarning: warn });
  if (typeof found === "string") return found;
  const pinned = hubNameText({ ...name, revision: found.commit });
  if (readsHeader) return pinned;
  if (!canKeep(settings)) {
    warn(
      `the model is read from the hub, and not kept; with ${hubFlags} it is`,
    );
    return pinned;
  }
  const { obstacle } = await inspectOnHub(found, settings, signal);
  if (obstacle !== undefined) throw new CulmError(obstacle);
  return await fetchModel(found, settings, signal);
}

/**
 * Fetches a model into the cache, and shows how far that has come.
 *
 * @throws {CulmError} where that fails
 */
export async function fetchModel(
  model: HubModel,
  settings: HubSettings & { readonly cache: string },
  signal: AbortSignal,
): Promise<string> {
  const { name: { repo } } = model;
  let bar: ProgressBar | undefined;
  let isFetching = false;
  try {
    return await pull(model, settings, {
      signal,
      onWarning: warn,
      onProgress: ({ loaded, total, before }) => {
        if (!isFetching && before < total) {
          isFetching = true;
          note(
            `fetching ${printable(repo)}: ${filesText(model)}, ${
              formatBytes(total)
            }${
              before > 0 ? `, of which ${formatBytes(before)} are there` : ""
            }`,
          );
        }
        bar ??= new ProgressBar("fetching", "bytes", before);
        bar.update(loaded, total);
      },
    });
  } finally {
    bar?.[Symbol.dispose]();
    if (signal.aborted && isFetching) {
      note("what has come stays: the same command goes on from there");
    }
  }
}

/** What is fetched, in words. */
function filesText({ files, opens }: HubModel): string {
  const [{ path }] = files;
  if (opens === "") return `${files.length} files`;
  const more = files.length > 1 ? ` and ${files.length - 1} more` : "";
  return printable(path) + more;
}

/** What a model's header says, before anything else of it is read; why it does not run, where it does not. */
export async function inspectOnHub(
  model: HubModel,
  settings: HubSettings,
  signal: AbortSignal,
): Promise<Partial<Inspection>> {
  const opened = await openOnHub(model, settings, { signal });
  try {
    const source = "files" in opened ? await viewFolder(opened) : opened;
    try {
      return await inspectFile(source, {
        contextSize: 0,
        threads: navigator.hardwareConcurrency,
        batchSize: 128,
        cacheType: "f16",
      });
    } finally {
      await source.close();
    }
  } catch (error) {
    if (!doesNotRun.some((kind) => error instanceof kind)) throw error;
    return { obstacle: (error as CulmError).message };
  }
}
