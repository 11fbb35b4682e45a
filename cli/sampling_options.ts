/**
 * The flags that say how the next token is chosen, with llama.cpp's names, and
 * what they mean to the library.
 *
 * @module
 */
// @ts-types="../src/std/pick.d.ts"
import { pick } from "@std/collections/pick";
import {
  type GenerateOptions,
  type LanguageModel,
  parseSamplers,
  samplingOptions,
  speculationOptions,
  textOptions,
  type Tokenizer,
} from "../mod.ts";
import { tokensContaining } from "../lab.ts";
import type { FlagsOf, FlagTable } from "./option.ts";
import { logitBias, someText, unescape } from "./values.ts";

/** When a text ends. */
export const lengthFlags = {
  maxTokens: textOptions.maxTokens,
  ignoreEos: textOptions.ignoreEos,
  stop: { ...textOptions.stop, read: someText },
} as const satisfies FlagTable;

const { dryBreakers: _ids, samplers, ...others } = samplingOptions;

/** How the next token is chosen. */
export const samplingFlags = {
  ...others,
  drySequenceBreaker: {
    type: "strings",
    flag: "--dry-sequence-breaker <text>",
    defaultText: '\\n : " *',
    description: "where passages end",
    read: someText,
  },
  samplers: {
    ...samplers,
    defaultText: samplers.default.join(";"),
    read: parseSamplers,
  },
  logitBias: { ...samplingOptions.logitBias, repeated: true, read: logitBias },
} as const satisfies FlagTable;

/** Whether and how tokens are drafted. */
export const speculationFlags = {
  ...speculationOptions,
  draftModel: {
    ...speculationOptions.draftModel,
    schema: undefined,
    type: "string",
    flag: "-md, --model-draft, --spec-draft-model <file>",
  },
} as const satisfies FlagTable;

/** What {@linkcode speculationFlags} give. */
export type SpeculationFlags = FlagsOf<typeof speculationFlags>;

/** What {@linkcode lengthFlags}, {@linkcode samplingFlags} and {@linkcode speculationFlags} give. */
export type SamplingFlags =
  & FlagsOf<typeof lengthFlags>
  & SpeculationFlags
  & FlagsOf<typeof samplingFlags>;

/** llama.cpp's: what a repeated passage ends at. */
const dryBreakers = ["\n", ":", '"', "*"];

const { draftModel: _model, ...draftOptions } = speculationOptions;
const chainNames = [samplingOptions, draftOptions].flatMap(
  Object.keys,
) as Exclude<keyof SamplingFlags, "draftModel">[];

/**
 * What the flags ask of generating; ids that a tokenizer must know are found with
 * it, and the draft model is one that was loaded.
 */
export function generateOptionsOf(
  flags: SamplingFlags & { readonly escape?: boolean },
  tokenizer: Tokenizer,
  draftModel?: LanguageModel,
): GenerateOptions {
  const { maxTokens, ignoreEos, escape = true } = flags;
  const read = (texts: readonly string[]) =>
    escape ? texts.map(unescape) : texts;
  return {
    ...pick(flags, chainNames.filter((name) => name in flags)),
    ...(draftModel && { draftModel }),
    logitBias: new Map(flags.logitBias),
    dryBreakers: flags.dryMultiplier > 0
      ? tokensContaining(
        flags.drySequenceBreaker ? read(flags.drySequenceBreaker) : dryBreakers,
        tokenizer.vocabSize,
        (id) => decoder.decode(tokenizer.pieceBytes(id)),
      )
      : [],
    maxTokens,
    ignoreEos,
    stop: flags.stop && read([flags.stop].flat()),
  };
}

const decoder = new TextDecoder();
