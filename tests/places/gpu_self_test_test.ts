import assert from "node:assert/strict";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { GpuError } from "../../src/errors.ts";
import type { Batch } from "../../src/places/batch.ts";
import { selfTestGpu } from "../../src/places/gpu_self_test.ts";
import { unpackTopLogits } from "../../src/places/top_logits_row.ts";
import { ReferencePlace } from "../../src/places/reference/reference_place.ts";
import type { TeamOptions } from "../../src/places/team.ts";
import { randomModel } from "../helpers/random_model.ts";
import { ReferenceGpu } from "../helpers/reference_gpu.ts";

const made = await randomModel({
  type: "Q4_0",
  downByNeuron: true,
  predictorRank: 32,
});

async function check(
  sparsity: TeamOptions["sparsity"],
  Gpu: typeof ReferenceGpu,
): Promise<void> {
  const { model } = made;
  await selfTestGpu({
    model,
    plan: { places: [] },
    sparsity,
    limits: { tokens: 1, contextSize: 1 },
    cacheType: "f16",
    measureRecall: false,
  }, async (source: ByteSource, options: TeamOptions) => {
    const { model, plan, cacheType } = options;
    return new Gpu(
      await ReferencePlace.load(model, plan.gpu!, sparsity, source, {
        cacheType,
        roundsInputs: true,
      }),
    );
  });
}

Deno.test("a GPU that computes as the reference does passes its check", async () => {
  for (const mode of ["exact", "predictor"] as const) {
    await check({ mode }, ReferenceGpu);
  }
});

Deno.test("a GPU whose down adds nothing fails its check, with both numbers", async () => {
  class Faulty extends ReferenceGpu {
    override down(): void {}
  }
  await assert.rejects(check({ mode: "exact" }, Faulty), (error: Error) => {
    assert(error instanceof GpuError);
    assert.match(
      error.message,
      /^Cannot use reference: its logits differ .* by 0\.\d+ .* the limit is 0\.005$/,
    );
    return true;
  });
});

Deno.test("a GPU that rounds one number otherwise, in one of the models, passes its check", async () => {
  let models = 0;
  class Unlucky extends ReferenceGpu {
    readonly isFirst = models++ === 0;

    override logits(batch: Batch): Float32Array[] {
      const rows = super.logits(batch);
      if (this.isFirst && batch.length > 1) {
        return rows.map((row) => row.map((value) => 1.02 * value));
      }
      return rows;
    }
  }
  await check({ mode: "exact" }, Unlucky);
  assert.equal(models, 2);
});

Deno.test("a GPU that picks other tokens than the likeliest fails its check", async () => {
  class Faulty extends ReferenceGpu {
    override logits(batch: Batch): Float32Array[] {
      const rows = super.logits(batch);
      if (batch.top > 0) unpackTopLogits(rows[0]).ids.reverse();
      return rows;
    }
  }
  await assert.rejects(
    check({ mode: "exact" }, Faulty),
    /^GpuError: Cannot use reference: the tokens it picks are \d+(,\d+){7} /,
  );
});
