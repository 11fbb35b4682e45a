/**
 * Tiny random models of each architecture on every kind of place, beside native
 * llama.cpp's log-probabilities of the same files.
 */
import assert from "node:assert/strict";
import { openFile } from "../../src/bytes/file.ts";
import { Engine } from "../../src/engine/engine.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { describeModel } from "../../src/model/model.ts";
import { logSoftmaxAt } from "../../src/sampling/logprobs.ts";
import { gpuTeams } from "../helpers/gpu_teams.ts";
import {
  sharedJson,
  sharedUrl,
  testWithShared,
} from "../helpers/shared_data.ts";
import { teams as cpuTeams } from "../helpers/teams.ts";

interface Golden {
  readonly ids: number[];
  /** The five likeliest ids behind each, and their log-probabilities */
  readonly top: number[][];
  readonly top_logprobs: number[][];
}

const files = [
  "llama",
  "llama-tied",
  "llama-headsize",
  "llama-linear",
  "llama-ropefreqs",
  "llama-bias",
  "qwen2",
  "qwen2-tied",
];

const teams = { ...cpuTeams, ...gpuTeams };

/** Of a log-probability; a cache of f16 rounds keys and values. */
const tolerance = (team: string) => team.includes("threads") ? 0.02 : 1e-3;

for (const name of files) {
  testWithShared(`${name}: every place says what llama.cpp says`, async () => {
    const goldens = sharedJson<Record<string, Golden>>("arch/goldens.json");
    const { ids, top, top_logprobs } = goldens[name];
    const source = await openFile(sharedUrl(`arch/gguf/${name}.gguf`));
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
          const expected = top_logprobs[i][rank];
          assert(
            Math.abs(actual - expected) < tolerance(team),
            `${team}, position ${i}, id ${id}: ${actual}, not ${expected}`,
          );
        })
      );
    }
    await source.close();
  });
}
