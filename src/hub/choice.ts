/** Which of a repository's files a name means, as llama.cpp chooses them. */
import { partNames } from "../bytes/parts.ts";
import { FormatError, UsageError } from "../errors.ts";
import { type HubName, isSafePath } from "./name.ts";

/** What is to be fetched. */
export interface HubChoice {
  /** Paths in the repository. */
  readonly files: readonly string[];
  /** The one that is opened, which stands for all; empty where the folder is. */
  readonly opens: string;
}

/** Types that are looked for where none is named, first to last; then any. */
const usualQuants = ["Q4_K_M", "Q8_0"];

/** Beginnings of the names of files that go with a model, and are none: projectors of images, statistics, drafting heads. */
const noModel = /mmproj|imatrix|mtp-|eagle3-|dflash-|dspark-/;

/**
 * Chooses files of those that there are.
 *
 * @throws {UsageError} where there is none that the name means
 * @throws {FormatError} where a name would lead out of the folder it goes into
 */
export function chooseFiles(
  paths: readonly string[],
  name: HubName,
): HubChoice {
  const choice = chooseModel(paths, name) ?? chooseFolder(paths, name);
  if (choice === undefined) throw noneFor(paths, name);
  const unsafe = choice.files.find((path) => !isSafePath(path));
  if (unsafe !== undefined) {
    throw new FormatError(
      `Cannot fetch ${
        JSON.stringify(unsafe)
      } of ${name.repo}: its name leads elsewhere`,
    );
  }
  return choice;
}

/** A GGUF file with all its parts, or the file that is named. */
function chooseModel(
  paths: readonly string[],
  { repo, file, quant }: HubName,
): HubChoice | undefined {
  const chosen = file !== undefined
    ? paths.find((path) => path.toLowerCase() === file.toLowerCase())
    : findQuant(modelsOf(paths), quant);
  if (chosen === undefined) return undefined;
  const files = partNames(chosen) ?? [chosen];
  const missing = files.find((path) => !paths.includes(path));
  if (missing !== undefined) {
    throw new UsageError(
      `Cannot fetch ${chosen} of ${repo}: it is one of ${files.length} files, and ${missing} is not there`,
    );
  }
  return { files, opens: files[0] };
}

/** The GGUF files that are models, of each the first part. */
export function modelsOf(paths: readonly string[]): string[] {
  return paths.filter((path) => {
    const name = path.slice(path.lastIndexOf("/") + 1);
    return name.endsWith(".gguf") && !noModel.test(name) &&
      [undefined, path].includes(partNames(path)?.[0]);
  });
}

/** The first path with a type in it, behind which a point or a minus stands. */
function findQuant(
  models: readonly string[],
  quant: string | undefined,
): string | undefined {
  for (const wanted of quant === undefined ? usualQuants : [quant]) {
    const text = wanted.toLowerCase();
    const found = models.find((path) =>
      [".", "-"].some((end) => path.toLowerCase().includes(text + end))
    );
    if (found !== undefined) return found;
  }
  return quant === undefined ? models[0] : undefined;
}

/** The files of a Hugging Face folder, which runs as it is. */
function chooseFolder(
  paths: readonly string[],
  { file, quant }: HubName,
): HubChoice | undefined {
  if (file !== undefined || quant !== undefined) return undefined;
  const weights = [/^model[^/]*\.safetensors$/, /^pytorch_model[^/]*\.bin$/]
    .map((kind) => paths.filter((path) => kind.test(path)))
    .find((found) => found.length > 0);
  if (!weights || !paths.includes("config.json")) return undefined;
  const others = paths.filter((path) =>
    /^[^/]+\.(json|model|jinja|txt)$/.test(path)
  );
  return { files: [...others, ...weights], opens: "" };
}

function noneFor(
  paths: readonly string[],
  { repo, file, quant }: HubName,
): UsageError {
  const wanted = file ?? (quant === undefined ? "GGUF file" : quant);
  const models = modelsOf(paths);
  return new UsageError(
    `Cannot find a model in ${repo}: it has no ${wanted}; ${
      models.length === 0
        ? "there are no GGUF files in it"
        : `there are ${models.join(", ")}`
    }`,
  );
}
