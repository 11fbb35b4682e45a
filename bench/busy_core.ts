/**
 * Measures how fast a model decodes while other work keeps cores busy: with one
 * thread, with one for each core, and with as many as the engine chooses.
 *
 * Run: `deno task bench:busy-core [MODEL.gguf] [--busy=1] [--seconds=3] [--rounds=3]`
 *
 * @module
 */
import { parseArgs } from "node:util";
import { load } from "../mod.ts";
import { tinyBamboo } from "../tiny/tiny.ts";

const { values: options, positionals: [file] } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    busy: { type: "string", default: "1" },
    seconds: { type: "string", default: "3" },
    rounds: { type: "string", default: "3" },
  },
});
const ms = 1000 * Number(options.seconds);
const cores = navigator.hardwareConcurrency;

const loop = URL.createObjectURL(
  new Blob(["for (;;);"], { type: "text/javascript" }),
);
const others = Array.from(
  { length: Number(options.busy) },
  () => new Worker(loop, { type: "module" }),
);

/** Tokens a second, of all the time and of the last third of it. */
async function decode(threads?: number): Promise<[number, number]> {
  await using model = await load(file ?? tinyBamboo(), { threads, gpu: "off" });
  using sequence = model.engine.createSequence();
  const times: number[] = [];
  const start = performance.now();
  for (let now = start; now < start + ms; now = performance.now()) {
    if (sequence.length === 256) sequence.truncate(0);
    await model.engine.evaluate(sequence, [times.length % 256], "last");
    times.push(performance.now() - start);
  }
  const last = times.filter((time) => time > 2 / 3 * ms);
  return [1000 * times.length / times.at(-1)!, 3000 * last.length / ms];
}

console.log(`${options.busy} of ${cores} cores busy; tokens/s, and of the end`);
for (let round = 0; round < Number(options.rounds); round++) {
  for (const threads of [1, cores, undefined]) {
    const [all, end] = (await decode(threads)).map((rate) => rate.toFixed(0));
    const name = threads === undefined ? "chosen" : `${threads} threads`;
    console.log(name.padEnd(10), all.padStart(6), end.padStart(6));
  }
}
for (const other of others) other.terminate();
Deno.exit();
