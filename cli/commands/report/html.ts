/**
 * Pieces of an HTML page. Every text goes through {@linkcode textOf}, for names
 * in files are anybody's.
 *
 * @module
 */
import { escaped } from "../../svg.ts";
import { printable } from "../../terminal.ts";

/** Markup, as opposed to text that has to become it. */
export type Html = string & { readonly isHtml?: never };

/** Text as markup has it, control characters made visible. */
export function textOf(text: string | number): Html {
  return escaped(printable(String(text)));
}

/** A table of texts; columns of numbers stand to the right. */
export function table(
  rows: readonly (readonly (string | number)[])[],
  caption?: string,
): Html {
  const [headings, ...body] = rows;
  const isNumber = headings.map((_, x) =>
    body.every((row) => /^[-+(]?\d|^-$/.test(String(row[x])))
  );
  const line = (row: readonly (string | number)[], tag: "th" | "td") =>
    lineOf(
      row.map((value, x) =>
        `<${tag}${isNumber[x] ? ' class="number"' : ""}>${
          textOf(value)
        }</${tag}>`
      ),
    );
  return `<table>${captionOf(caption)}<thead>${
    line(headings, "th")
  }</thead>\n<tbody>${
    body.map((row) => line(row, "td")).join("")
  }</tbody></table>\n`;
}

/** A table of names and what they stand for. */
export function facts(
  rows: readonly (readonly string[])[],
  caption?: string,
): Html {
  const lines = rows.map(([name, text]) =>
    lineOf([`<th>${textOf(name)}</th>`, `<td>${textOf(text)}</td>`])
  );
  return `<table class="facts">${captionOf(caption)}<tbody>${
    lines.join("")
  }</tbody></table>\n`;
}

function lineOf(cells: readonly Html[]): Html {
  return `<tr>${cells.join("")}</tr>\n`;
}

function captionOf(text: string | undefined): Html {
  return text === undefined ? "" : `<caption>${textOf(text)}</caption>`;
}

/** A drawing, with a text below. */
export function figure(svg: Html, caption: string): Html {
  return `<figure>${svg}<figcaption>${textOf(caption)}</figcaption></figure>\n`;
}

/** A part of the page. */
export function section(title: string, ...content: readonly Html[]): Html {
  return `<section>\n<h2>${textOf(title)}</h2>\n${
    content.join("")
  }</section>\n`;
}

/** A paragraph. */
export function paragraph(text: string): Html {
  return `<p>${textOf(text)}</p>\n`;
}

/** Lines for a shell. */
export function shellLines(...lines: readonly string[]): Html {
  return `<pre>${textOf(lines.join("\n")).replaceAll("\\x0a", "\n")}</pre>\n`;
}

const style = `
  body { max-width: 820px; margin: 2em auto; padding: 0 1em; color: #1a1a1a;
    font: 15px/1.5 "Source Serif 4", Georgia, "Times New Roman", serif; }
  h1 { font-size: 1.7em; line-height: 1.2; margin-bottom: 0; overflow-wrap: anywhere; }
  h2 { font-size: 1.2em; margin: 2em 0 0.5em; border-bottom: 1px solid #bbb; }
  table { border-collapse: collapse; margin: 0.8em 0; font-size: 0.87em;
    font-variant-numeric: tabular-nums; }
  caption { text-align: left; font-style: italic; padding-bottom: 0.3em; }
  th, td { padding: 0.15em 1.1em 0.15em 0; text-align: left; vertical-align: top; }
  thead th { border-top: 1.5px solid; border-bottom: 0.75px solid; vertical-align: bottom; }
  tbody { border-bottom: 1.5px solid; }
  th.number, td.number { text-align: right; }
  td.number { white-space: nowrap; }
  .facts { border-top: 1.5px solid; }
  .facts th { font-weight: normal; color: #555; }
  .facts td { overflow-wrap: anywhere; }
  figure { margin: 1em 0; break-inside: avoid; }
  figure > svg { max-width: 100%; height: auto; }
  figcaption { font-size: 0.87em; color: #444; }
  pre { font-size: 0.8em; background: #f4f4f4; padding: 0.6em 0.8em; white-space: pre-wrap;
    overflow-wrap: anywhere; }
  tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  @media print { section:first-of-type { break-after: page; } body { margin: 0; max-width: none; font-size: 10.5pt; } }
`;

/** A page that loads nothing, and is not allowed to. */
export function page(title: string, ...content: readonly Html[]): Html {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>${textOf(title)}</title>
<style>${style}</style>
</head>
<body>
${content.join("")}</body>
</html>
`;
}
