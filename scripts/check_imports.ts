/**
 * Checks the order of the rooms (`import_rules.ts`) over the whole source:
 * names every import that climbs and every circle, and exits with 1 if there is one.
 *
 * Run: `deno task check:imports`
 *
 * @module
 */

import { circles, climbs, importsOf, ranks } from "./import_rules.ts";

const root = new URL("..", import.meta.url);

async function* sourceFiles(path: string): AsyncGenerator<string> {
  if (path.endsWith(".ts")) yield path;
  else {
    for await (
      const { name, isDirectory } of Deno.readDir(new URL(path, root))
    ) {
      if (isDirectory) yield* sourceFiles(`${path}/${name}`);
      else if (/(?<!\.bundle)\.[jt]s$/.test(name)) yield `${path}/${name}`;
    }
  }
}

const files: string[] = [];
// Rooms within others, `src/places` say, come with these.
for (const path of ranks.flat().filter((room) => !room.includes("/"))) {
  for await (const file of sourceFiles(path)) files.push(file);
}
const graph = new Map<string, string[]>();
for (const file of files) {
  const here = new URL(file, root);
  const source = await Deno.readTextFile(here);
  const imported = importsOf(source).map((path) =>
    new URL(path, here).href.slice(root.href.length)
  );
  graph.set(file, imported.filter((path) => files.includes(path)));
}
const faults = [
  ...climbs(graph),
  ...circles(graph).map((circle) => `circle: ${circle.join(", ")}`),
];
for (const fault of faults) console.error(fault);
console.log(`${files.length} files, ${faults.length} imports out of order`);
if (faults.length > 0) Deno.exit(1);
