/** Somebody else's project in a bare folder, that has the package from its tarball. */
import assert from "node:assert/strict";

const root = `${import.meta.dirname}/../../`;

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

/** Makes a folder that has the package's tarball, `culm.tgz`. */
export async function makeTarball(): Promise<string> {
  const cwd = await Deno.makeTempDir();
  await output(
    Deno.execPath(),
    ["run", "--quiet", "-A", "scripts/npm.ts", `${cwd}/culm.tgz`],
    root,
  );
  return cwd;
}

/** A folder that has the package, `others`, and what they depend on, in node_modules. */
export async function makeNpmProject(
  others: Readonly<Record<string, string>> = {},
): Promise<string> {
  const cwd = await makeTarball();
  await Deno.writeTextFile(
    `${cwd}/package.json`,
    JSON.stringify({ private: true, dependencies: others }),
  );
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  await output("npm", ["install", ...quiet, "./culm.tgz"], cwd);
  return cwd;
}

/** The major version of a runtime; 0 where there is none. */
export function majorOf(command: string): Promise<number> {
  return output(command, ["--version"], root).then(
    (out) => parseInt(out.replace("v", "")),
    () => 0,
  );
}
