/** The JSON texts of a value: one for each order of its objects' keys, of which a schema allows one. */
export function jsonTexts(value: unknown, most = 200): string[] {
  if (typeof value !== "object" || value === null) {
    return [JSON.stringify(value)];
  }
  if (Array.isArray(value)) {
    const items = value.map((each) => jsonTexts(each, most));
    return joined(items, most).map((text) => `[${text}]`);
  }
  return orders(Object.keys(value)).flatMap((keys) => {
    const members = keys.map((key) =>
      jsonTexts((value as Record<string, unknown>)[key], most)
        .map((text) => `${JSON.stringify(key)}:${text}`)
    );
    return joined(members, most).map((text) => `{${text}}`);
  }).slice(0, most);
}

/** Every choice of one text of each list, with commas between. */
function joined(lists: readonly string[][], most: number): string[] {
  return lists.reduce<string[]>(
    (all, texts, i) =>
      all.flatMap((text) =>
        texts.map((next) => i === 0 ? next : `${text},${next}`)
      ).slice(0, most),
    [""],
  );
}

/** All orders of a few keys; of many, the one that they have. */
function orders(keys: readonly string[]): (readonly string[])[] {
  if (keys.length < 2 || keys.length > 5) return [keys];
  return keys.flatMap((key, i) =>
    orders(keys.toSpliced(i, 1)).map((rest) => [key, ...rest])
  );
}
