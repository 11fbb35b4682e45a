/**
 * Models of each architecture with keys and tensors that no model has: each is
 * run, or refused with one typed error of one line. No logit of one that is run
 * is NaN in silence.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  CulmError,
  FormatError,
  type UnsupportedError,
} from "../src/errors.ts";
import { quantise } from "../src/formats/ggml/quantise.ts";
import { isReadType } from "../src/formats/ggml/dequantise.ts";
import { randomBlocks } from "../src/formats/ggml/random_blocks.ts";
import {
  type GgmlType,
  ggmlTypes,
  tensorBytes,
} from "../src/formats/ggml/types.ts";
import { entry } from "../src/formats/gguf/gguf_file.ts";
import { type MetadataEntry, readGguf } from "../src/formats/gguf/read.ts";
import {
  type TensorToWrite,
  toBuffer,
  writeGguf,
} from "../src/formats/gguf/write.ts";
import { load } from "../src/load/load.ts";
import {
  architectureModel,
  architectureNames,
} from "./helpers/architecture_models.ts";
import { seededRandom } from "./helpers/seeded_random.ts";

/** A file that is to be written, and may be damaged before. */
interface Parts {
  readonly architecture: string;
  readonly metadata: Map<string, MetadataEntry>;
  readonly tensors: Map<string, TensorToWrite & { data: Uint8Array }>;
}

/** The files, each made once: the one with 64 layers takes as long as all others. */
const names = architectureNames.filter((name) => name !== "exaone4, windows");
const made = new Map<string, ReturnType<typeof architectureModel>>();

async function partsOf(name: string): Promise<Parts> {
  if (!made.has(name)) made.set(name, architectureModel(name));
  const { source, bytes, model } = await made.get(name)!;
  const file = await readGguf(source);
  const tensors = file.tensors.values().map((
    { name, type, shape, offset, byteLength },
  ) => {
    const data = bytes.subarray(offset, offset + byteLength);
    return [name, { name, type, shape, data }] as const;
  });
  return {
    architecture: model.architecture,
    metadata: new Map(file.metadata),
    tensors: new Map(tensors),
  };
}

/** Loads the model and takes steps within and beyond a page and the windows; its logits are numbers, or an error says that they are none. */
async function run({ metadata, tensors }: Parts): Promise<void> {
  const bytes = await toBuffer(
    writeGguf({ metadata, tensors: [...tensors.values()] }),
  );
  await using model = await load(bytes, {
    threads: 0,
    gpu: "off",
    contextSize: 48,
  });
  const { engine } = model;
  using sequence = engine.createSequence();
  const ids = Array.from({ length: 40 }, (_, i) => i % 9);
  await engine.evaluate(sequence, ids, "none");
  const { logits } = await engine.evaluateTop(sequence, [1], 5);
  assert(logits.every(Number.isFinite), `${logits}`);
}

/** Whether it was run; anything but a typed error of one line is a failure. */
async function runOrRefused(parts: Parts): Promise<boolean> {
  try {
    await run(parts);
    return true;
  } catch (error) {
    assert(error instanceof CulmError, `not typed: ${(error as Error).stack}`);
    assert.match(error.message, /^[^\n]{10,1000}$/);
    return false;
  }
}

type Damage = (parts: Parts) => void;

const hostileNumbers = [
  ...[0, -1, 0.5, 3, 7, 1e9, 2 ** 31, 2 ** 53, 1e30, 3e38, 1e-30, 1e-40],
  ...[NaN, Infinity, -Infinity],
];

const value: fc.Arbitrary<MetadataEntry> = fc.oneof(
  fc.constantFrom(...hostileNumbers).map(entry.real),
  fc.constantFrom(0, 1, 2, 3, 5, 64, 2 ** 31, 2 ** 32 - 1).map(entry.whole),
  fc.constantFrom(-1, -(2 ** 31), 8).map((value): MetadataEntry => ({
    type: "int32",
    value,
  })),
  fc.constant<MetadataEntry>({ type: "uint64", value: 2n ** 63n }),
  fc.constantFrom("", "linear", "yarn", "relu", "\u0000\n\u001b[2J")
    .map(entry.text),
  fc.boolean().map(entry.flag),
  fc.array(fc.constantFrom(...hostileNumbers), { maxLength: 9 })
    .map((values) => entry.reals(Float32Array.from(values))),
  fc.array(fc.integer({ min: -1, max: 3 }), { maxLength: 9 })
    .map((values) => entry.wholes(Int32Array.from(values))),
  fc.array(fc.boolean(), { maxLength: 9 }).map(entry.flags),
  fc.array(fc.string(), { maxLength: 3 }).map(entry.texts),
);

