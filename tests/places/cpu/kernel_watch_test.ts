/** What is called again behind a step that is watched. */
import assert from "node:assert/strict";
import { KernelWatch } from "../../../src/places/cpu/kernel_watch.ts";
import { Recorder } from "../../../src/places/trace.ts";
import type { Kernels } from "../../../wasm/kernels.d.ts";

/** Kernels in a memory of their own; tells which pick what, and who reads. */
function tellingKernels() {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const picked: number[][] = [], read: number[] = [];
  const ids = new Uint32Array(memory.buffer, 256, 3);
  const kernels = {
    memory,
    heap_base: () => 0,
    read_bytes: (pointer: number) => read.push(pointer),
    matmul: () => {},
    matvec_rows(...args: number[]) {
      picked.push([...new Uint32Array(memory.buffer, args[3], args[4])]);
    },
  };
  return { kernels: kernels as unknown as Kernels, ids, picked, read };
}

Deno.test("rows are picked again by the ids that they had, whatever has come to their place", () => {
  const { kernels, ids, picked } = tellingKernels();
  const watch = new KernelWatch(new Recorder());
  const watched = watch.of(kernels);
  ids.set([1, 2, 3]);
  watched.matvec_rows(0, 1024, 32, ids.byteOffset, 3, 8, 0, 0);
  ids.set([700, 800, 900]);
  watch.finish();
  assert(picked.length > 1);
  for (const each of picked) assert.deepEqual(each, [1, 2, 3]);
});

Deno.test("rows are read again in the memory that they are in", () => {
  const first = tellingKernels(), second = tellingKernels();
  const watch = new KernelWatch(new Recorder());
  const watched = watch.of(first.kernels);
  watch.of(second.kernels);
  watched.matmul(0, 1024, 32, 4, 8, 0, 0, 1, 0, 4);
  watch.finish();
  assert.deepEqual(first.read, [1024]);
  assert.deepEqual(second.read, []);
});
