/** The word of `possibleWords` that takes the fewest changes to become `givenWord`. */
export function closestString(
  givenWord: string,
  possibleWords: readonly string[],
  options?: { readonly caseSensitive?: boolean },
): string;
