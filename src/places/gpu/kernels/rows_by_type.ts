/**
 * How kernels read the rows of a buffer that has several types of weights.
 *
 * @module
 */

/** The rows behind those of the first type, as the kernels' struct `Product` names them. */
const behind = ["second", "third"] as const;

/**
 * The text for all types from that for each: functions and structs get names of
 * their own, and the function `by` asks that of its row's type.
 */
export function rowsByType(by: string, texts: readonly string[]): string {
  const [first] = texts;
  if (texts.length === 1) return first;
  const [head] = first.match(new RegExp(`^fn ${by}\\(row: u32.*(?= {)`, "m"))!;
  const others = [...head.matchAll(/, \w+(?=:)/g)].join("");
  const cases = texts.slice(1).map((_, i) =>
    `  if (row >= product.${behind[i]}_row) {
    return ${by}_${i + 1}(row + product.${behind[i]}_shift${others});
  }
`
  ).reverse();
  return `${texts.map(renamed).join("")}
${head} {
${cases.join("")}  return ${by}_0(row${others});
}
`;
}

/** The text with its number behind the name of everything that it declares. */
function renamed(text: string, number: number): string {
  const names = new Set(
    [...text.matchAll(/^(?:fn|struct) (\w+)/gm)].map(([, name]) => name),
  );
  return text.replace(
    /\w+/g,
    (word) => names.has(word) ? `${word}_${number}` : word,
  );
}
