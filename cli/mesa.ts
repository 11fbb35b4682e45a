/**
 * Mesa's drivers write `error: XDG_RUNTIME_DIR is invalid` to standard error,
 * several times, where a machine without a desktop names no folder for sockets.
 * They need none.
 *
 * @module
 */

/** Names a folder, where none is named and the sandbox lets us. */
export async function quietMesa(): Promise<void> {
  const variable = "XDG_RUNTIME_DIR";
  if (Deno.build.os !== "linux") return;
  const { state } = await Deno.permissions.query({ name: "env", variable });
  if (state === "granted" && Deno.env.get(variable) === undefined) {
    Deno.env.set(variable, "/tmp");
  }
}
