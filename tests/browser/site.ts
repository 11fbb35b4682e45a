/** Pages that have the library, at an address of this machine. */

/** What the server says of a page: whether it may share memory, and what its policy forbids. */
const isolated = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};
const pages: Readonly<Record<string, Record<string, string>>> = {
  "/isolated": isolated,
  "/strict": {
    ...isolated,
    "content-security-policy":
      "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'",
  },
  "/open": {},
};

const html = `<!doctype html>
<html lang="en">
  <head><title>culm</title></head>
  <body>
    <label>Model: <input type="file"></label>
    <script type="module" src="/in_page.js"></script>
  </body>
</html>`;

const types: Readonly<Record<string, string>> = {
  js: "text/javascript",
  html: "text/html; charset=utf-8",
};

export interface Site extends AsyncDisposable {
  readonly url: string;
}

/** Serves the files of a folder, as pages that may share memory. */
export function serveFolder(folder: string): Site {
  return serve(async (request) => {
    const { pathname } = new URL(request.url);
    const path = pathname.replace(/\/$/, "/index.html");
    const bytes = await Deno.readFile(folder + path).catch(() => undefined);
    return bytes
      ? respond(bytes, path.match(/\.(\w+)$/)![1], isolated)
      : new Response(null, { status: 404 });
  });
}

function serve(answer: (request: Request) => Promise<Response>): Site {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    answer,
  );
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Serves the pages, what `deno bundle` makes of the scripts, and by their paths on the site files or texts. */
export async function openSite(
  scripts: readonly string[],
  files: Readonly<Record<string, URL | string>>,
): Promise<Site> {
  const bundled = await bundle(scripts);
  const answer = async (request: Request) => {
    const { pathname } = new URL(request.url);
    if (pages[pathname]) return respond(html, "html", pages[pathname]);
    const body = files[pathname] ?? bundled.get(pathname);
    const ending = pathname.match(/\.(\w+)$/)?.[1] ?? "html";
    const bytes = body instanceof URL ? await Deno.readFile(body) : body;
    // What workers of an isolated page need.
    const headers = { "cross-origin-embedder-policy": "require-corp" };
    return bytes === undefined
      ? new Response(null, { status: 404 })
      : respond(bytes, ending, headers);
  };
  return serve(answer);
}

function respond(
  body: BodyInit,
  ending: string,
  headers: Record<string, string>,
): Response {
  const type = types[ending] ?? "application/octet-stream";
  return new Response(body, { headers: { ...headers, "content-type": type } });
}

/** What was bundled, by the scripts: each browser has the same. */
const bundles = new Map<string, Promise<ReadonlyMap<string, string>>>();

function bundle(
  scripts: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const key = scripts.join();
  const made = bundles.get(key) ?? makeBundle(scripts);
  bundles.set(key, made);
  return made;
}

/** Texts by their paths on the site. */
async function makeBundle(
  scripts: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const texts = new Map<string, string>();
  if (scripts.length === 0) return texts;
  const here = new URL(import.meta.url);
  const sources = scripts.map((name) => new URL(name, here).pathname);
  const folder = await Deno.makeTempDir();
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["bundle", "--quiet", "--platform=browser", "--code-splitting"],
        ...["--outdir", folder],
        ...sources,
      ],
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    for await (const { name } of Deno.readDir(folder)) {
      texts.set(`/${name}`, await Deno.readTextFile(`${folder}/${name}`));
    }
    return texts;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
