/** JSON, regular expressions and texts as llguidance's dialect of Lark writes them. */
import type { JsonSchema } from "./json_schema.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** What may stand between the parts of a JSON text: as llama.cpp's, so that no text is spaces for ever. */
const jsonSpace = "\\x20|\\n{1,2}[ \\t]{0,20}";

/** JSON of a schema. */
export function larkJson(schema: JsonSchema): string {
  if (schema === false) return "%json false";
  const settings = { "x-guidance": { whitespace_pattern: jsonSpace } };
  const object = schema === true ? {} : schema;
  return `%json ${JSON.stringify({ ...object, ...settings })}`;
}

/** A regex; the whole text is matched, so that its ends need not be said. */
export function larkRegex(regex: string): string {
  const whole = regex.replace(/^\^/, "").replace(/(?<!\\)((?:\\\\)*)\$$/, "$1");
  if (whole === "") return '""';
  const escaped = whole.replaceAll(
    /\\[^]|[/\n\r\t]/g,
    (text) =>
      ({ "/": "\\/", "\n": "\\n", "\r": "\\r", "\t": "\\t" })[text] ?? text,
  );
  return `/${escaped}/`;
}

/** A text, in which special tokens that are spelled out are such tokens: those, by their ids, and what is between them. */
export function larkWords(
  text: string,
  tokenizer: Tokenizer,
): (number | string)[] {
  const specials = tokenizer
    .encode(text, { addSpecial: false, parseSpecial: true })
    .filter((id) => tokenizer.isSpecial(id));
  const words: (number | string)[] = [];
  let rest = text;
  for (const id of specials) {
    const piece = tokenizer.pieceText(id);
    const at = rest.indexOf(piece);
    if (at > 0) words.push(rest.slice(0, at));
    words.push(id);
    rest = rest.slice(at + piece.length);
  }
  if (rest !== "") words.push(rest);
  return words;
}

/** Any of these tokens; nothing where there are none. */
export function larkTokens(ids: readonly number[]): string {
  const ranges: [first: number, last: number][] = [];
  for (const id of ids.toSorted((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last && last[1] === id - 1) last[1] = id;
    else ranges.push([id, id]);
  }
  if (ranges.length === 0) return "";
  const written = ranges.map(([first, last]) =>
    first === last ? `${first}` : `${first}-${last}`
  );
  return `<[${written.join(",")}]>`;
}
