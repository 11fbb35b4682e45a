/**
 * The order of the source's rooms, and what breaks it: an import that climbs to
 * a room above, one that goes sideways, and a circle of files.
 *
 * @module
 */

/**
 * Rooms by rank, lowest first. A file imports from its own room and from rooms
 * of lower rank; those of one rank do not know one another. Files that lie
 * beside the rooms (`src/errors.ts`) rank below all of them.
 */
export const ranks: readonly (readonly string[])[] = [
  ["src/std"],
  ["src"],
  ["src/platform"],
  ["src/bytes"],
  ["src/formats", "src/hub"],
  ["src/model"],
  ["src/kernels", "src/plan", "src/sampling", "src/tokenizer"],
  ["src/constrain"],
  ["src/convert"],
  ["src/places"],
  ["src/engine"],
  ["src/generate"],
  ["src/load"],
  ["src/browser", "src/lab", "src/server"],
  ["src/gateway"],
  ["src/worker"],
  [
    "browser.ts",
    "convert.ts",
    "gguf.ts",
    "lab.ts",
    "mod.ts",
    "plan.ts",
    "server.ts",
  ],
  ["cli"],
];

/** Files of the project that each file imports, type-only imports included; by path from the root. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

/** The relative paths that a module imports, or exports from. Paths to data (JSON, text, WebAssembly) are among them. */
export function importsOf(source: string): string[] {
  const code = source.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
  const statement = /\b(?:from|import)\s*\(?\s*"(\.{1,2}\/[^"]+)"/g;
  return [...code.matchAll(statement)].map(([, path]) => path);
}

/** The room that a file lies in. */
export function roomOf(file: string): string {
  const [first, second, ...rest] = file.split("/");
  return first === "src" && rest.length > 0 ? `src/${second}` : first;
}

/** Imports that go to a room of the same rank or of a higher one, in words. */
export function climbs(graph: ImportGraph): string[] {
  const rankOf = (file: string) =>
    ranks.findIndex((rooms) => rooms.includes(roomOf(file)));
  const found: string[] = [];
  for (const [file, imports] of graph) {
    if (rankOf(file) < 0) found.push(`${file} lies in a room without a rank`);
    for (const imported of imports) {
      if (roomOf(imported) === roomOf(file)) continue;
      const way = Math.sign(rankOf(imported) - rankOf(file));
      if (way > 0) found.push(`${file} climbs to ${imported}`);
      if (way === 0) found.push(`${file} goes sideways to ${imported}`);
    }
  }
  return found;
}

/** Circles of imports: the files of each strongly connected component of more than one file (Tarjan 1972). */
export function circles(graph: ImportGraph): string[][] {
  const found: string[][] = [];
  const number = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const visit = (file: string) => {
    number.set(file, number.size);
    lowest.set(file, number.get(file)!);
    stack.push(file);
    for (const imported of graph.get(file) ?? []) {
      if (!number.has(imported)) visit(imported);
      if (stack.includes(imported)) {
        lowest.set(file, Math.min(lowest.get(file)!, lowest.get(imported)!));
      }
    }
    if (lowest.get(file) !== number.get(file)) return;
    const component = stack.splice(stack.indexOf(file));
    const isCircle = component.length > 1 || graph.get(file)?.includes(file);
    if (isCircle) found.push(component.sort());
  };
  for (const file of graph.keys()) if (!number.has(file)) visit(file);
  return found;
}
