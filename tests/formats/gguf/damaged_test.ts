import assert from "node:assert/strict";
import { fromBuffer } from "../../../src/bytes/memory.ts";
import { CulmError } from "../../../src/errors.ts";
import { type GgufFile, readGguf } from "../../../src/formats/gguf/read.ts";
import { seededRandom } from "../../helpers/seeded_random.ts";
import { sampleFile } from "./sample.ts";

/** Reads a file, or returns undefined where it is refused as it should be. */
async function readOrRefuse(bytes: Uint8Array): Promise<GgufFile | undefined> {
  try {
    return await readGguf(fromBuffer(bytes));
  } catch (error) {
    if (error instanceof CulmError) return undefined;
    throw error;
  }
}

Deno.test("a file cut at any of 300 places is refused", async () => {
  const whole = await sampleFile();
  const lastPadding = 32;
  const random = seededRandom(11);
  for (let i = 0; i < 300; i++) {
    const length = Math.floor(random() * (whole.length - lastPadding));
    assert.equal(
      await readOrRefuse(whole.subarray(0, length)),
      undefined,
      `cut at ${length} of ${whole.length}`,
    );
  }
});

/** Values that a broken count, length or offset may have. */
const extremes = [
  0n,
  1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n,
  2n ** 62n,
  2n ** 63n,
  2n ** 64n - 1n,
];

function damage(
  bytes: Uint8Array<ArrayBuffer>,
  headerBytes: number,
  random: () => number,
): void {
  const place = Math.floor(random() * (headerBytes - 8));
  switch (Math.floor(random() * 4)) {
    case 0:
      bytes[place] = Math.floor(random() * 256);
      break;
    case 1:
      bytes[place] ^= 1 << Math.floor(random() * 8);
      break;
    case 2:
      bytes.copyWithin(place, place + 1, headerBytes);
      break;
    default:
      new DataView(bytes.buffer).setBigUint64(
        place,
        extremes[Math.floor(random() * extremes.length)],
        true,
      );
  }
}

Deno.test("of 20,000 files with a damaged header each is read within its bounds or refused", async () => {
  const whole = await sampleFile();
  const headerBytes = Math.min(
    ...(await readGguf(fromBuffer(whole))).tensors.values().map((tensor) =>
      tensor.offset
    ),
  );
  const random = seededRandom(12);
  let readable = 0;
  for (let i = 0; i < 20_000; i++) {
    const bytes = whole.slice();
    damage(bytes, headerBytes, random);
    const file = await readOrRefuse(bytes);
    if (file === undefined) continue;
    readable++;
    for (const { name, offset, byteLength } of file.tensors.values()) {
      assert.ok(byteLength > 0, name);
      assert.ok(offset >= 24 && offset + byteLength <= whole.length, name);
    }
  }
  // Damage to text and numbers of metadata cannot be seen; damage elsewhere must be.
  assert.ok(readable > 2000, `${readable} were read`);
  assert.ok(readable < 18_000, `${readable} were read`);
});
