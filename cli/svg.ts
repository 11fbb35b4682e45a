/**
 * What charts have in common: a document to draw into, and a frame around it.
 *
 * @module
 */

const margin = 16, titleHeight = 30;

/** A library that draws charts, and a document for it: there is no browser here. */
export async function drawing() {
  // Imported when they are needed, for most commands draw nothing.
  const plot = await import("@observablehq/plot");
  const { parseHTML } = await import("linkedom");
  return { plot, document: parseHTML("<html></html>").document };
}

/** One SVG of a title and charts of one size side by side, and below them a key to their colours. */
export function framed(
  title: string,
  charts: readonly string[],
  { width, height }: { readonly width: number; readonly height: number },
  key?: { readonly svg: string; readonly height: number },
): string {
  const top = margin + titleHeight;
  const placed = (svg: string, x: number, y: number) =>
    svg.replace("<svg ", `<svg x="${x}" y="${y}" `);
  const body = charts.map((chart, i) =>
    placed(chart, margin + i * (width + margin), top)
  );
  if (key) body.push(placed(key.svg, margin, top + height));
  const total = {
    width: margin + charts.length * (width + margin),
    height: top + height + (key?.height ?? 0) + margin,
  };
  return opening(total) +
    `<rect width="100%" height="100%" fill="white"/>` +
    `<text x="${margin}" y="${margin + 8}" font-size="14" font-weight="bold">${
      escaped(title)
    }</text>${body.join("")}</svg>\n`;
}

/** The start tag of an SVG that may be shown smaller than it is. */
export function opening(
  { width, height }: { readonly width: number; readonly height: number },
): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">`;
}

/** Text as XML has it. */
export function escaped(text: string): string {
  return text.replace(
    /[&<>]/g,
    (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]!,
  );
}
