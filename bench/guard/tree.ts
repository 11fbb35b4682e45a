/**
 * One tree's side of `deno task bench:guard`: loads a model with the tree given,
 * and answers one line of JSON a request. It uses what trees of all commits have
 * in common.
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import type { Setting, Work } from "./rows.ts";

/** What a side is asked: to load a model in place of the last, or to work with it. */
export type Request = { readonly load: Setting } | { readonly work: Work };

/** What it took, or why it could not be done. */
export type Answer = { readonly ms: number } | { readonly error: string };

const [tree] = Deno.args;
const { load, parseSparsity } = await import(`${tree}/mod.ts`);
const { tinyBamboo } = await import(`${tree}/tiny/tiny.ts`);

type Model = Awaited<ReturnType<typeof import("../../mod.ts").load>>;
let model: Model | undefined;

async function loadModel(setting: Setting): Promise<void> {
  await model?.[Symbol.asyncDispose]();
  model = undefined;
  model = await load(setting.model ?? tinyBamboo(), {
    threads: setting.threads,
    sparsity: parseSparsity(setting.sparsity),
    contextSize: 512,
    gpu: "off",
  });
}

/** Ids that every vocabulary has, no two that follow one another alike. */
const idsOf = (count: number) =>
  Array.from({ length: count }, (_, i) => 3 + i * 37 % 997);

/** Runs a work; what is evaluated first is not its own. */
async function run(work: Work): Promise<number> {
  const { engine } = model!;
  using stack = new DisposableStack();
  const start = (ids: number[]) => {
    const sequence = stack.use(engine.createSequence());
    return { sequence, ready: engine.evaluate(sequence, ids, "last") };
  };
  const timed = async (run: () => Promise<unknown>) => {
    const start = performance.now();
    await run();
    return performance.now() - start;
  };
  switch (work.kind) {
    case "prompt": {
      const { sequence, ready } = start([1]);
      await ready;
      const ids = idsOf(work.tokens);
      return await timed(() => engine.evaluate(sequence, ids, "last"));
    }
    case "decode": {
      const started = Array.from(
        { length: work.sequences },
        (_, i) => start(idsOf(16).slice(i)),
      );
      await Promise.all(started.map(({ ready }) => ready));
      const ids = idsOf(work.steps);
      return await timed(async () => {
        for (const id of ids) {
          await Promise.all(
            started.map(({ sequence }, i) =>
              engine.evaluate(sequence, [id + i], "last")
            ),
          );
        }
      });
    }
    case "start":
      return await timed(() =>
        new Deno.Command(Deno.execPath(), {
          args: ["run", "--allow-read", `${tree}/cli/main.ts`, "generate"]
            .concat("-t", "2", "-n", "1", "-p", "Once upon a time"),
          stdout: "null",
          stderr: "null",
        }).output()
      );
  }
}

async function answer(request: Request): Promise<Answer> {
  const start = performance.now();
  try {
    if ("work" in request) return { ms: await run(request.work) };
    await loadModel(request.load);
    return { ms: performance.now() - start };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

console.log(JSON.stringify({ name: tree }));
for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line))));
}
await model?.[Symbol.asyncDispose]();
