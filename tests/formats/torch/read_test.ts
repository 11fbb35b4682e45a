import assert from "node:assert/strict";
import { openFile } from "../../../src/bytes/file.ts";
import { fromBuffer } from "../../../src/bytes/memory.ts";
import { CulmError, FormatError } from "../../../src/errors.ts";
import {
  readTorch,
  tensorsOf,
  TorchTensor,
} from "../../../src/formats/torch/read.ts";
import { seededRandom } from "../../helpers/seeded_random.ts";
import { fixtureUrl } from "../../helpers/fixtures.ts";
import { hasShared, sharedUrl } from "../../helpers/shared_data.ts";
import { vectorPickle, zipOf, zipOfAll } from "../../helpers/torch_zip.ts";

interface Golden {
  bytes: string;
  tensors: Record<string, { dtype: string; shape: number[]; values: number[] }>;
}

/** Made by scripts/goldens/torch_files.py. */
const goldens: {
  files: Record<string, Golden>;
  refused: Record<string, string>;
} = JSON.parse(
  await Deno.readTextFile(
    new URL("../goldens/torch_files.json", import.meta.url),
  ),
);

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** What holds the elements of some types as files do. */
const arrays: Readonly<
  Record<string, typeof Float32Array | typeof Float64Array | typeof Int32Array>
> = { float32: Float32Array, float64: Float64Array, int32: Int32Array };

for (const [name, { bytes, tensors }] of Object.entries(goldens.files)) {
  Deno.test(`every tensor is read: ${name}`, async () => {
    const value = await readTorch(fromBuffer(fromBase64(bytes)));
    const read = tensorsOf(value);
    assert.deepEqual([...read.keys()].sort(), Object.keys(tensors).sort());
    for (const [path, golden] of Object.entries(tensors)) {
      const tensor = read.get(path)!;
      assert.equal(tensor.dtype, golden.dtype, path);
      assert.deepEqual(tensor.shape, golden.shape, path);
      assert.equal(tensor.length, golden.values.length, path);
      assert.deepEqual(
        await tensor.values(),
        Float64Array.from(golden.values.map(Number)),
        path,
      );
      // The same elements as they are stored.
      const Words = arrays[golden.dtype];
      if (!Words) continue;
      assert.deepEqual(
        await tensor.bytes(),
        new Uint8Array(Words.from(golden.values.map(Number)).buffer),
        path,
      );
    }
  });
}

Deno.test("plain values come as they are, beside tensors", async () => {
  const { bytes } = goldens.files["nested, protocol 4"];
  const value = await readTorch(fromBuffer(fromBase64(bytes)));
  assert(value instanceof Map);
  const layers = value.get("layers");
  assert(Array.isArray(layers));
  assert.deepEqual(layers[1], [null, true, 2 ** 40, -3, 1.5, "text"]);
});

for (const [message, bytes] of Object.entries(goldens.refused)) {
  Deno.test(`a file is refused that says: ${message}`, async () => {
    await assert.rejects(
      readTorch(fromBuffer(fromBase64(bytes), "hostile.pt")),
      (error: Error) =>
        error instanceof CulmError && error.message.includes(message) &&
        error.message.includes("hostile.pt"),
    );
  });
}

Deno.test("what is no file of PyTorch's is refused in one line", async () => {
  for (
    const text of ["GGUF", "x", "PK\x03\x04 and no directory", "\x80\x02]."]
  ) {
    const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
    await assert.rejects(readTorch(fromBuffer(bytes)), FormatError);
  }
});

/** Reads all of a file, or returns undefined where it is refused as it should be. */
async function readOrRefuse(
  bytes: Uint8Array,
): Promise<number | undefined> {
  try {
    let elements = 0;
    for (
      const tensor of tensorsOf(await readTorch(fromBuffer(bytes))).values()
    ) {
      elements += (await tensor.values()).length;
    }
    return elements;
  } catch (error) {
    if (error instanceof CulmError) return undefined;
    throw error;
  }
}

