import assert from "node:assert/strict";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { load } from "../../mod.ts";
import { readArguments } from "../../cli/arguments.ts";
import type { CommandSpec } from "../../cli/command.ts";
import {
  type LoadFlags,
  loadOptionsOf,
  runOptions,
} from "../../cli/options.ts";
import {
  generateOptionsOf,
  lengthFlags,
  type SamplingFlags,
  samplingFlags,
  speculationFlags,
} from "../../cli/sampling_options.ts";
import { logitBias, unescape } from "../../cli/values.ts";

const command: CommandSpec = {
  name: "generate",
  summary: "",
  options: {
    Running: runOptions,
    Length: lengthFlags,
    Sampling: samplingFlags,
    Speculation: speculationFlags,
  },
  examples: [],
  run: () => Promise.resolve(0),
};

function parse(args: string[]): LoadFlags & SamplingFlags {
  return readArguments(args, command)!.flags as LoadFlags & SamplingFlags;
}

await using model = await load(tinyBamboo(), { threads: 0 });

Deno.test("without flags, the defaults are llama.cpp's", () => {
  const flags = parse([]);
  const { dryBreakers: _, logitBias, ...options } = generateOptionsOf(
    flags,
    model.tokenizer,
  );
  assert.deepEqual(options, {
    temperature: 0.8,
    topK: 40,
    topP: 0.95,
    minP: 0.05,
    typicalP: 1,
    repeatPenalty: 1,
    repeatLastN: 64,
    presencePenalty: 0,
    frequencyPenalty: 0,
    xtcProbability: 0,
    xtcThreshold: 0.1,
    dryMultiplier: 0,
    dryBase: 1.75,
    dryAllowedLength: 2,
    dryPenaltyLastN: -1,
    samplers: [
      "penalties",
      "dry",
      "top_k",
      "typ_p",
      "top_p",
      "min_p",
      "xtc",
      "temperature",
    ],
    seed: -1,
    maxTokens: -1,
    stop: undefined,
    ignoreEos: false,
    speculation: undefined,
    draftMax: 7,
    draftMin: 1,
    ngramSize: 1,
  });
  assert.deepEqual(logitBias, new Map());
  assert.deepEqual(loadOptionsOf(flags), {
    contextSize: 0,
    threads: undefined,
    batchSize: 128,
    sparsity: { mode: "exact" },
    cacheType: "f16",
    activation: undefined,
    hotShare: undefined,
    memoryBudget: undefined,
    screenHead: undefined,
  });
});

Deno.test("each flag sets its option", () => {
  const sampling =
    "-n 7 -s 3 --temp 0.5 --top-k 1 --top-p 0.2 --min-p 0.3 --typical 0.4 " +
    "--repeat-penalty 1.1 --repeat-last-n -1 --presence-penalty -0.5 --frequency-penalty 0.6 " +
    "--xtc-probability 0.7 --xtc-threshold 0.8 --dry-base 2 --dry-allowed-length 3 " +
    "--dry-penalty-last-n 9 --samplers top_k;temperature -l 5+1 --logit-bias 6-inf --ignore-eos " +
    "-r a --stop b\\n --reverse-prompt c " +
    "--spec-type none --draft-max 5 --spec-draft-n-min 2 --spec-ngram-size-n 4";
  const { dryBreakers: _, ...options } = generateOptionsOf(
    parse(sampling.split(" ")),
    model.tokenizer,
  );
  assert.deepEqual(options, {
    temperature: 0.5,
    topK: 1,
    topP: 0.2,
    minP: 0.3,
    typicalP: 0.4,
    repeatPenalty: 1.1,
    repeatLastN: -1,
    presencePenalty: -0.5,
    frequencyPenalty: 0.6,
    xtcProbability: 0.7,
    xtcThreshold: 0.8,
    dryMultiplier: 0,
    dryBase: 2,
    dryAllowedLength: 3,
    dryPenaltyLastN: 9,
    samplers: ["top_k", "temperature"],
    logitBias: new Map([[5, 1], [6, -Infinity]]),
    seed: 3,
    maxTokens: 7,
    stop: ["a", "b\n", "c"],
    ignoreEos: true,
    speculation: "none",
    draftMax: 5,
    draftMin: 2,
    ngramSize: 4,
  });
  const loading =
    "-c 9 -t 3 -b 4 --sparsity threshold=0.1 -ctv f32 --activation reglu --hot 0.5 --memory-budget 2.5 --screen-head off";
  assert.deepEqual(loadOptionsOf(parse(loading.split(" "))), {
    contextSize: 9,
    threads: 3,
    batchSize: 4,
    sparsity: { mode: "threshold", value: 0.1 },
    cacheType: "f32",
    activation: "reglu",
    hotShare: 0.5,
    memoryBudget: 2.5,
    screenHead: "off",
  });
});

Deno.test("one flag sets the type of both keys and values", () => {
  const typeOf = (args: string[]) => loadOptionsOf(parse(args)).cacheType;
  assert.equal(typeOf(["-ctk", "q8_0"]), "q8_0");
  assert.equal(typeOf(["--cache-type-v", "q8_0"]), "q8_0");
  assert.equal(typeOf(["-ctk", "f16", "-ctv", "f16"]), "f16");
});

Deno.test("DRY's breakers are the tokens with their text", () => {
  const breakersOf = (args: string[]) => {
    const options = generateOptionsOf(
      parse(["--dry-multiplier", "0.8", ...args]),
      model.tokenizer,
    );
    return [...options.dryBreakers!];
  };
  const texts = breakersOf([]).map((id) =>
    new TextDecoder().decode(model.tokenizer.pieceBytes(id))
  );
  assert.ok(
    texts.includes("\n") && texts.every((text) => /[\n:"*]/.test(text)),
    `${texts}`,
  );
  const [id] = model.tokenize("?", { addSpecial: false }).slice(-1);
  assert.ok(breakersOf(["--dry-sequence-breaker", "?"]).includes(id));
});

Deno.test("prompts' escapes are llama.cpp's", () => {
  assert.equal(
    unescape(String.raw`a\nb\tc\\n\"\'\x41\q\x4`),
    "a\nb\tc\\n\"'A\\q\\x4",
  );
  // Of \xHH, bytes of UTF-8 are meant.
  assert.equal(unescape(String.raw`a\xE2\x82\xACb\xff\x20`), "a€b\ufffd ");
});

Deno.test("texts that end an answer have escapes, unless --no-escape is given", () => {
  const stopOf = (escape: boolean) =>
    generateOptionsOf(
      { ...parse([]), stop: [String.raw`little\x20girl`], escape },
      model.tokenizer,
    ).stop;
  assert.deepEqual(stopOf(true), ["little girl"]);
  assert.deepEqual(stopOf(false), [String.raw`little\x20girl`]);
});

Deno.test("a bias may have an exponent", () => {
  assert.deepEqual(logitBias("299-1e5", "-l"), [299, -1e5]);
  assert.deepEqual(logitBias("3+2.5E-1", "-l"), [3, 0.25]);
  assert.throws(() => logitBias("3+1e", "-l"), { name: "UsageError" });
});
