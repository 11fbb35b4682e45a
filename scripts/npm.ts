/**
 * Makes the packages for npm, `culm.tgz` and `culm-tiny.tgz`: what `deno pack`
 * makes of types and of `package.json`, and for culm scripts of esbuild's in
 * place of Deno's, which Node 22 cannot read (`using`) and in which the command
 * line would ask for Deno.
 *
 * Run: `deno task npm [FOLDER]`
 *
 * @module
 */
import * as esbuild from "esbuild";
import * as lowered from "./lowered.ts";
import config from "../deno.json" with { type: "json" };
import tiny from "../tiny/deno.json" with { type: "json" };

const root = new URL("..", import.meta.url).pathname;
const [target = `${root}.cache`] = Deno.args;
const folder = await Deno.makeTempDir();

/** Runs a program; its errors are this one's. */
async function run(command: string, args: string[], cwd = root) {
  const child = new Deno.Command(command, { args, cwd, stdout: "null" });
  const { code } = await child.spawn().status;
  if (code !== 0) throw new Error(`${command} ${args[0]}: exit code ${code}`);
}

/** Files of a folder, and of those in it. */
async function* filesIn(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) yield* filesIn(path);
    else yield path;
  }
}

/** Declarations of Deno 2.9 have comments between `readonly` and a name: what TypeScript takes for a name itself, in front of a line's end. */
async function mendTypes(path: string): Promise<void> {
  const text = await Deno.readTextFile(path);
  const mended = text.replace(/readonly (\/\*\*[^]*?\*\/) /g, "$1 readonly ");
  await Deno.writeTextFile(path, mended);
}

/** Files of the command line find Node's modules under the name of Deno. */
const denoOfNode: esbuild.Plugin = {
  name: "Deno of Node",
  setup(build) {
    build.onLoad({ filter: /\/cli\/.*\.ts$/ }, async ({ path }) => {
      if (path.startsWith(`${root}cli/node/`)) return;
      const text = await Deno.readTextFile(path);
      const of = `import { deno as Deno } from "${root}cli/node/deno.ts";`;
      return { contents: `${of}${text}`, loader: "ts" };
    });
  },
};

const imports: Record<string, string> = config.imports;

/** By a package's name, what of npm it is: `[name, version, path]`. */
function ofNpm(specifier: string): string[] {
  return imports[specifier].match(/^npm:(@?[^@]+)@([^/]+)(.*)$/)!.slice(1);
}

/** The versions that were tested, by packages' names. */
function versionsOfNpm(): Map<string, string> {
  return new Map(
    Object.keys(imports).map((name) => {
      const [of, version] = ofNpm(name);
      return [of, version];
    }),
  );
}

/** What the library uses of npm. It is part of the library, so that pages take its files as they are. */
const bundled = ["@noble/hashes", "deno-std", "fflate", "hono", "valibot"];

/** Puts those packages into a folder. */
async function installBundled(into: string) {
  const versions = versionsOfNpm();
  const dependencies = Object.fromEntries(
    bundled.map((name) => [name, versions.get(name)]),
  );
  await Deno.mkdir(into);
  const settings = JSON.stringify({ dependencies });
  await Deno.writeTextFile(`${into}/package.json`, settings);
  await run(Deno.execPath(), ["install", "--quiet"], into);
}

/** What a package asks of those who pass parts of it on. */
async function licenceOf(folder: string): Promise<string> {
  for await (const { name } of Deno.readDir(folder)) {
    if (!name.startsWith("LICENSE")) continue;
    return await Deno.readTextFile(`${folder}/${name}`);
  }
  // deno-std says it in each file alone.
  return "Copyright 2018-2026 the Deno authors. MIT license, as above.\n";
}