/** A key of a model, whichever architecture reads it. */
const keys = [
  ...["context_length", "embedding_length", "block_count", "attention.scale"],
  ...["feed_forward_length", "hidden_activation", "expert_count"],
  ...["attention.head_count", "attention.head_count_kv"],
  ...["attention.key_length", "attention.value_length"],
  ...["attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"],
  ...["attention.sliding_window", "attention.sliding_window_pattern"],
  ...["attention.temperature_scale", "attn_logit_softcapping"],
  ...["final_logit_softcapping", "embedding_scale", "residual_scale"],
  ...["logit_scale", "rope.dimension_count", "rope.freq_base"],
  ...["rope.freq_base_swa", "rope.scale_linear", "rope.scaling.type"],
  ...["rope.scaling.factor", "rope.scaling.attn_factor"],
  ...["rope.scaling.original_context_length", "rope.scaling.finetuned"],
  ...["rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"],
  "rope.scaling.yarn_log_multiplier",
];

const keyDamage: fc.Arbitrary<Damage> = fc.tuple(
  fc.constantFrom(...keys),
  fc.option(value, { freq: 9 }),
).map(([key, value]): Damage => ({ architecture, metadata }) => {
  const whole = `${architecture}.${key}`;
  if (value) metadata.set(whole, value);
  else metadata.delete(whole);
});

/** Puts a tensor of another shape or type in the place of one. */
function reshape(
  { tensors }: Parts,
  at: number,
  change: (shape: readonly number[]) => number[],
  type?: GgmlType,
): void {
  const tensor = [...tensors.values()][at % tensors.size];
  const shape = change(tensor.shape).map((side) => Math.max(1, side));
  type ??= tensor.type;
  if (shape[0] % ggmlTypes[type].blockSize !== 0) type = "F32";
  const length = shape.reduce((product, side) => product * side, 1);
  const random = seededRandom(at);
  const data = isReadType(type)
    ? randomBlocks(type, length, 0.1, random)
    : quantise(type, Float32Array.from({ length }, () => random() - 0.5));
  assert.equal(data.length, tensorBytes(type, shape));
  tensors.set(tensor.name, { ...tensor, type, shape, data });
}

const changes: readonly ((shape: readonly number[]) => number[])[] = [
  (shape) => [...shape],
  ([first, ...rest]) => [first + 1, ...rest],
  ([first, ...rest]) => [first / 2, ...rest].map(Math.ceil),
  (shape) => shape.toReversed(),
  (shape) => [...shape, 2],
  (shape) => [shape.reduce((product, side) => product * side, 1)],
  ([first, rows = 1]) => [first, rows + 1],
  () => [1],
];

const tensorDamage: fc.Arbitrary<Damage> = fc.oneof(
  fc.nat(999).map((at): Damage => ({ tensors }) => {
    tensors.delete([...tensors.keys()][at % tensors.size]);
  }),
  fc.tuple(
    fc.nat(999),
    fc.constantFrom(...changes),
    fc.option(fc.constantFrom(...Object.keys(ggmlTypes) as GgmlType[])),
  ).map(([at, change, type]): Damage => (parts) =>
    reshape(parts, at, change, type ?? undefined)
  ),
  // Under another's name.
  fc.tuple(
    fc.nat(999),
    fc.constantFrom(
      ...["attn_q_norm", "attn_qkv", "ffn_gate", "ffn_up", "ffn_down_t"],
      ...["post_attention_norm", "attn_norm", "ffn_sub_norm", "fc1"],
    ),
    fc.constantFrom("weight", "bias"),
  ).map(([at, name, kind]): Damage => ({ tensors }) => {
    const tensor = [...tensors.values()][at % tensors.size];
    const other = `blk.0.${name}.${kind}`;
    tensors.set(other, { ...tensor, name: other });
  }),
  // Weights that are no numbers, or enormous.
  fc.tuple(fc.nat(999), fc.constantFrom(...hostileNumbers)).map((
    [at, value],
  ): Damage =>
  ({ tensors }) => {
    const tensor = [...tensors.values()][at % tensors.size];
    const floats = new Float32Array(tensor.data.slice().buffer).fill(value);
    const data = new Uint8Array(floats.buffer);
    tensors.set(tensor.name, { ...tensor, data });
  }),
);

Deno.test("models of every architecture with keys and tensors that no model has are run or refused", async () => {
  let run = 0, refused = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...names),
      fc.array(fc.oneof(keyDamage, tensorDamage), {
        minLength: 1,
        maxLength: 2,
      }),
      async (name, damages) => {
        const parts = await partsOf(name);
        for (const damage of damages) damage(parts);
        if (await runOrRefused(parts)) run++;
        else refused++;
      },
    ),
    { numRuns: 400, seed: 22 },
  );
  assert(run > 40 && refused > 40, `${run} were run, ${refused} refused`);
});

/** Asserts that a model of an architecture, so damaged, is refused with an error of this kind. */
async function assertRefused(
  name: string,
  damage: Damage,
  kind: typeof FormatError | typeof UnsupportedError,
  message: RegExp,
): Promise<void> {
  const parts = await partsOf(name);
  damage(parts);
  await assert.rejects(run(parts), (error) => {
    assert(error instanceof kind, String(error));
    assert.match(error.message, message);
    return true;
  });
}

