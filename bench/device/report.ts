/** What a run on a device found, as Markdown, and where it goes in a document. */

/** One row of the model's table. */
export interface ModelFigures {
  readonly what: string;
  /** Tokens a second, by the number of tokens in a prompt; of single tokens under 1 */
  readonly rates: Readonly<Record<number, number>>;
  readonly gpuBytes?: number;
  /** Of a single token */
  readonly kernels?: number;
  readonly submits?: number;
  readonly readBacks?: number;
}

export interface Report {
  readonly machine: string;
  readonly file: string;
  readonly models: ModelFigures[];
  /** The table of `bench/gpu.ts` */
  kernels?: string;
  tests?: string;
  /** What failed, or found no time */
  readonly missing: string[];
}

export function render(
  { machine, file, models, kernels, tests, missing }: Report,
): string {
  const prompts = [
    ...new Set(models.flatMap(({ rates }) => Object.keys(rates).map(Number))),
  ].filter((count) => count > 1).sort((a, b) => a - b);
  const rate = (figures: ModelFigures, count: number) =>
    figures.rates[count]?.toFixed(1) ?? "";
  const rows = models.map((figures) => [
    figures.what,
    rate(figures, 1),
    ...prompts.map((count) => rate(figures, count)),
    figures.gpuBytes ? (figures.gpuBytes / 2 ** 30).toFixed(2) : "",
    figures.submits
      ? `${figures.kernels}, ${figures.submits}, ${figures.readBacks}`
      : "",
  ]);
  const table = tableOf([
    "tokens a second",
    "one by one",
    ...prompts.map((count) => `a step of ${count}`),
    "GiB on the GPU",
    "kernels, submits, read-backs a token",
  ], rows);
  return [
    `${machine}; ${file}.`,
    table,
    ...kernels ? ["Kernels by themselves:", kernels] : [],
    ...tests ? [`The GPU's tests: ${tests}.`] : [],
    ...missing.length > 0
      ? ["Not measured:", missing.map((what) => `- ${what}`).join("\n")]
      : [],
  ].join("\n\n");
}

function tableOf(
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const rule = head.map((_, i) => i === 0 ? "---" : "---:");
  return [head, rule, ...rows].map(line).join("\n");
}

const begin = "<!-- figures of bench/device.sh -->";
const end = "<!-- end of them -->";

/**
 * Puts a text between the two lines that mark its place.
 *
 * @throws {Error} where they are not there
 */
export function putFigures(document: string, figures: string): string {
  const from = document.indexOf(begin), to = document.indexOf(end);
  if (from < 0 || to < from) {
    throw new Error(`Cannot put figures: "${begin}" and "${end}" are missing`);
  }
  return `${document.slice(0, from + begin.length)}\n\n${figures}\n\n${
    document.slice(to)
  }`;
}
