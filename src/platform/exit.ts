/** The end of the process. */

interface Process {
  on(event: "exit", callback: () => void): void;
  off(event: "exit", callback: () => void): void;
}

/** Calls back as the process ends, where it has not been taken back. Gives what takes it back. */
export function onExit(callback: () => void): () => void {
  const { process, Deno } = globalThis as {
    readonly process?: Process;
    readonly Deno?: unknown;
  };
  if (process && !Deno) {
    process.on("exit", callback);
    return () => process.off("exit", callback);
  }
  addEventListener("unload", callback);
  return () => removeEventListener("unload", callback);
}
