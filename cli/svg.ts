/**
 * What charts have in common: a document to draw into, and a frame around it.
 *
 * @module
 */

/** Pixels around and between charts, and from a title to them. */
export const margin = 16;
const titleHeight = 30;

/** What a picture takes, in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** A library that draws charts, and a document for it: there is no browser here. */
export async function drawing() {
  // Imported when they are needed, for most commands draw nothing.
  const plot = await import("@observablehq/plot");
  const { parseHTML } = await import("linkedom");
  // Untyped, for not every project that uses culm declares the DOM's types.
  const document = Reflect.get(parseHTML("<html></html>"), "document");
  return { plot, document };
}

/** One SVG of a title and charts of one size side by side, and below them a key to their colours. */
export function framed(
  title: string,
  charts: readonly string[],
  { width, height }: Size,
  key?: { readonly svg: string; readonly height: number },
): string {
  const top = margin + titleHeight;
  const body = charts.map((chart, i) =>
    placed(chart, margin + i * (width + margin), top)
  );
  if (key) body.push(placed(key.svg, margin, top + height));
  const total = {
    width: margin + charts.length * (width + margin),
    height: top + height + (key?.height ?? 0) + margin,
  };
  return sheet(title, body.join(""), total);
}

/** An SVG on white, with a title, that may be shown smaller than it is. */
export function sheet(
  title: string,
  body: string,
  { width, height }: Size,
): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">` +
    `<rect width="100%" height="100%" fill="white"/>` +
    `<text x="${margin}" y="${margin + 8}" font-size="14" font-weight="bold">${
      escaped(title)
    }</text>${body}</svg>\n`;
}

/** A chart at its place in another. */
export function placed(svg: string, x: number, y: number): string {
  return svg.replace("<svg ", `<svg x="${x}" y="${y}" `);
}

/** What colours stand for, one beside another, `step` pixels apart. */
export function legend(
  colours: readonly (readonly [name: string, colour: string])[],
  step: number,
): string {
  return colours.map(([name, colour], i) =>
    `<rect x="${step * i}" y="-9" width="10" height="10" fill="${colour}"/>` +
    `<text x="${step * i + 15}" y="0">${escaped(name)}</text>`
  ).join("");
}

/** Text as XML has it. */
export function escaped(text: string): string {
  return text.replace(
    /[&<>]/g,
    (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]!,
  );
}