/** Sets a key of the architecture's. */
function withKey(key: string, value: MetadataEntry): Damage {
  return ({ architecture, metadata }) =>
    metadata.set(`${architecture}.${key}`, value);
}

/** A model, a key of it, and what it cannot be. */
type WrongKey = readonly [name: string, key: string, value: MetadataEntry];

const counts = [
  ["gemma3", "attention.sliding_window"],
  ["llama", "attention.sliding_window"],
  ["olmo2, windows and yarn", "attention.sliding_window"],
  ["gemma2", "attention.sliding_window_pattern"],
  ["llama", "expert_count"],
] as const;

const reals = [
  ["gemma3", "attention.scale"],
  ["gemma3", "final_logit_softcapping"],
  ["gemma2", "attn_logit_softcapping"],
  ["granite", "attention.scale"],
  ["granite", "embedding_scale"],
  ["mistral3, yarn and temperature", "attention.temperature_scale"],
  ["llama, yarn", "rope.scaling.yarn_log_multiplier"],
  ["llama", "rope.scaling.factor"],
] as const;

const wrongNumbers: readonly WrongKey[] = [
  ...[-1, 0.5, NaN, Infinity].flatMap((value) =>
    counts.map((key): WrongKey => [...key, entry.real(value)])
  ),
  ...[-1, NaN, Infinity, -Infinity].flatMap((value) =>
    reals.map((key): WrongKey => [...key, entry.real(value)])
  ),
  ["gemma3", "attention.sliding_window_pattern", entry.reals([NaN, 1, 1])],
  ["gemma3", "attention.sliding_window_pattern", entry.texts(["", "", ""])],
  ["llama", "feed_forward_length", entry.wholes([])],
  ["llama", "attention.head_count", entry.reals([NaN, NaN, NaN])],
];

Deno.test("numbers that make no sense are refused by the name of their key", async () => {
  for (const [name, key, value] of wrongNumbers) {
    const message = RegExp(
      `^Cannot read the model: \\w+\\.${key.replaceAll(".", "\\.")} is `,
    );
    await assertRefused(name, withKey(key, value), FormatError, message);
  }
});

Deno.test("a sparse threshold that is no number is refused", async () => {
  await assertRefused(
    "llama",
    ({ metadata }) =>
      metadata.set("powerinfer.sparse_threshold", entry.real(NaN)),
    FormatError,
    /powerinfer\.sparse_threshold is NaN/,
  );
});

Deno.test("tensors that hold several are refused where another holds one of them too, and where they have a side too many", async () => {
  await assertRefused(
    "phi3",
    (parts) => {
      const fused = parts.tensors.get("blk.0.attn_qkv.weight")!;
      const name = "blk.0.attn_q.weight";
      parts.tensors.set(name, { ...fused, name });
    },
    FormatError,
    /^Cannot read the model: it has blk\.0\.attn_q\.weight both by itself and in another tensor$/,
  );
  const reshaped = (change: (shape: readonly number[]) => number[]) => {
    return (parts: Parts) => {
      const at = [...parts.tensors.keys()].indexOf("blk.0.attn_qkv.weight");
      reshape(parts, at, change);
    };
  };
  await assertRefused(
    "phi3",
    reshaped((shape) => [...shape, 2]),
    FormatError,
    /^Cannot read tensor blk\.0\.attn_qkv\.weight: its shape is /,
  );
});

Deno.test("what a file calls things is printed without control characters, and not at length", async () => {
  const evil = `\u001b[2J\n${"x".repeat(500)}`;
  const texts: Record<string, Damage> = {
    "an architecture": ({ metadata }) =>
      metadata.set("general.architecture", entry.text(evil)),
    "rope's scaling": withKey("rope.scaling.type", entry.text(evil)),
    "an activation": withKey("hidden_activation", entry.text(evil)),
    "a tensor": ({ tensors }) => {
      const [first] = tensors.values();
      tensors.set(evil, { ...first, name: evil });
    },
    "a kind of vocabulary": ({ metadata }) =>
      metadata.set("tokenizer.ggml.model", entry.text(evil)),
    "a pre-tokenizer": ({ metadata }) => {
      metadata.set("tokenizer.ggml.model", entry.text("gpt2"));
      metadata.set("tokenizer.ggml.pre", entry.text(evil));
      metadata.set("tokenizer.ggml.merges", entry.texts([]));
    },
  };
  for (const [what, damage] of Object.entries(texts)) {
    const parts = await partsOf("llama");
    damage(parts);
    await assert.rejects(run(parts), (error: Error) => {
      assert(error instanceof CulmError, `${what}: ${error.stack}`);
      assert.doesNotMatch(error.message, /\p{Cc}|x{100}/u, what);
      assert.match(error.message, /x{40}/, what);
      return true;
    });
  }
});
