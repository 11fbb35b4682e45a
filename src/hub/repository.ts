/** What the hub says of a repository. */
import * as v from "valibot";
import {
  Exchange,
  PassingError,
  refusal,
  RemoteFile,
  type UrlOptions,
} from "../bytes/exchange.ts";
import {
  type CulmError,
  FormatError,
  LimitError,
  UsageError,
} from "../errors.ts";
import type { HubName } from "./name.ts";
import { Patience, type PatienceOptions } from "./patience.ts";
import type { HubSettings } from "./settings.ts";

/** A file of a repository. */
export interface HubFile {
  /** Its path, with slashes. */
  readonly path: string;
  readonly size: number;
  /** What it is known by: SHA-256 of a large file, git's SHA-1 of another. */
  readonly hash: string;
}

/** The files of a repository at one commit. */
export interface HubListing {
  readonly commit: string;
  readonly files: readonly HubFile[];
}

/** How the hub is asked. */
export type HubOptions = PatienceOptions & Pick<UrlOptions, "timeout">;

/** The most bytes of a listing: ten thousand files take about 3 MB. */
const MOST_BYTES = 1 << 26;

const hashText = v.pipe(v.string(), v.regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/));
const size = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** A repository as `/api/models/REPO/revision/REVISION?blobs=true` has it, as far as it is read. */
const listing = v.object({
  sha: v.pipe(v.string(), v.regex(/^[0-9a-f]{40}$/)),
  siblings: v.array(v.object({
    rfilename: v.string(),
    size: v.nullish(size),
    blobId: v.nullish(hashText),
    lfs: v.nullish(v.object({ sha256: hashText, size })),
  })),
});

/**
 * Lists a repository's files.
 *
 * @throws {UsageError} where there is none, or it may not be read
 * @throws {FormatError} where the answer is no listing
 * @throws {CulmError} where the hub cannot be reached
 */
export async function listRepository(
  { repo, revision }: HubName,
  settings: HubSettings,
  options: HubOptions = {},
): Promise<HubListing> {
  const { endpoint } = settings;
  const path = `${repo}/revision/${encodeURIComponent(revision)}`;
  const url = `${endpoint}/api/models/${path}?blobs=true`;
  const refused = refusedFor({ repo, revision }, settings);
  const text = await readText(url, settings, refused, options);
  const found = v.safeParse(listing, parsed(text));
  if (!found.success) {
    throw new FormatError(
      `Cannot read ${url}: the answer is no listing of a repository: ${
        found.issues[0].message
      }`,
    );
  }
  const { sha, siblings } = found.output;
  const files = siblings.flatMap(({ rfilename, lfs, size, blobId }) => {
    const hash = lfs?.sha256 ?? blobId, bytes = lfs?.size ?? size;
    return hash == null || bytes == null
      ? []
      : [{ path: rfilename, size: bytes, hash }];
  });
  return { commit: sha, files };
}

/** Where a file is fetched from. */
export function fileUrl(
  endpoint: string,
  repo: string,
  commit: string,
  path: string,
): string {
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  return `${endpoint}/${repo}/resolve/${commit}/${encoded}`;
}

/** What is sent to the hub, and to nobody else. */
export function headersOf({ token }: HubSettings): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

/** What the hub's refusals mean, with the address where to ask. */
export function refusedFor(
  { repo, revision }: Pick<HubName, "repo" | "revision">,
  { endpoint, token }: HubSettings,
): typeof refusal {
  const tokens = `${endpoint}/settings/tokens`;
  const setToken = `set HF_TOKEN to a token that may read it (${tokens})`;
  return (url, response): CulmError => {
    const { status, headers } = response;
    const isElsewhere = response.redirected &&
      new URL(response.url).origin !== new URL(url).origin;
    if (isElsewhere) return refusal(url, response);
    const code = headers.get("x-error-code");
    const message = headers.get("x-error-message");
    if (code === "GatedRepo") {
      return new UsageError(
        `Cannot read ${repo}: its owners want to be asked first, at ${endpoint}/${repo}; ${
          token === undefined
            ? `then ${setToken}`
            : "the owner of the token has not asked, or has no answer yet"
        }`,
      );
    }
    if (code === "RevisionNotFound") {
      return new UsageError(
        `Cannot find ${repo}: it has no revision ${revision}; ${endpoint}/${repo}/tree/main lists them`,
      );
    }
    if (code === "EntryNotFound") {
      return new UsageError(`Cannot find ${url}: there is no such file`);
    }
    if (
      status === 401 && token !== undefined && /credentials/.test(message ?? "")
    ) {
      return new UsageError(
        `Cannot read ${repo}: ${endpoint} does not know the token that was given; ${tokens} makes another`,
      );
    }
    if (code === "RepoNotFound" || status === 401 || status === 404) {
      return new UsageError(
        `Cannot find ${repo} at ${endpoint}: there is none of this name, or it is private: then ${setToken}`,
      );
    }
    if (status === 403 && message !== null) {
      return new UsageError(
        `Cannot read ${repo}: ${message} (${endpoint}/${repo})`,
      );
    }
    return refusal(url, response);
  };
}

/** A file of the hub, to be asked for. */
export function remoteFile(
  name: HubName,
  commit: string,
  path: string,
  settings: HubSettings,
  { signal, timeout }: HubOptions,
): RemoteFile {
  return new RemoteFile(
    fileUrl(settings.endpoint, name.repo, commit, path),
    { signal, timeout, headers: headersOf(settings) },
    refusedFor(name, settings),
  );
}

/** A whole text from the hub. */
async function readText(
  url: string,
  settings: HubSettings,
  refused: typeof refusal,
  options: HubOptions,
): Promise<string> {
  const patience = new Patience(options);
  while (true) {
    try {
      const exchange = await Exchange.start(
        url,
        url,
        headersOf(settings),
        options,
      );
      if (exchange.response.status === 200) return await textOf(exchange);
      await exchange.cancel();
      throw refused(url, exchange.response);
    } catch (error) {
      await patience.bear(error);
    }
  }
}

async function textOf(exchange: Exchange): Promise<string> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const chunk of exchange.chunks()) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MOST_BYTES) {
      throw new LimitError(
        `Cannot read ${exchange.url}: the answer has more than ${MOST_BYTES} bytes`,
      );
    }
  }
  const declared = exchange.response.headers.get("content-length");
  if (declared !== null && size < Number(declared)) {
    throw new PassingError(
      `Cannot read ${exchange.url}: expected ${declared} bytes, the server sent ${size}`,
    );
  }
  return await new Blob(chunks).text();
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
