/**
 * Tiny random models of each architecture on every kind of place, beside native
 * llama.cpp's log-probabilities of the same files.
 */
import assert from "node:assert/strict";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { openFile } from "../../src/bytes/file.ts";
import { Engine } from "../../src/engine/engine.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { describeModel, type Model } from "../../src/model/model.ts";
import { logSoftmaxAt } from "../../src/sampling/logprobs.ts";
import goldens from "../goldens/architectures.json" with { type: "json" };
import {
  architectureModel,
  architectureNames,
} from "../helpers/architecture_models.ts";
import { gpuTeams } from "../helpers/gpu_teams.ts";
import { hasShared, sharedJson, sharedUrl } from "../helpers/shared_data.ts";
import { teams as cpuTeams } from "../helpers/teams.ts";

interface Golden {
  readonly ids: number[];
  /** The five likeliest ids behind each, and their log-probabilities */
  readonly top: number[][];
  readonly logprobs: number[][];
}

const teams = { ...cpuTeams, ...gpuTeams };

/** Of a log-probability; a cache of f16 rounds keys and values, and llama.cpp looks GELU up in a table of f16. */
function tolerance(team: string, { activation }: Model): number {
  if (team.includes("threads")) return 0.02;
  return activation === "geglu" ? 5e-3 : 1e-3;
}

async function assertGolden(
  source: ByteSource,
  { ids, top, logprobs }: Golden,
): Promise<void> {
  const model = describeModel(await readGguf(source));
  for (const [team, makeTeam] of Object.entries(teams)) {
    const made = { model, source, bytes: new Uint8Array() };
    await using engine = new Engine(
      await makeTeam(made, { mode: "exact" }),
      model.vocabSize,
    );
    using sequence = engine.createSequence();
    const rows = await engine.evaluate(sequence, ids, "all");
    rows.forEach((row, i) =>
      top[i].forEach((id, rank) => {
        const actual = logSoftmaxAt(row, id);
        const expected = logprobs[i][rank];
        assert(
          Math.abs(actual - expected) < tolerance(team, model),
          `${team}, position ${i}, id ${id}: ${actual}, not ${expected}`,
        );
      })
    );
  }
}

const models: Record<string, Omit<Golden, "ids"> & { sha256: string }> =
  goldens.models;

for (const name of architectureNames) {
  Deno.test(`${name}: every place says what llama.cpp says`, async () => {
    const { bytes, source } = await architectureModel(name);
    const hash = await crypto.subtle.digest("SHA-256", bytes);
    const { sha256, ...golden } = models[name];
    assert.equal(new Uint8Array(hash).toHex(), sha256, "another file was told");
    await assertGolden(source, { ids: goldens.ids, ...golden });
  });
}

/** Files that others wrote. */
const written = [
  "llama",
  "llama-tied",
  "llama-headsize",
  "llama-linear",
  "llama-ropefreqs",
  "llama-bias",
  "llama-yarn",
  "mistral3-yarn",
  "qwen2",
  "qwen2-tied",
  "qwen3",
  "gemma2",
  "gemma3",
  "phi3",
  "smollm3",
  "granite",
  "minicpm",
  "olmo2",
  "exaone4",
  "arcee",
  "nemotron",
  "bitnet",
  "mixtral",
  "qwen3moe",
  "olmoe",
  "gpt-oss",
  "smallthinker",
  "smallthinker-sigmoid",
];

if (hasShared("arch/goldens.json")) {
  const told = sharedJson<
    Record<string, Omit<Golden, "logprobs"> & { top_logprobs: number[][] }>
  >("arch/goldens.json");
  for (const name of written) {
    Deno.test(`${name}, written by gguf-py: every place says what llama.cpp says`, async () => {
      const source = await openFile(sharedUrl(`arch/gguf/${name}.gguf`));
      const { top_logprobs: logprobs, ...golden } = told[name];
      await assertGolden(source, { ...golden, logprobs });
      await source.close();
    });
  }
}
