import type { AnswerFormat } from "./answer.ts";
import { ANY_WORD } from "./marker.ts";
import { channelMarkers } from "./harmony_answer.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Special tokens that an answer's tags are made of: to read the answer, they must be part of its text. */
export function tagTokens(
  { reasoning, calls, hasChannels }: AnswerFormat,
  tokenizer: Tokenizer,
): number[] {
  const markers = Object.values({ ...reasoning, ...calls, ...calls?.call })
    .filter((value) => typeof value === "string");
  if (hasChannels) markers.push(...channelMarkers);
  const ids = markers.flatMap((marker) => marker.split(ANY_WORD))
    .flatMap((text) =>
      tokenizer.encode(text, { parseSpecial: true, addSpecial: false })
    );
  return [...new Set(ids)].filter((id) => tokenizer.isSpecial(id));
}
