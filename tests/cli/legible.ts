/** Whether a figure can be read in a paper. */
import assert from "node:assert/strict";
import { parseHTML } from "linkedom";

/** The least size of type, in pixels, and the least contrast of a line with the page. */
const leastType = 14, leastContrast = 1.6;

/** Checks that no text of a figure is small, and no line of it faint. */
export function assertLegible(svg: string): void {
  const { document } = parseHTML(svg);
  const texts = [...document.querySelectorAll("text")];
  assert.ok(texts.length > 0);
  for (const text of texts) {
    const sized = text.closest("[font-size]");
    const size = Number(sized?.getAttribute("font-size"));
    assert.ok(size >= leastType, `${text.textContent}: ${size}`);
  }
  const strokes = [...document.querySelectorAll("[stroke]")]
    .map((mark) => mark.getAttribute("stroke")!)
    .filter((stroke) => /^#[0-9a-f]{6}$/.test(stroke));
  for (const stroke of strokes) {
    assert.ok(contrast(stroke) >= leastContrast, `${stroke} is faint`);
  }
}

/** The contrast of a colour, `#rrggbb`, with white, by WCAG 2. */
function contrast(colour: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const value = parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 1.05 / (0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05);
}
