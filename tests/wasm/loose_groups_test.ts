/** Results of rows of whole groups are, bit by bit, those of the same rows in groups that may be cut. */

import assert from "node:assert/strict";
import type { GgmlType } from "../../src/formats/ggml/types.ts";
import { seededRandom } from "../helpers/seeded_random.ts";
import {
  builds,
  Instance,
  kindOf,
  looseKindOf,
  randomRows,
  unitOf,
} from "./instance.ts";

/** One token, tiles, and so many that rows are unpacked first. */
const tokensOf = [1, 2, 3, 11, 12, 23, 24, 25];

/** Rows, columns and tokens; the last rows are longer than what is unpacked at once. */
const shapes = tokensOf.map((tokens, i) => [3 + 7 * i, 256 * (1 + i), tokens])
  .concat([[0, 256, 2], [5, 26880, 24]]);

for (const [build, module] of Object.entries(builds)) {
  const instance = new Instance(module);
  const { kernels } = instance;

  for (const type of Object.keys(looseKindOf) as GgmlType[]) {
    Deno.test(`${build}: rows of ${type} give the same bits as ${kindOf[type]} and ${looseKindOf[type]}`, () => {
      const random = seededRandom(12);
      const half = () =>
        Math.floor(random() * 0x2c00) | (random() < 0.5 ? 0x8000 : 0);
      for (const [i, [nRows, columns, tokens]] of shapes.entries()) {
        instance.reset();
        kernels.choose(i % 8);
        const k = Math.max(columns - (i % 2) * 128, unitOf(type));
        const length = Math.ceil(k / 256) * 256;
        const rows = randomRows(type, nRows * length, random, half);
        const x = Float32Array.from(
          { length: tokens * k },
          () => random() - 0.5,
        );
        const bytes = kernels.activation_row_bytes(k);
        const input = instance.allocate(tokens * bytes);
        kernels.quantise_activations(
          instance.put(x),
          k,
          tokens,
          k,
          input,
          bytes,
        );
        const ids = Uint32Array.from({ length: nRows }, (_, r) => r)
          .filter(() => random() < 0.6);
        const asked = instance.put(
          Float32Array.from({ length: tokens * nRows }, () => random() - 0.5),
        );
        const coefficients = instance.put(
          Float32Array.from(
            { length: tokens * nRows },
            () => random() < 0.5 ? 0 : random() - 0.5,
          ),
        );
        const listed = instance.put(ids);

        const results = [kindOf[type], looseKindOf[type]!].map((kind) => {
          const { pointer, rowBytes, written } = instance.pack(
            type,
            rows,
            nRows,
            0,
            k,
            kind,
          );
          assert.equal(written, nRows);
          const n = tokens * nRows;
          const [all, some, picked] = [n, n, nRows].map((length) =>
            instance.put(new Float32Array(length))
          );
          const sums = instance.put(new Float32Array(tokens * k));
          const matrix = [kind, pointer, rowBytes, nRows, k] as const;
          const by = [input, bytes, tokens] as const;
          kernels.matmul(...matrix, ...by, all, nRows);
          kernels.matmul_where(...matrix, ...by, asked, 0, some, nRows);
          kernels.matvec_rows(
            kind,
            pointer,
            rowBytes,
            listed,
            ids.length,
            k,
            input,
            picked,
          );
          kernels.axpy_rows(
            ...matrix,
            coefficients,
            nRows,
            tokens,
            sums,
            k,
          );
          const read = ([at, length]: number[]) =>
            instance.words(at, length).slice();
          return [[all, n], [some, n], [picked, nRows], [sums, tokens * k]]
            .map(read);
        });
        assert.deepEqual(results[0], results[1], `${nRows} x ${k}, ${tokens}`);
      }
      kernels.choose(0);
    });
  }
}
