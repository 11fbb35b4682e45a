/**
 * Writes the page for trying models (`web/try`) into a folder, with all that it
 * needs: any host of files will do. Without a folder's name, writes it into
 * `.cache/try` and serves it on this machine.
 *
 * Run: `deno task try [FOLDER]`
 *
 * @module
 */

import * as esbuild from "esbuild";
import { siteFiles } from "../browser.ts";

const root = new URL("..", import.meta.url);

/** Scripts: what pages and workers begin with, and import the rest. */
const scripts = ["web/try/main.js", "web/try/worker.js"];

/** Files that are taken as they are. */
const files = [
  "web/base.css",
  "web/icon.svg",
  "web/messages.css",
  "web/neurons.css",
  "web/try/index.html",
  "web/try/isolation_worker.js",
  "web/try/models.json",
  "web/try/try.css",
];

const types: Readonly<Record<string, string>> = {
  css: "text/css; charset=utf-8",
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  json: "application/json",
  svg: "image/svg+xml",
};

/** Writes the page into a folder, which may be there. */
export async function writeTry(folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  for (const path of files) {
    const name = path.slice(path.lastIndexOf("/") + 1);
    await Deno.copyFile(new URL(path, root), `${folder}/${name}`);
  }
  await Deno.writeTextFile(
    `${folder}/culm-worker.js`,
    siteFiles["culm-worker.js"],
  );
  const made = await Deno.makeTempDir();
  try {
    await bundle(made);
    for await (const { name } of Deno.readDir(made)) {
      const code = await Deno.readTextFile(`${made}/${name}`);
      await Deno.writeTextFile(`${folder}/${name}`, await plain(code));
    }
  } finally {
    await esbuild.stop();
    await Deno.remove(made, { recursive: true });
  }
}

async function bundle(folder: string): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["bundle", "--quiet", "--minify", "--platform=browser"],
      ...["--code-splitting", "--outdir", folder],
      ...scripts.map((path) => new URL(path, root).pathname),
    ],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

/** Code for browsers that have no `using`. */
async function plain(code: string): Promise<string> {
  // What only has a text in it, as the embedded model, is plain already.
  if (!/\busing\b/.test(code)) return code;
  const options = { target: "es2022", format: "esm", minify: true } as const;
  return (await esbuild.transform(code, options)).code;
}

/** Answers with the files of a folder, as a host of files does that sends no headers. */
export async function answerFrom(
  folder: string,
  request: Request,
): Promise<Response> {
  const { pathname } = new URL(request.url);
  const name = pathname === "/" ? "index.html" : pathname.slice(1);
  const type = types[name.slice(name.lastIndexOf(".") + 1)];
  try {
    if (/[/\\]/.test(name)) throw new Deno.errors.NotFound();
    const { readable } = await Deno.open(`${folder}/${name}`);
    return new Response(readable, {
      headers: { "content-type": type ?? "application/octet-stream" },
    });
  } catch {
    return new Response("There is no such file", { status: 404 });
  }
}

/** Serves a folder always at the same address, by which browsers know the models that they keep. */
function serve(folder: string): void {
  const port = 8000;
  try {
    Deno.serve(
      { hostname: "127.0.0.1", port },
      (request) => answerFrom(folder, request),
    );
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    console.error(`Cannot serve ${folder}: port ${port} is taken`);
    Deno.exit(1);
  }
}

if (import.meta.main) {
  const [folder] = Deno.args;
  const target = folder ?? new URL(".cache/try", root).pathname;
  await writeTry(target);
  console.log(`Wrote ${target}`);
  if (!folder) serve(target);
}
