/** How many characters are put in, taken away or changed to make one text the other. */
export function levenshteinDistance(a: string, b: string): number;
