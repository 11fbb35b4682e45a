/** A hub of the tests' own: it speaks the API of the Hugging Face hub, and fails as it is told. */
import { createHash } from "node:crypto";

/** A file of a repository: bytes, or what makes them. */
export interface Content {
  readonly size: number;
  /** SHA-256; git's SHA-1 where the file is kept in git. */
  readonly hash: string;
  readonly isSmall: boolean;
  read(start: number, end: number): Uint8Array<ArrayBuffer>;
}

/** A file that the hub keeps in its storage, or a small one, which it keeps in git. */
export function content(bytes: Uint8Array, isSmall = false): Content {
  const sum = isSmall
    ? createHash("sha1").update(`blob ${bytes.length}\0`)
    : createHash("sha256");
  return {
    size: bytes.length,
    hash: sum.update(bytes).digest("hex"),
    isSmall,
    read: (start, end) => bytes.slice(start, end),
  };
}

/** A large file that is nowhere: each MiB begins with its number. */
export function generated(size: number): Content {
  const block = 1 << 20;
  const noise = Uint8Array.from(
    { length: block },
    (_, i) => Math.imul(i, 0x9e3779b1) >>> 24,
  );
  const read = (start: number, end: number) => {
    const bytes = new Uint8Array(end - start);
    for (let at = start; at < end;) {
      const number = Math.floor(at / block), within = at - number * block;
      const piece = noise.slice(within, Math.min(block, within + end - at));
      if (within === 0) piece[0] = number;
      bytes.set(piece, at - start);
      at += piece.length;
    }
    return bytes;
  };
  const sum = createHash("sha256");
  for (let at = 0; at < size; at += block) {
    sum.update(read(at, Math.min(size, at + block)));
  }
  return { size, hash: sum.digest("hex"), isSmall: false, read };
}

/** What was asked of the hub. */
export interface Asked {
  /** `api`, `resolve` or `storage` */
  readonly what: string;
  readonly path: string;
  readonly range?: readonly [start: number, end: number];
  readonly token: string | null;
}

/** Answers in place of the hub; nothing, where it has nothing against the request. */
export type Fault = (asked: Asked, count: number) =>
  | Response
  | undefined
  | Promise<Response | undefined>;

const repo = "owner/model-GGUF";

/** One repository, `owner/model-GGUF`, at one commit. */
export class TestHub implements AsyncDisposable {
  commit = "1".repeat(40);
  /** Everything that was asked. */
  readonly asked: Asked[] = [];
  /** What goes wrong. */
  fault: Fault | undefined;
  /** How many requests an address in the storage lives for. */
  addressLife = Infinity;
  #addresses = new Map<string, number>();
  readonly #stop = new AbortController();
  readonly #hub: Deno.HttpServer<Deno.NetAddr>;
  readonly #storage: Deno.HttpServer<Deno.NetAddr>;

  constructor(readonly files: Record<string, Content>) {
    const options = {
      hostname: "127.0.0.1",
      port: 0,
      onListen: () => {},
      signal: this.#stop.signal,
    };
    this.#hub = this.#serve(options, (request) => this.#answer(request));
    this.#storage = this.#serve(options, (request) => this.#store(request));
  }

  /** Serves whom it may concern, pages of other origins included, as the hub does. */
  #serve(
    options: Deno.ServeTcpOptions,
    answer: (request: Request) => Promise<Response>,
  ): Deno.HttpServer<Deno.NetAddr> {
    return Deno.serve(options, async (request) => {
      const response = request.method === "OPTIONS"
        ? new Response()
        : await answer(request);
      for (const what of ["allow-origin", "expose-headers", "allow-headers"]) {
        response.headers.set(`access-control-${what}`, "*");
      }
      return response;
    });
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#hub.addr.port}`;
  }

  /** The hosts that a program talks to. */
  get hosts(): string {
    const { addr: hub } = this.#hub, { addr: storage } = this.#storage;
    return `127.0.0.1:${hub.port},127.0.0.1:${storage.port}`;
  }

  /** Bytes that were asked for of the storage. */
  get bytesAsked(): number {
    return this.asked.reduce(
      (sum, { what, range }) =>
        what === "storage" && range ? sum + range[1] - range[0] : sum,
      0,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#hub.finished;
    await this.#storage.finished;
  }

  async #note(what: string, request: Request): Promise<{
    asked: Asked;
    fault: Response | undefined;
  }> {
    const [, start, end] =
      request.headers.get("range")?.match(/^bytes=(\d+)-(\d+)$/) ?? [];
    const asked: Asked = {
      what,
      path: decodeURIComponent(new URL(request.url).pathname),
      range: start === undefined ? undefined : [Number(start), Number(end) + 1],
      token: request.headers.get("authorization"),
    };
    this.asked.push(asked);
    const count = this.asked.filter((each) => each.what === what).length;
    return { asked, fault: await this.fault?.(asked, count) };
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const api = `/api/models/${repo}/revision/`;
    const what = pathname.startsWith("/api/") ? "api" : "resolve";
    const { asked, fault } = await this.#note(what, request);
    if (fault) return fault;
    const error = (status: number, code: string) =>
      new Response("", { status, headers: { "x-error-code": code } });
    if (asked.path.startsWith(api)) {
      const revision = asked.path.slice(api.length);
      const isThere = ["main", "refs/pr/1", this.commit].includes(revision);
      return isThere ? this.#listing() : error(404, "RevisionNotFound");
    }
    const resolve = `/${repo}/resolve/${this.commit}/`;
    if (!asked.path.startsWith(resolve)) return error(401, "RepoNotFound");
    const path = asked.path.slice(resolve.length);
    const file = this.files[path];
    if (!file) return error(404, "EntryNotFound");
    const headers: Record<string, string> = { "x-repo-commit": this.commit };
    if (file.isSmall) {
      return partial(file, asked, { ...headers, etag: `"${file.hash}"` });
    }
    headers["x-linked-etag"] = `"${file.hash}"`;
    headers["x-linked-size"] = `${file.size}`;
    const signature = crypto.randomUUID();
    this.#addresses.set(signature, this.addressLife);
    const { port } = this.#storage.addr;
    headers.location = `http://127.0.0.1:${port}/${path}?sign=${signature}`;
    return new Response(null, { status: 302, headers });
  }

  #listing(): Response {
    return Response.json({
      id: repo,
      sha: this.commit,
      siblings: Object.entries(this.files).map(([rfilename, file]) => ({
        rfilename,
        size: file.size,
        blobId: file.isSmall ? file.hash : "0".repeat(40),
        lfs: file.isSmall
          ? undefined
          : { sha256: file.hash, size: file.size, pointerSize: 134 },
      })),
    });
  }

  async #store(request: Request): Promise<Response> {
    const { asked, fault } = await this.#note("storage", request);
    if (fault) return fault;
    const signature = new URL(request.url).searchParams.get("sign") ?? "";
    const left = this.#addresses.get(signature) ?? 0;
    this.#addresses.set(signature, left - 1);
    if (left <= 0) return new Response("expired", { status: 403 });
    return partial(this.files[asked.path.slice(1)], asked);
  }
}

/** An answer with the range that was asked for. */
export function partial(
  file: Content,
  { range = [0, file.size] }: Pick<Asked, "range">,
  headers: Record<string, string> = {},
): Response {
  const [start, end] = range;
  return new Response(file.read(start, Math.min(end, file.size)), {
    status: 206,
    headers: {
      ...headers,
      "content-range": `bytes ${start}-${end - 1}/${file.size}`,
    },
  });
}
