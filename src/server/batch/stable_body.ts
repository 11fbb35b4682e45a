/**
 * Bodies of answers without what is only so this once: an answer in a batch is
 * the same whenever and beside whatever it is written.
 */
import { isObject } from "../../formats/json.ts";

/** What an answer took, and what of it lay in the cache by chance. */
const passing: readonly string[] = [
  "timings",
  "prompt_tokens_details",
  "input_tokens_details",
];

/** When an answer was made. */
const times: readonly string[] = ["created", "created_at", "completed_at"];

/** An id that was made for the answer: `chatcmpl-` and 32 hexadecimal digits. */
const madeId = /^([a-z]+[-_])[0-9a-f]{32}$/;

/**
 * The body with ids that are made of `digest`, 32 hexadecimal digits, numbered in
 * their order, and with the time `created` in seconds; without how long it took.
 */
export function stableBody(
  body: unknown,
  digest: string,
  created: number,
): unknown {
  const ids = new Map<string, string>();
  const idOf = (id: string, prefix: string) => {
    if (!ids.has(id)) {
      const number = ids.size === 0 ? "" : `-${ids.size}`;
      ids.set(id, `${prefix}${digest}${number}`);
    }
    return ids.get(id)!;
  };
  return stable(body);

  function stable(value: unknown): unknown {
    if (Array.isArray(value)) return value.map(stable);
    if (!isObject(value)) return value;
    const fields = Object.entries(value)
      .filter(([name]) => !passing.includes(name))
      .map(([name, field]) => [name, stableField(name, field)]);
    return Object.fromEntries(fields);
  }

  function stableField(name: string, field: unknown): unknown {
    if (typeof field === "number" && times.includes(name)) return created;
    const made = typeof field === "string" && /^(call_)?id$/.test(name)
      ? field.match(madeId)
      : null;
    return made ? idOf(made[0], made[1]) : stable(field);
  }
}
