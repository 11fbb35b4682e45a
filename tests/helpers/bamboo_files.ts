/**
 * tiny-bamboo's files, with what other implementations say of them: the embedded
 * one in every clone, and the full-size ones of its makers where they are here.
 */
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { openFile } from "../../src/bytes/file.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import { convert } from "../../src/convert/convert.ts";
import { toBuffer } from "../../src/formats/gguf/write.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import goldens from "../goldens/bamboo.json" with { type: "json" };
import { hasShared, sharedJson, sharedUrl } from "./shared_data.ts";

/** A prompt and its greedy continuation. */
export interface Golden {
  readonly prompt: string;
  readonly text: string;
  readonly prompt_ids: number[];
  readonly greedy_ids: number[];
  readonly steps: { readonly logprob: number }[];
  readonly nll_of_each_next_token: number[];
  readonly active_neurons_by_layer_and_position: number[][];
}

/** A model file without rounding of activations, and its goldens. */
export interface BambooFile {
  readonly name: string;
  open(): Promise<ByteSource>;
  texts(): readonly Golden[];
}

type Form = "llama" | "powerinfer";

/** What was converted, for all tests of a file. */
const asF32 = new Map<Form, Promise<Uint8Array<ArrayBuffer>>>();

/** The embedded model with its weights as F32, which holds them exactly. */
export async function embeddedAsF32(
  form: Form = "llama",
): Promise<ByteSource> {
  const made = asF32.get(form) ?? converted(form);
  asF32.set(form, made);
  return fromBuffer(await made, `tiny-bamboo as F32, ${form}`);
}

async function converted(form: Form): Promise<Uint8Array<ArrayBuffer>> {
  const made = await convert(tinyBamboo(), { type: "F32", form, threads: 0 });
  const bytes = await toBuffer(made.chunks());
  await made.close();
  return bytes;
}

/** By NumPy, in f32, on the embedded file's weights. */
const embedded: readonly BambooFile[] = (["llama", "powerinfer"] as const).map(
  (form) => ({
    name: `tiny-bamboo-f32.${form}`,
    open: () => embeddedAsF32(form),
    texts: () => goldens["tiny-bamboo-q8_0"].texts,
  }),
);

/** By PyTorch, in f32, on the weights that tiny-bamboo was trained to. */
const fullSize: readonly BambooFile[] = [
  "tiny-bamboo-f16",
  "tiny-bamboo-f16.powerinfer",
].map((name) => ({
  name,
  path: `tiny-bamboo/gguf/${name}.gguf`,
})).filter(({ path }) => hasShared(path)).map(({ name, path }) => ({
  name,
  open: () => openFile(sharedUrl(path)),
  texts: () => sharedJson<Golden[]>("tiny-bamboo/goldens.json"),
}));

/** All that are here. */
export const bambooFiles: readonly BambooFile[] = [...embedded, ...fullSize];
