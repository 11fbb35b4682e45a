/** How many tokens answers may have, counted before any is there. */
import type { JsonObject } from "../formats/json.ts";

/** What limits an answer's tokens. Which of several holds differs from server to server. */
const limits = [
  "max_completion_tokens",
  "max_output_tokens",
  "max_tokens",
  "n_predict",
];

/** How many answers a prompt gets (`n_cmpl` is llama-server's), or has made so that the best be given. */
const counts = ["n", "n_cmpl", "best_of"];

/** The most tokens that all answers to a request may have, as far as its body says. */
export function answerTokens(body: JsonObject): number {
  return largest(body, limits) * Math.max(1, largest(body, counts)) *
    promptCount(body.prompt);
}

/** The largest of some numbers, 0 where there is none. Text of digits is one: vLLM takes it so. */
function largest(body: JsonObject, names: readonly string[]): number {
  const numbers = names.map((name) => Math.ceil(Number(body[name])));
  return Math.max(0, ...numbers.filter((number) => number > 0));
}

/** A list is of prompts, unless it is one of tokens. */
function promptCount(prompt: unknown): number {
  return Array.isArray(prompt) && prompt.some((each) => !Number.isInteger(each))
    ? prompt.length
    : 1;
}
