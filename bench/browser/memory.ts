/** What a browser holds of this machine's memory. */
import { readdirSync, readFileSync } from "node:fs";

/** Bytes of a process and of all that it has started; what several share is counted once. */
export function memoryOf(process: number): number {
  const processes = [process];
  const parents = new Map(
    readdirSync("/proc").filter((name) => /^\d+$/.test(name))
      .map((name) => [Number(name), parentOf(name)]),
  );
  for (const each of processes) {
    for (const [child, parent] of parents) {
      if (parent === each) processes.push(child);
    }
  }
  return processes.map(shareOf).reduce((sum, each) => sum + each, 0);
}

function parentOf(process: string): number {
  const status = read(`/proc/${process}/stat`);
  // Behind the program's name, which may have any letters.
  return Number(status.slice(status.lastIndexOf(")")).split(" ")[2]);
}

/**
 * Bytes of a process that no file backs, for how much of the program's file is
 * there depends on who else runs it; of those that several share, its part.
 */
function shareOf(process: number): number {
  const text = read(`/proc/${process}/smaps_rollup`);
  const kilobytes = ["Anon", "Shmem"].map((kind) =>
    Number(text.match(new RegExp(`^Pss_${kind}:\\s*(\\d+) kB`, "m"))?.[1] ?? 0)
  );
  return 1024 * (kilobytes[0] + kilobytes[1]);
}

/** Empty where the process has ended. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
