/** What a model of the Hugging Face hub is called: `hf:OWNER/REPO:QUANT`. */
import { UsageError } from "../errors.ts";

/** A model on the hub. */
export interface HubName {
  /** `OWNER/REPO` */
  readonly repo: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /** Which of a repository's files, by the type that their names end in: `Q4_K_M`. */
  readonly quant?: string;
  /** Which file, by its path in the repository. */
  readonly file?: string;
}

/** The branch that is meant where nothing is said. */
export const mainRevision = "main";

const prefix = "hf:";
const word = /^\w([\w.-]*\w)?$/;

/** Whether a model's name is one of the hub. */
export function isHubName(text: unknown): text is string {
  return typeof text === "string" && text.startsWith(prefix);
}

/**
 * Reads `hf:OWNER/REPO`, with `@REVISION` behind it, and `:QUANT` or `/FILE`.
 * As in URLs, a slash in a revision is written `%2F`.
 *
 * @throws {UsageError} where it is no such name
 */
export function readHubName(text: string): HubName {
  const rest = text.startsWith(prefix) ? text.slice(prefix.length) : text;
  const [, repo, encoded = mainRevision, quant, file] =
    rest.match(/^([^/:@]+\/[^/:@]+)(?:@([^/:]+))?(?::([^/:]+)|\/(.+))?$/) ??
      [];
  if (repo === undefined) {
    throw wrong(text, "is not of the form OWNER/REPO:QUANT");
  }
  return checkHubName({ repo, revision: decoded(encoded), quant, file });
}

/** A name as {@linkcode readHubName} reads it. */
export function hubNameText({ repo, revision, quant, file }: HubName): string {
  const at = revision === mainRevision
    ? ""
    : `@${encodeURIComponent(revision)}`;
  const which = file !== undefined
    ? `/${file}`
    : quant !== undefined
    ? `:${quant}`
    : "";
  return `${prefix}${repo}${at}${which}`;
}

/**
 * Checks that a name can become a path in a folder, and no way out of it.
 *
 * @throws {UsageError} where it cannot
 */
export function checkHubName(name: HubName): HubName {
  const { repo, revision, file } = name;
  const words = repo.split("/");
  const isRepo = words.length === 2 && words.every((each) => word.test(each)) &&
    repo.length <= 96 && !/--|\.\.|\.git$/.test(repo);
  if (!isRepo) {
    throw wrong(
      repo,
      "is not OWNER/REPO, two words of letters, digits, -, _ and .",
    );
  }
  if (!isSafePath(revision)) throw wrong(revision, "is no revision");
  if (file !== undefined && !isSafePath(file)) {
    throw wrong(file, "is no file of a repository");
  }
  return name;
}

/** Whether a path stays within the folder that it is joined to, on every system. */
export function isSafePath(path: string): boolean {
  // deno-lint-ignore no-control-regex -- a path with control characters is none
  return path.length <= 1024 && !/[\\:\x00-\x1f\x7f]/.test(path) &&
    path.split("/").every((name) => !["", ".", ".."].includes(name));
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function wrong(text: string, what: string): UsageError {
  return new UsageError(
    `Cannot find a model on the hub: ${JSON.stringify(text)} ${what}`,
  );
}
