/**
 * Drawings as PDF: one page of vectors, with the fonts that every reader has.
 *
 * @module
 */
import {
  colorString,
  concatTransformationMatrix,
  PDFDocument,
  type PDFFont,
  type PDFPage,
  popGraphicsState,
  pushGraphicsState,
  rotateDegrees,
  StandardFonts,
  translate,
} from "@cantoo/pdf-lib";
import { parseHTML } from "linkedom";

/** Points of a pixel, as CSS has it. */
const pointsPerPixel = 0.75;

/** What is asked of an element: not every project that uses culm declares the DOM's types. */
interface Element {
  readonly tagName: string;
  readonly children: Iterable<Element>;
  readonly textContent: string;
  getAttribute(name: string): string | null;
}

/** What an element has from those around it, as SVG names it. */
type Style = Readonly<Record<(typeof inherited)[number], string>>;

const inherited = [
  "fill",
  "fill-opacity",
  "stroke",
  "stroke-opacity",
  "stroke-width",
  "stroke-dasharray",
  "font-size",
  "font-weight",
  "text-anchor",
] as const;

const initial: Style = {
  "fill": "black",
  "fill-opacity": "1",
  "stroke": "none",
  "stroke-opacity": "1",
  "stroke-width": "1",
  "stroke-dasharray": "none",
  "font-size": "16",
  "font-weight": "normal",
  "text-anchor": "start",
};

/** A page, and its fonts. */
interface Canvas {
  readonly page: PDFPage;
  readonly regular: PDFFont;
  readonly bold: PDFFont;
}

/**
 * An SVG as a PDF. It may have what charts are made of: groups that are moved
 * or turned, lines, rectangles, circles, paths, and texts of one line.
 */
export async function toPdf(svg: string): Promise<Uint8Array> {
  const document = Reflect.get(parseHTML(svg), "document");
  const root: Element = document.querySelector("svg")!;
  const width = numberOf(root, "width"), height = numberOf(root, "height");
  const pdf = await PDFDocument.create();
  const page = pdf.addPage([width * pointsPerPixel, height * pointsPerPixel]);
  const canvas = {
    page,
    regular: await pdf.embedFont(StandardFonts.Helvetica),
    bold: await pdf.embedFont(StandardFonts.HelveticaBold),
  };
  // SVG counts downwards from the upper edge.
  page.pushOperators(concatTransformationMatrix(
    pointsPerPixel,
    0,
    0,
    -pointsPerPixel,
    0,
    height * pointsPerPixel,
  ));
  draw(canvas, root, initial);
  return await pdf.save();
}

/** Cancels what the library does to the direction of y. */
const upright = [1, 0, 0, -1, 0, 0] as [
  number,
  number,
  number,
  number,
  number,
  number,
];

function draw(canvas: Canvas, element: Element, outer: Style): void {
  const style = styleOf(element, outer);
  const { page } = canvas;
  page.pushOperators(pushGraphicsState(), ...movesOf(element));
  switch (element.tagName.toLowerCase()) {
    case "svg":
    case "g":
      for (const child of element.children) draw(canvas, child, style);
      break;
    case "text":
      drawText(canvas, element, style);
      break;
    case "style":
      break;
    case "line":
      // A PDF's reader draws also an area that has no width.
      drawPath(page, pathOf(element), { ...style, fill: "none" });
      break;
    default:
      drawPath(page, pathOf(element), style);
  }
  page.pushOperators(popGraphicsState());
}

function styleOf(element: Element, outer: Style): Style {
  const own = inherited.map((
    name,
  ) => [name, element.getAttribute(name) ?? outer[name]]);
  return Object.fromEntries(own) as Style;
}

/** Where an element's own coordinates begin, and how they are turned. */
function movesOf(element: Element) {
  const transform = element.getAttribute("transform") ?? "";
  const moves = [...transform.matchAll(/(\w+)\(([^)]*)\)/g)].map(
    ([, name, list]) => {
      const [a, b = 0] = list.split(/[\s,]+/).map(Number);
      if (name === "translate") return translate(a, b);
      if (name === "rotate") return rotateDegrees(a);
      throw new Error(`Cannot draw ${name} in a PDF`);
    },
  );
  return element.tagName.toLowerCase() === "svg"
    ? [translate(numberOf(element, "x"), numberOf(element, "y")), ...moves]
    : moves;
}

/** The outline of a shape, as a path has it. */
function pathOf(element: Element): string {
  const at = (name: string) => numberOf(element, name);
  switch (element.tagName.toLowerCase()) {
    case "path":
      return element.getAttribute("d") ?? "";
    case "line":
      return `M${at("x1")},${at("y1")}L${at("x2")},${at("y2")}`;
    case "rect": {
      const width = at("width"), x = at("x");
      return `M${x},${at("y")}h${width}v${at("height")}h${-width}Z`;
    }
    case "circle": {
      const r = at("r"), left = at("cx") - r, right = at("cx") + r;
      const arc = `A${r},${r},0,0,1,`, y = at("cy");
      return `M${left},${y}${arc}${right},${y}${arc}${left},${y}Z`;
    }
    default:
      throw new Error(
        `Cannot draw <${element.tagName.toLowerCase()}> in a PDF`,
      );
  }
}

function drawPath(page: PDFPage, path: string, style: Style): void {
  const dashes = style["stroke-dasharray"];
  const borderColor = colourOf(style.stroke);
  page.drawSvgPath(path, {
    x: 0,
    y: 0,
    matrix: upright,
    color: colourOf(style.fill),
    opacity: Number(style["fill-opacity"]),
    borderColor,
    borderOpacity: Number(style["stroke-opacity"]),
    borderWidth: borderColor ? Number(style["stroke-width"]) : 0,
    borderDashArray: dashes === "none"
      ? undefined
      : dashes.split(/[\s,]+/).map(Number),
  });
}

function drawText(
  { page, regular, bold }: Canvas,
  element: Element,
  style: Style,
): void {
  const font = style["font-weight"] === "bold" ? bold : regular;
  const size = Number(style["font-size"]);
  const known = new Set(font.getCharacterSet());
  // The standard fonts have the characters of western Europe, and a dash for the minus sign.
  const text = Array.from(
    element.textContent.replaceAll("−", "–"),
    (character) => known.has(character.codePointAt(0)!) ? character : "?",
  ).join("");
  const width = font.widthOfTextAtSize(text, size);
  const before = { start: 0, middle: width / 2, end: width };
  page.drawText(text, {
    x: numberOf(element, "x", size) -
      before[style["text-anchor"] as keyof typeof before],
    y: -numberOf(element, "y", size) - numberOf(element, "dy", size),
    matrix: upright,
    font,
    size,
    color: colourOf(style.fill),
  });
}

/** A length in pixels; one in `em` is of `size`. */
function numberOf(element: Element, name: string, size = 1): number {
  const value = element.getAttribute(name) ?? "0";
  return parseFloat(value) * (value.endsWith("em") ? size : 1);
}

function colourOf(name: string) {
  if (name === "none") return undefined;
  const isForeground = name === "currentColor";
  return colorString(isForeground ? "black" : name).rgb;
}
