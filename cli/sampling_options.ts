/**
 * The flags that say how the next token is chosen, with llama.cpp's names, and
 * what they mean to the library.
 *
 * @module
 */
import type { Option } from "commander";
import {
  checkSamplingOptions,
  type GenerateOptions,
  parseSamplers,
  type SamplerName,
  type SamplingOptions,
  type Tokenizer,
  tokensContaining,
} from "../mod.ts";
import { group, option } from "./option.ts";
import { logitBiases, numberBetween, texts, wholeNumber } from "./values.ts";

/** How the next token is chosen, and when the text ends. */
export interface SamplingFlags {
  readonly predict: number;
  readonly seed: number;
  readonly temp: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly typical: number;
  readonly repeatPenalty: number;
  readonly repeatLastN: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly xtcProbability: number;
  readonly xtcThreshold: number;
  readonly dryMultiplier: number;
  readonly dryBase: number;
  readonly dryAllowedLength: number;
  readonly dryPenaltyLastN: number;
  readonly drySequenceBreaker?: string[];
  readonly samplers: SamplerName[];
  readonly logitBias?: [number, number][];
  readonly ignoreEos?: true;
  readonly reversePrompt?: string[];
  readonly stop?: string[];
}

const defaults = checkSamplingOptions({}, 1);
const share = numberBetween(0, 1);
const penalty = numberBetween(-1e6, 1e6);

/** llama.cpp's: what a repeated passage ends at. */
const dryBreakers = ["\n", ":", '"', "*"];

/** Options that give {@linkcode SamplingFlags}. */
export const samplingOptions: readonly Option[] = [
  ...group(
    "Length",
    option(
      "-n, --predict <n>",
      "most tokens to generate; -1 = until the end",
      wholeNumber(-1),
      -1,
    ),
    option("--ignore-eos", "never end before -n"),
    option(
      "-r, --reverse-prompt <text>",
      "end before this text; may be repeated",
      texts,
    ),
    option("--stop <text>", "as -r", texts),
  ),
  ...group(
    "Sampling",
    option("-s, --seed <n>", "-1 = random", wholeNumber(-1), -1),
    option(
      "--temp <t>",
      "temperature; 0 = always the likeliest token",
      penalty,
      defaults.temperature,
    ),
    option(
      "--top-k <n>",
      "keep the n likeliest tokens; 0 = off",
      wholeNumber(-1),
      defaults.topK,
    ),
    option(
      "--top-p <p>",
      "keep the likeliest tokens that sum to p; 1 = off",
      share,
      defaults.topP,
    ),
    option(
      "--min-p <p>",
      "keep tokens p times as likely as the best; 0 = off",
      share,
      defaults.minP,
    ),
    option(
      "--typical <p>",
      "keep the typical tokens that sum to p; 1 = off",
      share,
      defaults.typicalP,
    ),
    option(
      "--repeat-penalty <x>",
      "divide logits of seen tokens; 1 = off",
      numberBetween(1e-6, 1e6),
      defaults.repeatPenalty,
    ),
    option(
      "--repeat-last-n <n>",
      "how far penalties look back; -1 = all",
      wholeNumber(-1),
      defaults.repeatLastN,
    ),
    option(
      "--presence-penalty <x>",
      "taken from seen tokens' logits; 0 = off",
      penalty,
      0,
    ),
    option(
      "--frequency-penalty <x>",
      "taken for each time a token was seen; 0 = off",
      penalty,
      0,
    ),
    option(
      "--xtc-probability <p>",
      "how often the top choices are excluded; 0 = off",
      share,
      0,
    ),
    option(
      "--xtc-threshold <p>",
      "how likely top choices are",
      share,
      defaults.xtcThreshold,
    ),
    option(
      "--dry-multiplier <x>",
      "penalty on repeated passages; 0 = off",
      numberBetween(0, 1e6),
      0,
    ),
    option(
      "--dry-base <x>",
      "its growth with each token",
      numberBetween(1, 1e6),
      defaults.dryBase,
    ),
    option(
      "--dry-allowed-length <n>",
      "longest passage without it",
      wholeNumber(0),
      defaults.dryAllowedLength,
    ),
    option(
      "--dry-penalty-last-n <n>",
      "how far it looks back; -1 = all",
      wholeNumber(-1),
      -1,
    ),
    option(
      "--dry-sequence-breaker <text>",
      'where passages end; may be repeated (default: \\n : " *)',
      texts,
    ),
    option(
      "--samplers <order>",
      "what is applied, in this order",
      parseSamplers,
    )
      .default(defaults.samplers, defaults.samplers.join(";")),
    option(
      "-l, --logit-bias <bias>",
      "ID+BIAS or ID-BIAS; may be repeated",
      logitBiases,
    ),
  ),
];

/** What the flags ask of generating; ids that a tokenizer must know are found with it. */
export function generateOptionsOf(
  flags: SamplingFlags,
  tokenizer: Tokenizer,
): GenerateOptions {
  return {
    ...chainOf(flags),
    dryBreakers: flags.dryMultiplier > 0
      ? tokensContaining(
        flags.drySequenceBreaker ?? dryBreakers,
        tokenizer.vocabSize,
        (id) => decoder.decode(tokenizer.pieceBytes(id)),
      )
      : [],
    maxTokens: flags.predict,
    stop: [...flags.reversePrompt ?? [], ...flags.stop ?? []],
    ignoreEos: flags.ignoreEos,
  };
}

const decoder = new TextDecoder();

function chainOf(flags: SamplingFlags): SamplingOptions {
  return {
    temperature: flags.temp,
    topK: flags.topK,
    topP: flags.topP,
    minP: flags.minP,
    typicalP: flags.typical,
    repeatPenalty: flags.repeatPenalty,
    repeatLastN: flags.repeatLastN,
    presencePenalty: flags.presencePenalty,
    frequencyPenalty: flags.frequencyPenalty,
    xtcProbability: flags.xtcProbability,
    xtcThreshold: flags.xtcThreshold,
    dryMultiplier: flags.dryMultiplier,
    dryBase: flags.dryBase,
    dryAllowedLength: flags.dryAllowedLength,
    dryPenaltyLastN: flags.dryPenaltyLastN,
    samplers: flags.samplers,
    logitBias: new Map(flags.logitBias),
    seed: flags.seed,
  };
}
