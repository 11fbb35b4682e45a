/** A duration for people: `1m 39s` where `ignoreZero` leaves out units of which there are none. */
export function format(
  ms: number,
  options?: { readonly ignoreZero?: boolean },
): string;