/** Values that a broken count, length or offset may have, as bytes. */
const extremes = [
  0n,
  1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

for (const [name, { bytes: encoded }] of Object.entries(goldens.files)) {
  Deno.test(`damaged files are read within their bounds or refused: ${name}`, async () => {
    const whole = fromBase64(encoded);
    const random = seededRandom(whole.length);
    for (let i = 0; i < 1500; i++) {
      let bytes = whole.slice();
      const at = Math.floor(random() * (bytes.length - 8));
      switch (i % 4) {
        case 0:
          bytes[at] = Math.floor(random() * 256);
          break;
        case 1:
          bytes.copyWithin(at, at + 1 + Math.floor(random() * 4));
          break;
        case 2:
          new DataView(bytes.buffer).setBigUint64(
            at,
            extremes[Math.floor(random() * extremes.length)],
            true,
          );
          break;
        default:
          bytes = bytes.slice(0, at);
      }
      const elements = await readOrRefuse(bytes);
      // Tensors may share a storage, but no more often than the pickle has bytes.
      assert((elements ?? 0) <= whole.length ** 2, `${elements} elements`);
    }
  });
}

Deno.test("a file that is cut is refused", async () => {
  for (const name of ["counts", "views, legacy"]) {
    const whole = fromBase64(goldens.files[name].bytes);
    for (let length = 0; length < whole.length; length++) {
      assert.equal(
        await readOrRefuse(whole.slice(0, length)),
        undefined,
        `${name} cut at ${length} of ${whole.length}`,
      );
    }
  }
});

Deno.test("a deflated member that inflates to more or less than it declares is refused", async () => {
  for (
    const [length, declared, message] of [
      [1 << 20, 1 << 10, /declares 1024 bytes, it inflates to more/],
      [
        1 << 20,
        (1 << 20) + 1,
        /declares 1048577 bytes, it inflates to 1048576/,
      ],
      [1 << 10, 1 << 25, /declares 33554432 bytes of \d+ deflated ones/],
    ] as const
  ) {
    const bytes = zipOf("archive/data.pkl", new Uint8Array(length), declared);
    await assert.rejects(readTorch(fromBuffer(bytes)), message);
  }
});

Deno.test("a pickle of values within values, each many times, is not unfolded", async () => {
  // Forty lists, each of ten times the one before: 10^40 when unfolded.
  const bytes = [0x80, 2, 0x5d, 0x71, 0];
  for (let level = 1; level <= 40; level++) {
    bytes.push(0x5d, 0x28);
    for (let i = 0; i < 10; i++) bytes.push(0x68, level - 1);
    bytes.push(0x65, 0x71, level);
  }
  bytes.push(0x2e);
  const file = zipOf("data.pkl", Uint8Array.from(bytes), bytes.length);
  assert.equal(tensorsOf(await readTorch(fromBuffer(file))).size, 0);
});

Deno.test("a small file whose pickle makes millions of values is refused", async (t) => {
  const start = [0x80, 2], end = [0x2e];
  const of = (length: number, step: number[], first: number[] = []) => {
    const bytes = new Uint8Array(length);
    const begin = [...start, ...first];
    bytes.set(begin);
    for (let i = begin.length; i < length; i++) {
      bytes[i] = step[(i - begin.length) % step.length];
    }
    bytes.set(end, length - 1);
    return bytes;
  };
  const ordered = new TextEncoder().encode("ccollections\nOrderedDict\n");
  const pickles: [string, Uint8Array, RegExp][] = [
    [
      "64 million lists",
      of(1 << 26, [0x5d]),
      /data\.pkl" takes 67108864 bytes/,
    ],
    ["4 million lists", of(1 << 22, [0x5d]), /more than 262144 steps/],
    ["4 million dicts", of(1 << 22, [0x7d]), /more than 262144 steps/],
    ["one kept often", of(1 << 22, [0x94], [0x5d]), /more than 262144 steps/],
    [
      "one called often",
      of(1 << 22, [0x68, 0, 0x29, 0x52], [...ordered, 0x71, 0]),
      /more than 262144 steps/,
    ],
  ];
  for (const [name, pickle, message] of pickles) {
    await t.step(name, async () => {
      const file = zipOf("data.pkl", pickle, pickle.length);
      assert(file.length < 1 << 17, `${file.length} bytes`);
      await assert.rejects(readTorch(fromBuffer(file)), {
        name: "LimitError",
        message,
      });
    });
  }
  await t.step("lists in one another", async () => {
    const inner = new Array(1000).fill(0x5d), outer = inner.map(() => 0x61);
    const pickle = Uint8Array.from([
      ...start,
      ...inner,
      ...outer.slice(1),
      0x2e,
    ]);
    const value = await readTorch(
      fromBuffer(zipOf("data.pkl", pickle, pickle.length)),
    );
    assert.throws(() => tensorsOf(value), { name: "LimitError" });
  });
});

Deno.test("no more is inflated than a tensor takes", async () => {
  const pickle = vectorPickle("Float", 4);
  const file = zipOfAll([
    ["data.pkl", pickle, pickle.length],
    ["data/0", new Uint8Array(1 << 20), 1 << 20],
  ]);
  await assert.rejects(
    readTorch(fromBuffer(file)),
    /storage 0 takes 16 bytes, the file has 1048576/,
  );
});

Deno.test("PyTorch's own counts are read", async () => {
  const url = fixtureUrl("tiny-bamboo/activation/activation_0.pt");
  const source = await openFile(url);
  const counts = await readTorch(source);
  assert(counts instanceof TorchTensor);
  assert.deepEqual([counts.dtype, counts.shape], ["int64", [1024]]);
  const values = await counts.values();
  assert(values.every((count) => count >= 0 && count <= 86016));
  await source.close();
});

if (hasShared("tiny-bamboo/predictor")) {
  Deno.test("PyTorch's own predictors are read", async () => {
    const predictor = await openFile(
      sharedUrl("tiny-bamboo/predictor/model_5.pt"),
    );
    const tensors = tensorsOf(await readTorch(predictor));
    assert.deepEqual(
      [...tensors].map(([name, { dtype, shape }]) => [name, dtype, shape]),
      [
        ["fc1.weight", "bfloat16", [96, 256]],
        ["fc2.weight", "bfloat16", [1024, 96]],
      ],
    );
    await predictor.close();
  });
}
