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
  parseSamplers,
  samplingOptions,
  speculationOptions,
  textOptions,
  type Tokenizer,
  tokensContaining,
} from "../mod.ts";
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

/** What {@linkcode lengthFlags}, {@linkcode samplingFlags} and `speculationOptions` give. */
export type SamplingFlags =
  & FlagsOf<typeof lengthFlags>
  & FlagsOf<typeof speculationOptions>
  & FlagsOf<typeof samplingFlags>;

/** llama.cpp's: what a repeated passage ends at. */
const dryBreakers = ["\n", ":", '"', "*"];

const chainNames = [samplingOptions, speculationOptions].flatMap(
  Object.keys,
) as (keyof SamplingFlags)[];

/** What the flags ask of generating; ids that a tokenizer must know are found with it. */
export function generateOptionsOf(
  flags: SamplingFlags & { readonly escape?: boolean },
  tokenizer: Tokenizer,
): GenerateOptions {
  const { maxTokens, ignoreEos, escape = true } = flags;
  const read = (texts: readonly string[]) =>
    escape ? texts.map(unescape) : texts;
  return {
    ...pick(flags, chainNames.filter((name) => name in flags)),
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
