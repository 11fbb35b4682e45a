/** A shared expert of other types than those beside it, as files of Q4_K_M have it where rows are short. */
import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { fromBuffer } from "../../src/bytes/memory.ts";
import type { ConvertType } from "../../src/convert/choose_types.ts";
import { convert } from "../../src/convert/convert.ts";
import type { GgmlType } from "../../src/formats/ggml/types.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { toBuffer } from "../../src/formats/gguf/write.ts";
import { distance } from "../helpers/compare_places.ts";
import { randomFile } from "../helpers/random_model.ts";

/** A file whose experts have rows of down of 96, and the shared one of 768. */
function file(
  typeOf?: (name: string) => GgmlType | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  return randomFile({
    architecture: "qwen2moe",
    type: "Q4_0",
    hiddenSize: 256,
    expertCount: 4,
    sharedExperts: 8,
    typeOf,
  });
}

async function converted(
  bytes: Uint8Array<ArrayBuffer>,
  type: ConvertType,
): Promise<Uint8Array<ArrayBuffer>> {
  const made = await convert(fromBuffer(bytes), {
    type,
    allowRequantise: true,
  });
  const written = await toBuffer(made.chunks());
  await made.close();
  return written;
}

async function logitsOf(bytes: Uint8Array<ArrayBuffer>): Promise<Float32Array> {
  await using model = await load(bytes, { threads: 0, cacheType: "f32" });
  using sequence = model.engine.createSequence();
  const rows = await model.engine.evaluate(sequence, [5, 1, 9, 40, 3], "all");
  return Float32Array.from(rows.flatMap((row) => Array.from(row)));
}

Deno.test("a shared expert of another type is refused with the way to a file that runs", async () => {
  const mixed = await file((name) =>
    /(gate|up|down)_shexp/.test(name) ? "Q8_0" : undefined
  );
  await assert.rejects(load(mixed, { threads: 0 }), {
    name: "UnsupportedError",
    message:
      /shared expert of another type .*blk\.0\.ffn_gate_shexp\.weight is Q8_0, blk\.0\.ffn_gate_exps\.weight Q4_0; culm convert --type q8_0 --allow-requantize makes them one/,
  });
});

Deno.test("what is converted has shared experts of the others' types, and says the same", async () => {
  const mixed = await file((name) =>
    /(gate|up|down)_shexp/.test(name) ? "Q8_0" : undefined
  );
  const exact = await logitsOf(await converted(mixed, "F32"));
  for (const type of ["Q8_0", "Q4_K_M"] as const) {
    const bytes = await converted(mixed, type);
    const { tensors } = await readGguf(fromBuffer(bytes));
    for (const name of ["ffn_gate", "ffn_up", "ffn_down"]) {
      const typeOf = (kind: string) =>
        tensors.get(`blk.1.${name}_${kind}.weight`)!.type;
      assert.equal(typeOf("shexp"), typeOf("exps"), `${type}, ${name}`);
    }
    const limit = type === "Q8_0" ? 0.05 : 0.3;
    const error = distance(await logitsOf(bytes), exact);
    assert.ok(error < limit, `${type}: ${error}`);
  }
});
