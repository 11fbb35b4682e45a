import { encodeOptions } from "../../mod.ts";
import { readGguf, tokenizerFromGguf } from "../../gguf.ts";
import type { CommandSpec } from "../command.ts";
import { readPrompt, readText } from "../input.ts";
import { openModel } from "../model_file.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../option.ts";
import { modelOptions, promptOptions } from "../options.ts";
import { write } from "../terminal.ts";

const options = {
  Prompt: promptOptions,
  Model: modelOptions,
  Output: {
    ids: {
      type: "boolean",
      flag: "--ids",
      description: "print the ids alone, as a list",
    },
    bos: {
      type: "boolean",
      default: true,
      flag: "--no-bos",
      description: "do not begin with the token that begins a text",
    },
    parseSpecial: encodeOptions.parseSpecial,
    showCount: {
      type: "boolean",
      flag: "--show-count",
      description: "print how many tokens there are",
    },
  },
} as const satisfies FlagGroups;

type TokenizeFlags = FlagsOfGroups<typeof options>;

/** Shows a text as tokens. */
export const tokenize: CommandSpec = {
  name: "tokenize",
  summary: "show a text as tokens",
  options,
  readsHeader: () => true,
  examples: [
    `culm tokenize -p "Hello world"`,
    "culm tokenize -m model.gguf -f text.txt --ids --no-bos",
  ],
  run,
};

async function run(flags: TokenizeFlags): Promise<number> {
  const text = await textOf(flags);
  const source = await openModel(flags);
  let tokenizer;
  try {
    tokenizer = tokenizerFromGguf(await readGguf(source));
  } finally {
    await source.close();
  }
  let ids = tokenizer.encode(text, {
    parseSpecial: flags.parseSpecial ?? false,
  });
  if (!flags.bos && tokenizer.addBos && ids[0] === tokenizer.bos) {
    ids = ids.slice(1);
  }
  if (flags.ids) {
    await write(`[${ids.join(", ")}]\n`);
  } else {
    // Raw bytes, as llama-tokenize prints them: a token may be a part of a character.
    const quote = new TextEncoder().encode("'\n");
    const lines = ids.flatMap((id) => [
      new TextEncoder().encode(`${String(id).padStart(6)} -> '`),
      tokenizer.pieceBytes(id),
      quote,
    ]);
    await write(
      new Uint8Array(await new Blob(lines as BlobPart[]).arrayBuffer()),
    );
  }
  if (flags.showCount) await write(`Total number of tokens: ${ids.length}\n`);
  return 0;
}

async function textOf(flags: TokenizeFlags): Promise<string> {
  const text = await readPrompt(flags);
  if (text !== undefined) return text;
  if (Deno.stdin.isTerminal()) {
    throw new BadFlags(
      "Cannot tokenize without a text: give -p TEXT or -f FILE",
    );
  }
  return await readText("-");
}
