/** Weights in blocks that are to be stored in blocks of another type. */
import assert from "node:assert/strict";
import { UsageError } from "../../mod.ts";
import { convert } from "../../src/convert/convert.ts";
import { randomModel } from "../helpers/random_model.ts";

const { source } = await randomModel({ type: "Q8_0" });

Deno.test("what is quantised is quantised again only where that is allowed, and then it is said", async () => {
  const twice =
    /quantising \d+ tensors twice \(Q8_0 to (Q4_0|Q6_K|.*, .*)\) loses more/;
  await assert.rejects(
    convert(source, { type: "Q4_0", threads: 0 }),
    (error) => {
      assert(error instanceof UsageError);
      assert.match(error.message, twice);
      assert.match(error.message, /--allow-requantize/);
      return true;
    },
  );
  const allowed = { type: "Q4_0", allowRequantise: true, threads: 0 } as const;
  const file = await convert(source, allowed);
  assert.equal(file.notes.filter((note) => twice.test(note)).length, 1);
  await file.close();
});

Deno.test("blocks that a change of form turns are quantised twice, and that is said", async () => {
  const turned = /quantising \d+ tensors twice \(Q8_0, turned\)/;
  const form = "powerinfer";
  const kept = await convert(source, { form, threads: 0 });
  assert.equal(kept.notes.filter((note) => turned.test(note)).length, 1);
  await kept.close();
  await assert.rejects(
    convert(source, { form, type: "Q8_0", threads: 0 }),
    (error) => error instanceof UsageError && turned.test(error.message),
  );
  const { source: whole } = await randomModel({ type: "F16" });
  const plain = await convert(whole, { form, threads: 0 });
  assert.deepEqual(plain.notes, []);
  await plain.close();
});

Deno.test("the same type, one without blocks, and weights without blocks need no leave", async () => {
  const { source: whole } = await randomModel({ type: "F16" });
  for (
    const [from, type] of [
      [source, "Q8_0"],
      [source, "F16"],
      [source, undefined],
      [whole, "Q4_0"],
    ] as const
  ) {
    const file = await convert(from, { type, threads: 0 });
    assert.deepEqual(file.notes, []);
    await file.close();
  }
});

Deno.test("a type that is read and not written stays as it is, and is not turned", async () => {
  const { source } = await randomModel({
    type: "IQ4_NL",
    hiddenSize: 96,
    feedForwardSize: 160,
  });
  const same = await convert(source, { threads: 0 });
  await same.close();
  await assert.rejects(
    convert(source, { form: "powerinfer", threads: 0 }),
    (error) => {
      assert(error instanceof UsageError);
      assert.match(
        error.message,
        /blk\.0\.ffn_down_t\.weight is turned, and IQ4_NL is a type that culm reads and does not write; .*\(--type\)$/,
      );
      return true;
    },
  );
  const asQ8 = await convert(source, {
    form: "powerinfer",
    type: "Q8_0",
    allowRequantise: true,
    threads: 0,
  });
  await asQ8.close();
});
