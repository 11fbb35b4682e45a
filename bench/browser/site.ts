/** Serves the pages, isolated, and counts what engines take of the network. */
import { gzipSync } from "node:zlib";
import type { Files } from "./sides.ts";

const types: Readonly<Record<string, string>> = {
  js: "text/javascript",
  mjs: "text/javascript",
  wasm: "application/wasm",
  json: "application/json",
  html: "text/html; charset=utf-8",
};

/** What pages need for threads, and so what they load. */
const isolated = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

export interface Site extends AsyncDisposable {
  readonly url: string;
  /** Bytes of the engine's files that were sent since this was last asked */
  engineBytes(): number;
}

/** Engines' files are sent as gzip packs them, and may be kept by the browser; models as they are, by ranges too. */
export async function openSite(
  { engine, models }: { engine: Files; models: Files },
): Promise<Site> {
  const packed = await contents(
    engine,
    (bytes) => new Uint8Array(gzipSync(bytes)),
  );
  const plain = await contents(models, (bytes) => bytes);
  let sent = 0;
  const answer = (request: Request): Response => {
    const { pathname, searchParams } = new URL(request.url);
    const type = types[pathname.match(/\.(\w+)$/)?.[1] ?? "html"] ??
      "application/octet-stream";
    const headers = { ...isolated, "content-type": type };
    const script = packed.get(pathname);
    if (script) {
      sent += script.length;
      return new Response(script, {
        headers: {
          ...headers,
          "content-encoding": "gzip",
          "cache-control": "max-age=3600",
        },
      });
    }
    const model = plain.get(pathname);
    if (model) return ofModel(model, request, headers);
    const name = pathname.slice(1);
    if (name !== "empty" && !packed.has(`/${name}.js`)) {
      return new Response(null, { status: 404, headers: isolated });
    }
    const work = searchParams.get("work") ?? "null";
    return new Response(html(name, work), { headers });
  };
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    answer,
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    engineBytes() {
      const bytes = sent;
      sent = 0;
      return bytes;
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** The path of a page, whose script begins with its work at once. */
export function pagePath(name: string, work: unknown): string {
  return `/${name}?work=${encodeURIComponent(JSON.stringify(work))}`;
}

function html(name: string, work: string): string {
  const scripts = name === "empty" ? "" : `<script>var work = ${work};</script>
<script type="module" src="/${name}.js"></script>`;
  return `<!doctype html>
<html lang="en">
<title>${name}</title>
${scripts}
</html>`;
}

type Bytes = Uint8Array<ArrayBuffer>;

async function contents(
  files: Files,
  pack: (bytes: Bytes) => Bytes,
): Promise<Map<string, Bytes>> {
  const all = Object.entries(files).map(async ([path, file]) =>
    [path, pack(await Deno.readFile(file))] as const
  );
  return new Map(await Promise.all(all));
}

function ofModel(
  bytes: Bytes,
  request: Request,
  headers: Record<string, string>,
): Response {
  const all = { ...headers, "accept-ranges": "bytes", etag: '"1"' };
  const [, first, last] =
    request.headers.get("range")?.match(/^bytes=(\d+)-(\d*)$/) ?? [];
  if (first === undefined) {
    const length = { "content-length": `${bytes.length}` };
    return new Response(bytes, { headers: { ...all, ...length } });
  }
  const start = Number(first);
  const end = Math.min(bytes.length, last ? Number(last) + 1 : bytes.length);
  return new Response(bytes.subarray(start, end), {
    status: 206,
    headers: {
      ...all,
      "content-range": `bytes ${start}-${end - 1}/${bytes.length}`,
    },
  });
}
