import { CulmError } from "../../mod.ts";
import { type CachedRepository, HubCache } from "../../src/hub/cache.ts";
import { chooseFiles, modelsOf } from "../../src/hub/choice.ts";
import { type HubName, hubNameText, mainRevision } from "../../src/hub/name.ts";
import { hubSettings } from "../../src/hub/settings.ts";
import type { CommandSpec } from "../command.ts";
import { formatBytes, formatTable } from "../format.ts";
import { hubFlags } from "../hub_model.ts";
import type { FlagGroups, FlagsOfGroups } from "../option.ts";
import { jsonFlag } from "../options.ts";
import { note, printable, write } from "../terminal.ts";

const options = { Output: { json: jsonFlag } } as const satisfies FlagGroups;

/** A model in the cache. */
interface Listed {
  /** What `-m` takes: `hf:owner/repo:Q4_K_M` */
  readonly name: string;
  readonly bytes: number;
  readonly commit: string;
  /** Where it is; what is not whole is nowhere */
  readonly path?: string;
}

/** Lists models in the cache. */
export const list: CommandSpec = {
  name: "list",
  summary: "list the models of the Hugging Face hub that are in the cache",
  options,
  examples: ["culm list --json"],
  run,
};

async function run({ json }: FlagsOfGroups<typeof options>): Promise<number> {
  const cache = await cacheHere();
  const models = (await cache.list()).flatMap((repository) =>
    modelsIn(cache, repository)
  );
  if (json) {
    await write(`${JSON.stringify(models, undefined, 2)}\n`);
  } else if (models.length === 0) {
    note(`no models in ${printable(cache.folder)}`);
  } else {
    await write(formatTable(models.map(({ name, bytes, path }) => [
      printable(name),
      formatBytes(bytes).padStart(10),
      path === undefined ? "not whole: culm pull goes on" : "",
    ])));
  }
  return 0;
}

/**
 * The cache.
 *
 * @throws {CulmError} where the sandbox does not say where it is
 */
export async function cacheHere(): Promise<HubCache> {
  const { cache } = await hubSettings();
  if (cache !== undefined) return new HubCache(cache);
  throw new CulmError(
    `Cannot find the cache: the sandbox does not say where it is, or it may not be read; run culm with ${hubFlags}`,
  );
}

/** The models of a repository: GGUF files, folders, and what is not whole. */
function modelsIn(
  cache: HubCache,
  { repo, snapshots, incompleteBytes }: CachedRepository,
): Listed[] {
  const models = snapshots.flatMap(({ commit, refs, files }) => {
    const revision = refs.includes(mainRevision)
      ? mainRevision
      : refs[0] ?? commit;
    const paths = [...files.keys()];
    return namesIn(paths, { repo, revision }).map((name): Listed => {
      const { files: own, opens } = chooseFiles(paths, name);
      return {
        name: hubNameText(name),
        bytes: own.reduce((sum, path) => sum + files.get(path)!, 0),
        commit,
        path: cache.file(repo, commit, opens),
      };
    });
  });
  if (incompleteBytes > 0) {
    const name = hubNameText({ repo, revision: mainRevision });
    models.push({ name, bytes: incompleteBytes, commit: "" });
  }
  return models;
}

/** What models among paths are called: by their type, where that is enough. */
function namesIn(
  paths: readonly string[],
  name: HubName,
): HubName[] {
  const opened = (each: HubName) => {
    try {
      return chooseFiles(paths, each).opens;
    } catch (error) {
      if (error instanceof CulmError) return undefined;
      throw error;
    }
  };
  const models = modelsOf(paths);
  if (models.length === 0) return opened(name) === undefined ? [] : [name];
  return models.flatMap((file) => {
    const byFile = { ...name, file };
    if (opened(byFile) === undefined) return [];
    const base = file.replace(/(-\d{5}-of-\d{5})?\.gguf$/, "");
    const quant = base.match(/[-.]([a-z0-9_]+)$/i)?.[1];
    const byQuant = { ...name, quant };
    const isEnough = quant !== undefined && opened(byQuant) === file;
    return [isEnough ? byQuant : byFile];
  });
}
