/** Where `isAbove` turns from false to true between `low` and `high`. */
export function bisect(
  low: number,
  high: number,
  isAbove: (x: number) => boolean,
): number {
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2;
    if (isAbove(middle)) high = middle;
    else low = middle;
  }
  return (low + high) / 2;
}
