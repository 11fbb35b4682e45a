/**
 * What charts have in common: a document to draw into, the size of type, and a
 * frame around them. In a paper's column, of 84 mm, a chart of 480 pixels has
 * type of 7 points.
 *
 * @module
 */
import type { PlotOptions } from "@observablehq/plot";
import type { OutputFile } from "./output_file.ts";

/** Pixels around and between charts, and from a title to them. */
export const margin = 16;
/** Pixels from one line of text to the next. */
export const lineHeight = 20;

const fontFamily = "Helvetica, Arial, sans-serif";
const fontSize = 14, titleSize = 16;

/** Colours that people who see few of them tell apart, by Okabe and Ito. */
export const okabeIto = {
  blue: "#0072b2",
  vermillion: "#d55e00",
  green: "#009e73",
  purple: "#cc79a7",
} as const;

/** What a picture takes, in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** A drawing, and what stands above it. */
export interface Panel {
  readonly title?: string;
  readonly svg: string;
}

/** A library of marks, and what makes charts of them: there is no browser here. */
export async function drawing() {
  // Imported when they are needed, for most commands draw nothing.
  const plot = await import("@observablehq/plot");
  const { parseHTML } = await import("linkedom");
  // Untyped, for not every project that uses culm declares the DOM's types.
  const document = Reflect.get(parseHTML("<html></html>"), "document");
  const axis = { labelAnchor: "center", labelArrow: "none" } as const;
  const chart = (options: PlotOptions): string => {
    const svg = plot.plot({
      document,
      ...options,
      x: { ...axis, ...options.x },
      y: { ...axis, ...options.y },
    });
    svg.setAttribute("font-size", String(fontSize));
    svg.setAttribute("font-family", fontFamily);
    return svg.outerHTML;
  };
  return { plot, chart };
}

/** Writes a drawing as SVG, or as PDF where the file is called so, and says so. */
export async function writeDrawing(
  output: OutputFile,
  svg: string,
): Promise<void> {
  if (!/\.pdf$/i.test(output.path)) return await output.writeWhole(svg);
  const { toPdf } = await import("./pdf.ts");
  await output.writeWhole(await toPdf(svg));
}

/** The colours of layers, from the first to the last: without the scheme's yellow, which is faint on white. */
export function layerColours(
  layers: number,
): { scheme: "viridis"; domain: number[]; range: number[] } {
  return {
    scheme: "viridis",
    domain: [0, Math.max(1, layers - 1)],
    range: [0, 0.82],
  };
}

const barSize = { width: 240, height: 66 };

/** Which colour each layer has. */
async function layerBar(layers: number): Promise<string> {
  const { plot: { rect }, chart } = await drawing();
  const every = Math.ceil(layers / 6);
  const ticks = Array.from(
    { length: Math.ceil(layers / every) },
    (_, i) => i * every,
  );
  return chart({
    ...barSize,
    marginTop: 10,
    marginBottom: 42,
    marginLeft: 10,
    marginRight: 20, // as charts have it
    x: { label: "layer", ticks, tickFormat: String },
    color: layerColours(layers),
    marks: [
      rect(Array.from({ length: layers }, (_, layer) => layer), {
        x1: (layer) => layer - 0.5,
        x2: (layer) => layer + 0.5,
        fill: (layer) => layer,
        shapeRendering: "crispEdges",
      }),
    ],
  });
}

/** A chart of a line a layer, and below it which colour is which layer. */
export async function withLayerBar(
  svg: string,
  { width, height }: Size,
  layers: number,
): Promise<{ svg: string; size: Size }> {
  const size = { width, height: height + barSize.height };
  const bar = placed(await layerBar(layers), width - barSize.width, height);
  return {
    svg:
      `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${size.height}">${svg}${bar}</svg>`,
    size,
  };
}

/**
 * One SVG of panels of one size side by side, and below them a key to their
 * colours. The first line of text is its title.
 */
export function framed(
  lines: readonly string[],
  panels: readonly Panel[],
  { width, height }: Size,
  key?: { readonly svg: string; readonly height: number },
): string {
  const titled = panels.some(({ title }) => title !== undefined);
  const top = headerHeight(lines);
  const chartTop = top + (titled ? lineHeight : 0);
  const body = panels.map(({ title, svg }, i) => {
    const left = margin + i * (width + margin);
    const heading = title === undefined
      ? ""
      : boldText(title, left, top + fontSize, width, fontSize);
    return heading + placed(svg, left, chartTop);
  });
  if (key) body.push(placed(key.svg, margin, chartTop + height));
  return sheet(lines, body.join(""), {
    width: margin + panels.length * (width + margin),
    height: chartTop + height + (key?.height ?? 0) + margin,
  });
}

/** An SVG on white, with a title and lines below it, that may be shown smaller than it is. */
export function sheet(
  [title, ...rest]: readonly string[],
  body: string,
  { width, height }: Size,
): string {
  const most = width - 2 * margin;
  const lines = rest.map((line, i) =>
    `<text x="${margin}" y="${margin + titleSize + (i + 1) * lineHeight}">${
      escaped(fitting(line, most, fontSize))
    }</text>`
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="${fontFamily}" font-size="${fontSize}">` +
    `<rect width="${width}" height="${height}" fill="white"/>` +
    boldText(title, margin, margin + titleSize, most, titleSize) +
    `${lines.join("")}${body}</svg>\n`;
}

/** Pixels from the top to what is below the title and its lines. */
export function headerHeight(lines: readonly string[]): number {
  return margin + titleSize + (lines.length - 1) * lineHeight + margin;
}

function boldText(
  text: string,
  x: number,
  y: number,
  width: number,
  size: number,
): string {
  return `<text x="${x}" y="${y}" font-size="${size}" font-weight="bold">${
    escaped(fitting(text, width, size * 1.07))
  }</text>`;
}

/** About what a text takes: an average character is half as wide as high. */
function widthOf(text: string, size: number): number {
  return 0.52 * size * text.length;
}

/** A text cut to a width. */
function fitting(text: string, width: number, size: number): string {
  const most = Math.floor(width / widthOf(" ", size));
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** A chart at its place in another. */
export function placed(svg: string, x: number, y: number): string {
  return svg.replace("<svg ", `<svg x="${x}" y="${y}" `);
}

/** What colours stand for, one beside another. */
export function legend(
  colours: readonly (readonly [name: string, colour: string])[],
): string {
  let x = 0;
  return colours.map(([name, colour]) => {
    const entry =
      `<rect x="${x}" y="-11" width="12" height="12" fill="${colour}"/>` +
      `<text x="${x + 18}" y="0">${escaped(name)}</text>`;
    x += 18 + Math.ceil(widthOf(name, fontSize)) + 20;
    return entry;
  }).join("");
}

const keyHeight = 32;

/** A {@linkcode legend} as the key of {@linkcode framed}, below charts with an axis to their left. */
export function keyBelow(entries: string): { svg: string; height: number } {
  return {
    svg:
      `<svg xmlns="http://www.w3.org/2000/svg"><g transform="translate(70,22)">${entries}</g></svg>`,
    height: keyHeight,
  };
}

/** Text as XML has it. */
export function escaped(text: string): string {
  return text.replace(
    /[&<>]/g,
    (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]!,
  );
}
