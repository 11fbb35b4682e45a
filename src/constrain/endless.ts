/** Schemas that no text can satisfy, since what they require requires itself. */
type Keywords = Readonly<Record<string, unknown>>;

/**
 * Whether every value of a schema would have no end: `root`, which refers to
 * itself by `#` and to `definitions` by their numbers in `$defs`. Where that
 * cannot be told it is false.
 */
export function isEndless(
  root: unknown,
  definitions: readonly unknown[],
): boolean {
  const all = new Map([["#", root]]);
  definitions.forEach((each, i) => all.set(`#/$defs/${i}`, each));
  // Those that are found to end let others end. Each turn goes the other way round.
  const ending = new Set<unknown>();
  let left = [...all];
  for (let found = -1; found !== left.length;) {
    found = left.length;
    left = left.filter(([name, schema]) => {
      const ends = canEnd(schema, ending);
      if (ends) ending.add(name);
      return !ends;
    }).reverse();
  }
  return !ending.has("#");
}

/** Whether values may end, where those of the references `ending` may. */
function canEnd(schema: unknown, ending: ReadonlySet<unknown>): boolean {
  const ends = (each: unknown) => canEnd(each, ending);
  if (typeof schema !== "object" || schema === null) return true;
  const keywords = schema as Keywords;
  const { $ref, allOf = [], anyOf, oneOf, type } = keywords;
  if ($ref !== undefined && !ending.has($ref)) return false;
  if (!(allOf as unknown[]).every(ends)) return false;
  for (const choices of [anyOf, oneOf] as (unknown[] | undefined)[]) {
    if (choices && choices.length > 0 && !choices.some(ends)) return false;
  }
  if (type === "object") return requiredOf(keywords).every(ends);
  if (type === "array") return firstItemsOf(keywords).every(ends);
  return true;
}

function requiredOf({ properties, required }: Keywords): unknown[] {
  const names = Array.isArray(required) ? required : [];
  const schemas = (properties ?? {}) as Keywords;
  return names.map((name) =>
    Object.hasOwn(schemas, name) ? schemas[name] : true
  );
}

function firstItemsOf(
  { prefixItems = [], items, minItems = 0 }: Keywords,
): unknown[] {
  const first = Array.isArray(items) ? items : prefixItems as unknown[];
  const least = Number(minItems);
  const others = least > first.length && !Array.isArray(items) ? [items] : [];
  return [...first.slice(0, least), ...others];
}
