/** Somebody else's project in a bare folder, that has the packages from their tarballs or from the sources. */
import assert from "node:assert/strict";
import config from "../../deno.json" with { type: "json" };
import tiny from "../../tiny/deno.json" with { type: "json" };

const root = `${import.meta.dirname}/../../`;

/** Where a project of Deno that links the sources has the packages by name. */
export const linkedImports: Readonly<Record<string, string>> = Object
  .fromEntries(
    [config, tiny].map((
      { name, version },
    ) => [name, `jsr:${name}@^${version}`]),
  );

/** Runs a program to its end, which must be a good one. */
export async function output(
  command: string,
  args: readonly string[],
  cwd: string,
): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    cwd,
    // Without the first, Mesa's drivers complain on standard error.
    env: { XDG_RUNTIME_DIR: "/tmp", NO_COLOR: "1" },
    signal: AbortSignal.timeout(120_000),
  }).output();
  const [out, err] = [stdout, stderr].map((b) => new TextDecoder().decode(b));
  assert.equal(code, 0, `${command} ${args.join(" ")}: ${err}${out}`);
  return out;
}

/** Makes a folder that has the packages' tarballs, `culm.tgz` and `culm-tiny.tgz`. */
export async function makeTarballs(): Promise<string> {
  const cwd = await Deno.makeTempDir();
  await output(
    Deno.execPath(),
    ["run", "--quiet", "-A", "scripts/npm.ts", cwd],
    root,
  );
  return cwd;
}

/** A folder that has the packages, `others`, and what they depend on, in node_modules. */
export async function makeNpmProject(
  others: Readonly<Record<string, string>> = {},
): Promise<string> {
  const cwd = await makeTarballs();
  await Deno.writeTextFile(
    `${cwd}/package.json`,
    JSON.stringify({ private: true, dependencies: others }),
  );
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  const tarballs = ["./culm.tgz", "./culm-tiny.tgz"];
  await output("npm", ["install", ...quiet, ...tarballs], cwd);
  return cwd;
}

/** The major version of a runtime; 0 where there is none. */
export function majorOf(command: string): Promise<number> {
  return output(command, ["--version"], root).then(
    (out) => parseInt(out.replace("v", "")),
    () => 0,
  );
}
