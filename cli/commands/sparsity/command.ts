import type { CommandSpec } from "../../command.ts";
import { readTexts, textName } from "../../input.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../../option.ts";
import {
  benchLoadOptions,
  jsonFlag,
  modelOptions,
  scoredTextOptions,
} from "../../options.ts";
import type { OutputFile } from "../../output_file.ts";
import { openOutput } from "../../output_flags.ts";
import { stateOptions } from "../../checkpoint.ts";
import { writeDrawing } from "../../svg.ts";
import { note, write } from "../../terminal.ts";
import { numbers, shares } from "../../values.ts";
import { figuresOf } from "./figures.ts";
import { toCsv, toJson, toTables } from "./output.ts";
import { measureSparsity } from "./run.ts";
import { type Header, readHeader } from "./work.ts";

const {
  sparsity: _all,
  profile: _none,
  hotShare: _picked,
  ...running
} = benchLoadOptions;

/** What is measured, for `report` too. */
export const measureOptions = {
  tokens: {
    type: "integer",
    minimum: 1,
    default: 1024,
    flag: "--tokens <n>",
    description:
      "most tokens of the text in which live neurons are counted, one by one",
  },
  decodeTokens: {
    type: "integer",
    minimum: 1,
    default: 64,
    flag: "--decode-tokens <n>",
    description: "tokens of the text whose bytes are counted, in each mode",
  },
  thresholds: {
    read: numbers({ minimum: 0 }),
    default: [0.03, 0.1, 0.3, 1],
    flag: "--thresholds <values>",
    description: "rows of --sparsity threshold, by what |h| has to pass",
  },
  scores: {
    read: numbers({}),
    default: [],
    defaultText: "the predictor's own thresholds alone",
    flag: "--scores <scores>",
    description:
      "further rows of --sparsity predictor, by the score that it has to give",
  },
  recall: {
    read: shares,
    default: [0.9, 0.95, 0.99],
    flag: "--recall <shares>",
    description:
      "rows of a predictor, by the share of a layer's live neurons that it is to select",
  },
} as const;

const options = {
  Sparsity: {
    ...scoredTextOptions,
    keep: {
      read: shares,
      default: [0.5, 0.2, 0.1, 0.05],
      flag: "--keep <shares>",
      description:
        "rows of --sparsity top-k, by the share of a layer's neurons that is kept",
    },
    ...measureOptions,
    csv: {
      type: "boolean",
      flag: "--csv",
      description: "print quality and bytes as CSV",
    },
    json: jsonFlag,
    svg: {
      type: "string",
      flag: "--svg <file>",
      description:
        "draw each part: NAME-quality.svg, NAME-union.svg and so on for NAME.svg; as PDF where the name ends in .pdf",
    },
    ...stateOptions("sparsity"),
  },
  Model: modelOptions,
  Running: running,
} as const satisfies FlagGroups;

type SparsityFlags = FlagsOfGroups<typeof options>;

/** Measures what sparsity costs and saves. */
export const sparsity: CommandSpec = {
  name: "sparsity",
  summary:
    "measure quality against bytes read, union sparsity, a predictor by layer and the use of experts",
  options,
  examples: [
    "culm sparsity -m model.gguf -f wiki.test.raw --chunks 8 --svg sparsity.svg",
    "culm sparsity -m model.gguf -f text.txt --keep 0.2,0.1 --thresholds 0.1,0.2 --csv",
    "culm sparsity -m model.gguf -f text.txt --predictor trained.predictor --recall 0.9,0.99 --json",
  ],
  run,
};

async function run(flags: SparsityFlags): Promise<number> {
  const { csv, json, svg } = flags;
  if (csv && json) throw new BadFlags("Cannot print both --csv and --json");
  const header = await readHeader(flags);
  const pictures = await openFigures(svg, header, flags);
  try {
    const [text] = await readTexts(
      flags.file === undefined ? undefined : [flags.file],
      "measure sparsity",
    );
    if (!header.isSparse) {
      note(
        `warning: neurons of ${header.model.activation} are never zero: live neurons are left out, and what is not kept is lost`,
      );
    }
    const report = await measureSparsity(flags, header, text, {
      command: "sparsity",
      textName: textName(flags.file),
    });
    if (json) await write(toJson(report));
    else if (csv) await write(toCsv(report));
    else await write(toTables(report));
    for (const [name, draw] of figuresOf(report)) {
      const picture = pictures.get(name);
      if (picture) await writeDrawing(picture, await draw());
    }
  } finally {
    for (const picture of pictures.values()) picture[Symbol.dispose]();
  }
  return 0;
}

/** Claims the files of the figures that a model has. */
async function openFigures(
  svg: string | undefined,
  { model, isSparse, hasPredictor }: Header,
  flags: SparsityFlags,
): Promise<Map<string, OutputFile>> {
  const pictures = new Map<string, OutputFile>();
  if (svg === undefined) return pictures;
  const names = [
    "quality",
    ...isSparse ? ["live", "union"] : [],
    ...hasPredictor ? ["predictor"] : [],
    ...model.routing ? ["experts"] : [],
  ];
  try {
    for (const name of names) {
      const path = svg.replace(/(\.[^./\\]*)?$/, `-${name}$1`);
      pictures.set(name, await openOutput(path, flags));
    }
  } catch (error) {
    for (const picture of pictures.values()) picture[Symbol.dispose]();
    throw error;
  }
  return pictures;
}