async function bundle(outdir: string): Promise<esbuild.Metafile> {
  const standard = Object.keys(imports).filter((name) => /^@std\//.test(name));
  const alias = standard.map((name) => {
    const [of, , path] = ofNpm(name);
    return [name, of + path];
  });
  const installed = `${folder}/bundled`;
  await installBundled(installed);
  const parts = bundled.map((name) => [
    name,
    `${installed}/node_modules/${name}`,
  ]);
  for (const [name, of] of parts) {
    const licence = `\n---\n\nParts of ${name}:\n\n${await licenceOf(of)}`;
    await Deno.writeTextFile(`${outdir}/LICENSE`, licence, { append: true });
  }
  const { metafile } = await esbuild.build({
    absWorkingDir: root,
    entryPoints: [...Object.values(config.exports), "./cli/node/main.ts"],
    outdir,
    outbase: root,
    chunkNames: "chunks/[name]-[hash]",
    bundle: true,
    splitting: true,
    format: "esm",
    target: lowered.target,
    banner: { js: lowered.symbols },
    packages: "external",
    alias: Object.fromEntries([...alias, ...parts]),
    plugins: [denoOfNode],
    metafile: true,
    logLevel: "warning",
  });
  await esbuild.stop();
  return metafile;
}

/** The packages that scripts import, with the versions that were tested. The command line imports the small model. */
function dependenciesOf({ outputs }: esbuild.Metafile): Record<string, string> {
  const versions = versionsOfNpm().set(tiny.name, tiny.version);
  const paths = Object.values(outputs).flatMap(({ imports }) => imports)
    .filter(({ external, path }) => external && !path.startsWith("node:"))
    .map(({ path }) => path.match(/^(@[^/]+\/)?[^/]+/)![0]);
  return Object.fromEntries(
    [...new Set(paths)].sort().map((name) => [name, versions.get(name)!]),
  );
}

/** What `deno pack` makes of a package of the workspace: the files' folder. */
async function pack(from: string): Promise<string> {
  const into = `${folder}/${from}`;
  await Deno.mkdir(into, { recursive: true });
  const options = ["--quiet", "--allow-dirty", "--no-source-maps"];
  const packed = ["pack", ...options, "-o", `${into}/pack.tgz`];
  await run(Deno.execPath(), packed, root + from);
  await run("tar", ["-xzf", "pack.tgz"], into);
  const made = `${into}/package`;
  for await (const file of filesIn(made)) {
    if (file.endsWith(".d.ts")) await mendTypes(file);
  }
  return made;
}

/** Puts WebAssembly beside the modules that have it as text, for edges that compile none; gives the entries. */
async function copyWasm(made: string): Promise<Record<string, string>> {
  const entries: Record<string, string> = {};
  for (
    const path of [
      "wasm/pkg/relaxed.wasm",
      "wasm/pkg/simd128.wasm",
      "wasm-constrain/pkg/constrain.wasm",
    ]
  ) {
    const name = path.replace(/.*\//, "");
    await Deno.copyFile(root + path, `${made}/wasm/${name}`);
    entries[`./${name}`] = `./wasm/${name}`;
  }
  return entries;
}

/** Writes a tarball of a package's files, with more settings and entries than `deno pack` knows. */
async function write(
  name: string,
  made: string,
  settings: object,
  entries: Record<string, string> = {},
) {
  const path = `${made}/package.json`;
  const packed = JSON.parse(await Deno.readTextFile(path));
  const all = {
    ...packed,
    exports: { ...packed.exports, ...entries },
    engines: { node: ">=22" },
    sideEffects: false,
    ...settings,
  };
  await Deno.writeTextFile(path, `${JSON.stringify(all, null, 2)}\n`);
  const tarball = `${target}/${name}.tgz`;
  await run("tar", ["-czf", tarball, "-C", `${made}/..`, "package"]);
  console.log(`Wrote ${tarball}`);
}

try {
  const { description } = tiny;
  await write("culm-tiny", await pack("tiny"), { description });

  const made = await pack("");
  await Deno.remove(`${made}/tiny`, { recursive: true });
  for await (const file of filesIn(made)) {
    if (file.endsWith(".js")) await Deno.remove(file);
  }
  await write("culm", made, {
    description: config.description,
    bin: { culm: "cli/node/main.js" },
    dependencies: dependenciesOf(await bundle(made)),
  }, await copyWasm(made));
} finally {
  await Deno.remove(folder, { recursive: true });
}
