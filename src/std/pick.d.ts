/** An object of some of another's properties. */
export function pick<T extends object, K extends keyof T>(
  object: Readonly<T>,
  keys: readonly K[],
): Pick<T, K>;
