/** Where a model thinks before it answers, by its chat template. */

/** What a model puts around its reasoning. */
export interface ReasoningFormat {
  /** Before it */
  readonly begin: string;
  /** Behind it */
  readonly end: string;
}

/** Pairs of tags that templates know, by the closing one. */
const pairs: readonly [end: RegExp, begin: (end: string) => string][] = [
  [
    /<\/(?:\w+:)?(?:think(?:ing)?|thought|reasoning)(?::\w+)?>/,
    (end) => end.replace("/", ""),
  ],
  [/\[\/THINK\]/, () => "[THINK]"],
  [/<\|END_THINKING\|>/, () => "<|START_THINKING|>"],
  [/<channel\|>/, () => "<|channel>thought\n"],
];

/** The tags around reasoning that a template writes or takes away; undefined where it knows none. */
export function reasoningFormatOf(
  source: string,
): ReasoningFormat | undefined {
  for (const [pattern, begin] of pairs) {
    const end = pattern.exec(source)?.[0];
    if (end !== undefined) return { begin: begin(end), end };
  }
  return undefined;
}

/** Whether a prompt ends inside the reasoning, so that the answer begins with it. */
export function beginsReasoning(
  prompt: string,
  format: ReasoningFormat,
): boolean {
  return prompt.trimEnd().endsWith(format.begin.trimEnd());
}

/**
 * A prompt behind which the model answers without reasoning: what was begun of
 * it is ended, and where the template has no word of `enable_thinking`, it comes
 * empty.
 */
export function withoutReasoning(
  prompt: string,
  format: ReasoningFormat,
  source: string,
): string {
  const { begin, end } = format;
  if (beginsReasoning(prompt, format)) return prompt + end;
  const isEnded = prompt.trimEnd().endsWith(end);
  return isEnded || source.includes("enable_thinking")
    ? prompt
    : prompt + begin + end;
}

/** Whether a template writes gpt-oss's messages, each in a channel: that of its reasoning is `analysis`. */
export function hasChannels(source: string): boolean {
  return source.includes("<|channel|>") && source.includes("<|message|>");
}
