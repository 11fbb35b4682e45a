// @ts-types="../../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import {
  type LanguageModel,
  parseSparsity,
  type Tokenizer,
} from "../../../mod.ts";
import type { CommandSpec } from "../../command.ts";
import { formatTable } from "../../format.ts";
import { readPrompt } from "../../input.ts";
import { Interrupt } from "../../interrupt.ts";
import { describe, loadModel } from "../../model_file.ts";
import { BadFlags, type FlagGroups, type FlagsOfGroups } from "../../option.ts";
import {
  jsonFlag,
  modelOptions,
  promptOptions,
  runOptions,
} from "../../options.ts";
import { openIfGiven } from "../../output_flags.ts";
import { runGpuOptions } from "../../gpu_options.ts";
import { note, printable, write } from "../../terminal.ts";
import { racePage } from "./page.ts";
import { outputOf, programOf } from "./program.ts";
import { RaceScreen } from "./screen.ts";
import { durationOf, type Mark, momentOf, type Track } from "./track.ts";

const { sparsity, ...running } = runOptions;
const { default: _usual, ...way } = sparsity;

const options = {
  Race: {
    ...promptOptions,
    maxTokens: {
      type: "integer",
      minimum: 2,
      default: 128,
      flag: "-n, --predict, --n-predict <n>",
      description: "tokens that each writes",
    },
    sparsity: {
      ...way,
      repeated: true,
      defaultText: "dense and exact",
      description: "a runner: the model in this mode (as generate's)",
      read: (text: string) => ({ text, mode: parseSparsity(text) }),
    },
    command: {
      repeated: true,
      flag: "--command <name=line>",
      description:
        "a runner: what another program writes to standard output, by a line for the shell",
      read: programOf,
    },
    html: {
      type: "string",
      flag: "--html <file>",
      description: "write a page that replays the race",
    },
    json: {
      ...jsonFlag,
      description: "print each text with its times as JSON",
    },
    force: {
      type: "boolean",
      flag: "--force",
      description: "replace a page that is there",
    },
  },
  Model: modelOptions,
  Running: running,
  GPU: runGpuOptions,
} as const satisfies FlagGroups;

type RaceFlags = FlagsOfGroups<typeof options>;

/** Has a model write the same text in several ways, side by side. */
export const race: CommandSpec = {
  name: "race",
  summary:
    "write the same text dense, sparse and by other programs, and show them side by side",
  options,
  examples: [
    `culm race -m model.gguf -p "Once upon a time" --html race.html`,
    "culm race --sparsity dense --sparsity exact --sparsity top-k=0.1 -n 64",
    `culm race -m model.gguf -p "Tom" --command 'llama.cpp=llama-cli -m model.gguf -p Tom -n 128 --temp 0'`,
  ],
  run,
};

/** ms between two frames. */
const frameMs = 40;

const usualWays = ["dense", "exact"].map((text) => ({
  text,
  mode: parseSparsity(text),
}));

async function run(flags: RaceFlags): Promise<number> {
  const prompt = await readPrompt(flags) ??
    (flags.model === undefined ? "Once upon a time" : undefined);
  if (prompt === undefined) {
    throw new BadFlags("Cannot race without a prompt: give -p TEXT or -f FILE");
  }
  using page = await openIfGiven(flags.html, flags);
  using interrupt = new Interrupt();
  const screen = new RaceScreen();
  const { tracks, title } = await runAll(flags, prompt, screen, interrupt);
  await replay(tracks, screen, interrupt.signal);
  await write(flags.json ? `${JSON.stringify(tracks)}\n` : tableOf(tracks));
  await page?.writeWhole(racePage(title, tracks));
  return 0;
}

/** Has each runner write by itself: together, each would have a part of the machine. */
async function runAll(
  flags: RaceFlags,
  prompt: string,
  screen: RaceScreen,
  interrupt: Interrupt,
): Promise<{ tracks: Track[]; title: string }> {
  const { signal } = interrupt;
  const tracks: Track[] = [];
  let title!: string, tokenizer!: Tokenizer;
  for (const { text, mode } of flags.sparsity ?? usualWays) {
    await using model = await loadModel(
      { ...flags, sparsity: mode },
      interrupt,
    );
    tokenizer = model.tokenizer;
    title = `${describe(model)}, ${model.backend}: ${JSON.stringify(prompt)}`;
    const marks = textOf(model, prompt, flags.maxTokens, signal);
    const track = await watched(text, marks, screen);
    tracks.push({ ...track, tokens: track.marks.length });
  }
  for (const program of flags.command ?? []) {
    note(`running ${printable(program.command)}`);
    const track = await watched(
      program.name,
      outputOf(program, signal),
      screen,
    );
    const { text } = momentOf(track, Infinity);
    tracks.push({ ...track, tokens: tokenizer.encode(text).length });
  }
  return { tracks, title };
}

/** What a model writes after a prompt: the likeliest tokens, one by one. */
async function* textOf(
  model: LanguageModel,
  prompt: string,
  maxTokens: number,
  signal: AbortSignal,
): AsyncGenerator<Mark, void, void> {
  const options = {
    maxTokens,
    temperature: 0,
    ignoreEos: true,
    speculation: "none",
    signal,
  } as const;
  // What runs for the first time is slow.
  await model.complete("Warm", { ...options, maxTokens: 8 });
  const start = performance.now();
  const pieces = model.generate(prompt, options);
  for await (const { text } of pieces) {
    yield { ms: performance.now() - start, text };
  }
  signal.throwIfAborted();
}

/** Shows a text while it is written, and gives it whole. */
async function watched(
  name: string,
  pieces: AsyncIterable<Mark>,
  screen: RaceScreen,
): Promise<Track> {
  const marks: Mark[] = [];
  const track = { name, marks };
  let drawnAt = -Infinity;
  for await (const mark of pieces) {
    marks.push(mark);
    if (mark.ms - drawnAt < frameMs) continue;
    drawnAt = mark.ms;
    screen.draw([track], mark.ms);
  }
  screen.clear();
  return track;
}

/** Shows all runners side by side, each as fast as it was. */
async function replay(
  tracks: readonly Track[],
  screen: RaceScreen,
  signal: AbortSignal,
): Promise<void> {
  if (!screen.isShown) return;
  const start = performance.now();
  const duration = Math.max(...tracks.map(durationOf));
  for (let ms = 0; ms < duration; ms = performance.now() - start) {
    signal.throwIfAborted();
    screen.draw(tracks, ms);
    await delay(frameMs);
  }
  screen.draw(tracks, Infinity);
}

/** What came of it. */
function tableOf(tracks: readonly Track[]): string {
  const [{ text: expected }] = tracks.map((track) => momentOf(track, Infinity));
  const rows = tracks.map((track) => {
    const { text, rate } = momentOf(track, Infinity);
    return [
      printable(track.name),
      track.tokens ?? "-",
      track.marks.length > 0 ? Math.round(track.marks[0].ms) : "-",
      rate ? Number(rate.toFixed(1)) : "-",
      text === expected ? "yes" : "no",
    ];
  });
  const headings = [
    "runner",
    "tokens",
    "first after ms",
    "tokens/s",
    "text of the first",
  ];
  return formatTable([headings, ...rows]);
}
