/**
 * Writes a generated file, or with `--check` reports whether the committed one
 * is what its source makes.
 *
 * @module
 */

/**
 * Writes `bytes` to `target`; with `--check` among the arguments compares
 * instead and exits with 1 when they differ.
 */
export async function writeOrCheck(
  target: URL,
  bytes: Uint8Array,
  task: string,
): Promise<void> {
  const name = target.pathname.split("/").at(-1);
  if (!Deno.args.includes("--check")) {
    await Deno.writeFile(target, bytes);
    console.log(`Wrote ${name}, ${bytes.length} bytes`);
    return;
  }
  const committed = await readIfThere(target);
  if (committed !== undefined && equal(committed, bytes)) {
    console.log(`${name} matches its source`);
    return;
  }
  console.error(
    committed === undefined
      ? `${name} is missing: run \`deno task ${task}\``
      : `${name} differs from its source (${committed.length} bytes committed, ` +
        `${bytes.length} made now): run \`deno task ${task}\``,
  );
  Deno.exit(1);
}

/** The file's bytes, or undefined when there is none. */
export async function readIfThere(
  file: URL,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    return await Deno.readFile(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
