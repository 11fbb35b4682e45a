/** Neurons whose rows lie side by side, against the kernels that read one matrix after another. */

import assert from "node:assert/strict";
import type { GgmlType } from "../../src/formats/ggml/types.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import { builds, Instance, kindOf, randomRows, unitOf } from "./instance.ts";

const acts = { drelu: 0, reglu: 1 };

/** Neurons in random order, cut into three groups, of which one may be empty; two sums are left. */
function randomGroups(neurons: number, random: () => number) {
  const order = Uint32Array.from({ length: neurons }, (_, i) => i);
  for (let i = neurons - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  const ends = Uint32Array.of(
    Math.floor(neurons / 3),
    Math.floor(neurons * random() / 3 + neurons / 3),
    neurons,
  );
  const groupOf = new Uint32Array(neurons);
  order.forEach((id, i) => groupOf[id] = ends.findIndex((end) => i < end));
  return { order, ends, groupOf, merges: Uint32Array.of(0, 0, 1) };
}

/** Random gate, up and down of some neurons, the ids that are asked for, and what both ways make of them. */
function compare(
  instance: Instance,
  type: GgmlType,
  act: number,
  neurons: number,
  k: number,
  random: () => number,
) {
  const { kernels } = instance;
  const kind = kindOf[type];
  instance.reset();
  const half = () =>
    0x2000 + Math.floor(random() * 0x800) + (random() < 0.5 ? 0x8000 : 0);
  const parts = [0, 1, 2].map(() =>
    instance.pack(
      type,
      randomRows(type, neurons * k, random, half),
      neurons,
      0,
      k,
    )
  );
  const { rowBytes } = parts[0];
  const bytes = new Uint8Array(3 * neurons * rowBytes);
  parts.forEach(({ pointer }, part) => {
    for (let i = 0; i < neurons; i++) {
      const row = instance.bytes(pointer + i * rowBytes, rowBytes);
      bytes.set(row, (3 * i + part) * rowBytes);
    }
  });
  const records = instance.put(bytes);
  const width = Math.ceil(k / 8) * 8;
  const floats = new Float32Array(width);
  for (let i = 0; i < k; i++) floats[i] = random() - 0.5;
  const plain = instance.put(floats);
  const quantised = instance.allocate(kernels.activation_row_bytes(k));
  kernels.quantise_activations(plain, width, 1, k, quantised, 0);
  const x = kind < 2 ? plain : quantised;
  const groups = randomGroups(neurons, random);
  const asked = groups.order.filter(() => random() < 0.6);
  const ids = instance.put(asked);
  const [gate, up, h] = [0, 1, 2].map(() =>
    instance.put(new Float32Array(neurons))
  );
  const outs = [0, 1, 2].map(() =>
    instance.put(new Float32Array(width).fill(9))
  );
  const levels = instance.put(Uint32Array.from(outs));
  const merges = instance.put(groups.merges);
  const count = groups.ends.length;
  const sums = () =>
    outs.slice(0, 2).map((out) => instance.floats(out, k).slice());
  const read = instance.allocate(8);
  const at = (part: number) => parts[part].pointer;
  const n = asked.length;

  kernels.matvec_rows(kind, at(0), rowBytes, ids, n, k, x, gate);
  kernels.matvec_rows(kind, at(1), rowBytes, ids, n, k, x, up);
  const down = kernels.gated(act, gate, up, h, neurons);
  const open = instance.floats(gate, neurons).filter((g) => g > 0).length;
  kernels.axpy_groups(
    kind,
    at(2),
    rowBytes,
    instance.put(groups.order),
    instance.put(groups.ends),
    merges,
    count,
    k,
    h,
    neurons,
    1,
    levels,
    width,
  );
  const expected = {
    gate: instance.floats(gate, neurons).slice(),
    read: [open, down],
    sums: sums(),
  };

  for (const pointer of [gate, up]) instance.floats(pointer, neurons).fill(0);
  for (const out of outs) instance.floats(out, width).fill(7);
  kernels.neurons(
    kind,
    act,
    records,
    3 * rowBytes,
    ids,
    n,
    k,
    x,
    gate,
    up,
    instance.put(groups.groupOf),
    merges,
    count,
    levels,
    read,
  );
  const actual = {
    gate: instance.floats(gate, neurons).slice(),
    read: [...instance.words(read, 2)],
    sums: sums(),
  };
  return { expected, actual };
}

for (const [build, module] of Object.entries(builds)) {
  const instance = new Instance(module);
  const types: readonly GgmlType[] = [
    "F16",
    "Q4_0",
    "Q4_1",
    "IQ4_NL",
    "Q8_0",
    "Q5_0",
    "Q4_K",
    "Q6_K",
  ];
  for (const type of types) {
    Deno.test(`${build}: ${type} neurons side by side give what three matrices give`, () => {
      const random = seededRandom(3);
      for (const act of Object.values(acts)) {
        const shapes = [[0, 32], [1, 64], [13, 96], [100, 160]];
        for (const [neurons, columns] of shapes) {
          const unit = unitOf(type);
          const k = Math.ceil(columns / unit) * unit;
          const { expected, actual } = compare(
            instance,
            type,
            act,
            neurons,
            k,
            random,
          );
          assert.deepEqual(actual, expected);
        }
      }
    });
  }
}
