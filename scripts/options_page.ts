/**
 * Writes docs/options.md: the options of the library and their flags, from the
 * tables that check them.
 *
 * Run: `deno task docs:options`, with `--check` to compare
 *
 * @module
 */
import { convertOptions } from "../convert.ts";
import {
  chatOptions,
  encodeOptions,
  loadOptions,
  type OptionSpec,
  samplingOptions,
  sequenceOptions,
  textOptions,
} from "../mod.ts";
import { gatewayOptions, serverOptions } from "../server.ts";
import { expectationOf } from "../src/options.ts";
import { writeOrCheck } from "./generated.ts";

const sections: readonly (readonly [
  heading: string,
  table: Readonly<Record<string, OptionSpec>>,
])[] = [
  ["`load`", loadOptions],
  ["`generate`, `complete` and `chat`: the text", textOptions],
  ["`generate`, `complete` and `chat`: the next token", samplingOptions],
  ["`chat` alone", chatOptions],
  ["`tokenize`", encodeOptions],
  ["`engine.createSequence`", sequenceOptions],
  ["`createServer`", serverOptions],
  ["`createGateway`", gatewayOptions],
  ["`convert`", convertOptions],
];

function rowOf([name, spec]: [string, OptionSpec]): string {
  const fallback = spec.defaultText ?? spec.default;
  const cells = [
    `\`${name}\``,
    spec.flag === undefined ? "" : `\`${spec.flag}\``,
    expectationOf(spec),
    Array.isArray(fallback) ? fallback.join(", ") : String(fallback ?? ""),
    spec.description,
  ];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

const page = `# Options

Of the library, and of the commands that have them. \`culm COMMAND --help\` lists
what else a command takes. This page is made by \`deno task docs:options\`.
${
  sections.map(([heading, table]) =>
    `\n## ${heading}\n\n| option | flag | may be | default | what it does |\n| --- | --- | --- | --- | --- |\n${
      Object.entries(table).map(rowOf).join("\n")
    }\n`
  ).join("")
}`;

await writeOrCheck(
  new URL("../docs/options.md", import.meta.url),
  new TextEncoder().encode(page),
  "docs:options",
);
