/**
 * Finding the largest of many values without sorting them all.
 *
 * A value and its index are packed into one double that orders as they do:
 * 32 bits for the float, made monotonic, above 21 bits for the index, reversed,
 * so that of equal values the lower index comes first. 53 bits hold both
 * exactly, and the platform's own numeric sort then needs no comparator.
 */
import { LimitError } from "../errors.ts";

const indexBits = 21;
/** The most entries whose order can be packed. */
const indexSpan = 2 ** indexBits;

const float = new Float32Array(1);
const bits = new Int32Array(float.buffer);

function pack(value: number, index: number): number {
  float[0] = value + 0; // -0 and 0 are equal, and must pack equally.
  const word = bits[0];
  const monotonic = word < 0 ? ~word >>> 0 : (word | 0x80000000) >>> 0;
  return monotonic * indexSpan + (indexSpan - 1 - index);
}

function indexOf(packed: number): number {
  return indexSpan - 1 - packed % indexSpan;
}

/** Orders the entries of one array at a time; its buffers are kept and grow as needed. */
export class Order {
  #packed = new Float64Array(0);
  #indices = new Int32Array(0);

  /**
   * The indices of the `k` largest of `values[0..count)`, largest first and the
   * lower index first among equals. The view is valid until the next call.
   * @throws {LimitError} when `count` passes 2,097,152.
   */
  top(values: Float32Array, count: number, k: number): Int32Array {
    if (count > indexSpan) {
      throw new LimitError(
        `Cannot order ${count} entries: the limit is ${indexSpan}`,
      );
    }
    k = Math.min(k, count);
    // A heap costs O(n + m log k) for m replacements; near n, sorting everything is cheaper.
    const size = k * 8 > count ? count : k;
    if (this.#packed.length < size) {
      this.#packed = new Float64Array(size);
      this.#indices = new Int32Array(size);
    }
    const packed = this.#packed.subarray(0, size);
    for (let i = 0; i < size; i++) packed[i] = pack(values[i], i);
    if (size < count) selectLargest(packed, values, count);
    packed.sort();
    for (let i = 0; i < k; i++) {
      this.#indices[i] = indexOf(packed[size - 1 - i]);
    }
    return this.#indices.subarray(0, k);
  }
}

/** Turns `heap`, which holds the first values packed, into the largest of all `count`. */
function selectLargest(
  heap: Float64Array,
  values: Float32Array,
  count: number,
): void {
  const size = heap.length;
  if (size === 0) return;
  for (let i = (size >> 1) - 1; i >= 0; i--) sift(heap, i, heap[i]);
  for (let i = size;; i++) {
    // Equal values lose to the ones already in, whose index is lower.
    i = nextAbove(values, i, count, values[indexOf(heap[0])]);
    if (i === count) return;
    sift(heap, 0, pack(values[i], i));
  }
}

/** The first index from `i` on with a value above `least`; `count` where there is none. A loop of its own runs ten times as fast as one that does more. */
function nextAbove(
  values: Float32Array,
  i: number,
  count: number,
  least: number,
): number {
  while (i < count && !(values[i] > least)) i++;
  return i;
}

/** Puts `value` at `root` of a heap with its smallest at the top, or below. */
function sift(heap: Float64Array, root: number, value: number): void {
  const size = heap.length;
  for (;;) {
    let child = 2 * root + 1;
    if (child >= size) break;
    if (child + 1 < size && heap[child + 1] < heap[child]) child++;
    if (heap[child] >= value) break;
    heap[root] = heap[child];
    root = child;
  }
  heap[root] = value;
}
