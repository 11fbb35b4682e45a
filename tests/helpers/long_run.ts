/**
 * 10,000 tokens and more with half of the neurons on the GPU, checked by the CPU, and
 * what they leave of memory. A program of its own, whose memory nothing else
 * takes: prints a {@linkcode LongRun} as JSON.
 *
 * @module
 */
import { load, type LoadOptions } from "../../mod.ts";
import { hybrid } from "./hybrid_plans.ts";
import { smallF16 } from "./random_model.ts";

/** Collects garbage; there with V8's flag `--expose-gc`. */
declare const gc: () => void;

/** Whether the last texts left nothing of memory: a leak of 500 bytes a token would. */
export function isFlat(texts: LongRun["texts"]): boolean {
  const [first, last] = [texts.at(-9), texts.at(-1)];
  return first !== undefined && last!.rss - first.rss < 800_000;
}

/** What came of it. */
export interface LongRun {
  readonly backend: string;
  readonly gpu: string;
  readonly texts: readonly {
    readonly tokens: number;
    /** Those whose logit is more than 1e-3 behind the CPU's largest: two that are as likely but for rounding may change places */
    readonly wrong: number;
    /** Bytes on the device, and of the process, after the text */
    readonly device: number;
    readonly rss: number;
  }[];
}

async function run(): Promise<LongRun> {
  // Of one layer: what a step costs is what it asks of the driver.
  const { model: header, bytes } = await smallF16(1);
  const contextSize = 200;
  const options: LoadOptions = { threads: 1, contextSize, cacheType: "f32" };
  await using cpu = await load(bytes, options);
  await using both = await load(bytes, {
    ...options,
    gpu: "require",
    gpuPlan: hybrid(header, 0.5),
  });
  const texts: LongRun["texts"][number][] = [];
  // Heaps of workers and pools of the driver grow for a while before they are
  // collected for the first time.
  for (let text = 0; text < 50 || !isFlat(texts) && text < 150; text++) {
    using sequence = both.engine.createSequence();
    const ids = [text];
    for (let i = 0; i < contextSize; i++) {
      const [logits] = await both.engine.evaluate(sequence, ids.slice(-1));
      ids.push(logits.indexOf(Math.max(...logits)));
    }
    using check = cpu.engine.createSequence();
    const rows = await cpu.engine.evaluate(check, ids.slice(0, -1), "all");
    // Garbage that nobody has collected yet is no leak.
    gc();
    const isRight = (logits: Float32Array, i: number) =>
      Math.max(...logits) - logits[ids[i + 1]] < 1e-3;
    texts.push({
      tokens: rows.length,
      wrong: rows.length - rows.filter(isRight).length,
      device: both.engine.gpu!.bytes,
      rss: Deno.memoryUsage().rss,
    });
  }
  return { backend: both.backend, gpu: both.engine.gpu!.name, texts };
}

if (import.meta.main) console.log(JSON.stringify(await run()));
