/** Fields of requests that say how tokens are chosen: those of `SamplingOptions`, as llama.cpp's and OpenAI's clients spell them. */
import * as v from "valibot";
import { type GenerateOptions, textOptions } from "../generate/generate.ts";
import type { LanguageModel } from "../generate/language_model.ts";
import type { JsonObject } from "../formats/json.ts";
import type { OptionSpec } from "../options.ts";
import { parseSamplers, samplingOptions } from "../sampling/options.ts";
import { tokensContaining } from "../sampling/penalties.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { fieldsOf, type Present } from "./body.ts";
import { checkTexts } from "./fields.ts";

const { dryBreakers: _ids, samplers: _list, logitBias: _bias, ...same } = {
  ...samplingOptions,
  ignoreEos: textOptions.ignoreEos,
};

/** `topK` as `top_k`. */
function fieldName(option: string): string {
  return option.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

const table: Record<string, OptionSpec> = Object.fromEntries(
  Object.entries(same).map(([name, spec]) => [fieldName(name), spec]),
);

/** A token, as its id or as a text of which it is a part. */
const biased = v.union([v.number(), v.string()], "an id or a text");
/** `false` forbids a token. */
const bias = v.union([v.number(), v.literal(false)], "a number, or false");

/** The fields, for a schema of a body. */
export const samplingFields = {
  // By names that only the table knows.
  ...fieldsOf(table) as object,
  samplers: v.nullish(
    v.union([v.string(), v.array(v.string())], "a list of names of samplers"),
  ),
  logit_bias: v.nullish(
    v.lazy((given) =>
      Array.isArray(given)
        ? v.array(v.strictTuple([biased, bias], "a pair of a token and a bias"))
        : v.record(
          v.string(),
          bias,
          "an object from ids or texts to numbers, or a list of pairs",
        )
    ),
  ),
  dry_sequence_breakers: v.nullish(
    v.array(v.string(), "a list of texts"),
  ),
};

/** Most samplers; texts of `logit_bias`, which are tokenized, and of `dry_sequence_breakers`, which are looked for in each token; and characters of all of these. */
const mostSamplers = 64,
  mostBiased = 4096,
  mostBreakers = 64,
  mostCharacters = 2 ** 16;

/** A body with such fields. */
export type SamplingBody =
  & Present<
    {
      [Name in "samplers" | "logit_bias" | "dry_sequence_breakers"]:
        v.InferOutput<(typeof samplingFields)[Name]>;
    }
  >
  & object;

/**
 * What a body asks of sampling; `defaults` where it does not say.
 *
 * @throws {UsageError} for a sampler that is none
 * @throws {LimitError} for texts that are too many, or too long
 */
export function samplingOf(
  body: SamplingBody,
  { tokenizer }: LanguageModel,
  defaults: GenerateOptions = {},
): GenerateOptions {
  const given = body as Readonly<Record<string, unknown>>;
  const options = Object.keys(same).flatMap((name) => {
    const value = given[fieldName(name)];
    return value === undefined ? [] : [[name, value]];
  });
  const { samplers, logit_bias, dry_sequence_breakers } = body;
  const pairs = Array.isArray(logit_bias)
    ? logit_bias
    : Object.entries(logit_bias ?? {}).map(([token, by]) =>
      [/^\d+$/.test(token) ? Number(token) : token, by] as const
    );
  checkTexts("samplers", [samplers ?? []].flat(), mostSamplers, mostCharacters);
  const texts = pairs.map(([token]) => token)
    .filter((token) => typeof token === "string");
  checkTexts("logit_bias", texts, mostBiased, mostCharacters);
  checkTexts(
    "dry_sequence_breakers",
    dry_sequence_breakers ?? [],
    mostBreakers,
    mostCharacters,
  );
  return {
    ...defaults,
    ...Object.fromEntries(options),
    ...samplers !== undefined && {
      samplers: parseSamplers([samplers].flat().join(";")),
    },
    ...pairs.length > 0 && {
      logitBias: new Map(pairs.flatMap(([token, by]) => {
        const ids = typeof token === "number"
          ? [token]
          : tokenizer.encode(token, { addSpecial: false });
        return ids.map((id) => [id, by === false ? -Infinity : by]);
      })),
    },
    ...dry_sequence_breakers && {
      dryBreakers: tokensContaining(
        dry_sequence_breakers,
        tokenizer.vocabSize,
        (id) => decoder.decode(tokenizer.pieceBytes(id)),
      ),
    },
  };
}

/** llama.cpp's settings of samplers that are not here, which say that they are off. */
const absent = {
  dynatemp_range: 0,
  top_n_sigma: -1,
  mirostat: 0,
  adaptive_target: -1,
  adaptive_decay: 0,
};

/** How tokens are chosen, by the names of the fields; what is not said by its default. */
export function samplingSettings(options: GenerateOptions): JsonObject {
  const given = options as Readonly<Record<string, unknown>>;
  const settings = Object.entries(same).map(([name, spec]) => [
    fieldName(name),
    given[name] ?? ("default" in spec ? spec.default : null),
  ]);
  const { samplers = samplingOptions.samplers.default } = options;
  return { ...Object.fromEntries(settings), ...absent, samplers };
}

/** Which tokens are favoured or forbidden, as llama.cpp lists them: `null` forbids, in JSON. */
export function biasSettings(
  { logitBias = new Map(), ignoreEos = false }: GenerateOptions,
  { vocabSize, isEndOfGeneration }: Tokenizer,
): JsonObject[] {
  const all = new Map(
    logitBias instanceof Map
      ? logitBias
      : Object.entries(logitBias).map(([id, bias]) => [Number(id), bias]),
  );
  for (let id = 0; ignoreEos && id < vocabSize; id++) {
    if (isEndOfGeneration(id)) all.set(id, -Infinity);
  }
  return Array.from(all, ([token, bias]) => ({ token, bias }));
}

const decoder = new TextDecoder();
