/**
 * A thread that comes late to every other barrier.
 *
 * @module
 */
import { Control } from "../../src/places/threads/control.ts";

/** Longer than threads spin. */
const lateMs = 100;

const scope = globalThis as unknown as Worker;
scope.onmessage = ({ data: { buffer, index, barriers } }) => {
  const control = new Control(buffer, 0, 2, 2);
  for (let i = 0; i < barriers; i++) {
    const end = performance.now() + (i % 2 === index ? lateMs : 0);
    while (performance.now() < end);
    control.barrier("cpu", ["cpu"]);
  }
  scope.postMessage("passed");
};
