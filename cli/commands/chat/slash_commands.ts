/**
 * What a user may ask of the chat itself.
 *
 * @module
 */
import { UsageError } from "../../../mod.ts";
import { nearestHint } from "../../../src/nearest_name.ts";

/** What commands may do. */
export interface ChatControls {
  help(): void;
  clear(): void;
  regenerate(): Promise<void>;
  system(text: string): void;
  save(path: string): Promise<void>;
  load(path: string): Promise<void>;
  exit(): void;
}

/** One command. */
interface SlashCommand {
  readonly argument?: string;
  readonly summary: string;
  readonly run: (
    chat: ChatControls,
    argument: string,
  ) => void | Promise<void>;
}

/** All of them, by what calls them. */
const commands: Readonly<Record<string, SlashCommand>> = {
  "/help": {
    summary: "show this",
    run: (chat) => chat.help(),
  },
  "/clear": {
    summary: "forget all but the system message",
    run: (chat) => chat.clear(),
  },
  "/regen": {
    summary: "answer the last message anew",
    run: (chat) => chat.regenerate(),
  },
  "/system": {
    argument: "[text]",
    summary: "show the system message, or set another",
    run: (chat, text) => chat.system(text),
  },
  "/save": {
    argument: "[file]",
    summary: "write the chat to a file, as JSON",
    run: (chat, path) => chat.save(path),
  },
  "/load": {
    argument: "<file>",
    summary: "go on from a chat that was saved",
    run: (chat, path) => chat.load(path),
  },
  "/exit": {
    summary: "end the chat",
    run: (chat) => chat.exit(),
  },
};

const keys: readonly (readonly [string, string])[] = [
  ["\\ Enter, Alt-Enter", "begin another line"],
  ['"""', "begins and ends a message of several lines"],
  ["Up, Down", "earlier messages"],
  ["Ctrl-C", "stop the answer; clear the message"],
  ["Ctrl-D", "end the chat"],
];

/** What a message calls, with what stands behind it; nothing where it is for the model. */
export function slashCommandIn(
  message: string,
): { name: string; argument: string } | undefined {
  const [, name, argument] = message.match(/^(\/\p{L}+)(?: +(.*))?\s*$/su) ??
    [];
  return name === undefined
    ? undefined
    : { name, argument: argument?.trim() ?? "" };
}

/**
 * Does what a command says.
 *
 * @throws {UsageError} where there is no such command, or it lacks what it needs
 */
export async function runSlashCommand(
  { name, argument }: { name: string; argument: string },
  chat: ChatControls,
): Promise<void> {
  if (!Object.hasOwn(commands, name)) {
    throw new UsageError(
      `There is no ${name}.${
        nearestHint(" Did you mean", name, Object.keys(commands))
      } /help lists the commands; a message that begins with / needs a blank before it`,
    );
  }
  const command = commands[name];
  const usage = usageOf(name, command);
  if (argument === "" && command.argument?.startsWith("<")) {
    throw new UsageError(`Cannot do ${name} without more: ${usage}`);
  }
  if (argument !== "" && command.argument === undefined) {
    throw new UsageError(`Cannot use '${argument}' behind ${name}`);
  }
  await command.run(chat, argument);
}

/** Commands and keys, a line each. */
export function slashHelp(): string {
  const rows = [
    ...Object.entries(commands).map((
      [name, command],
    ) => [usageOf(name, command), command.summary]),
    ...keys,
  ];
  const width = Math.max(...rows.map(([term]) => term.length));
  return rows.map(([term, text]) => `${term.padEnd(width)}  ${text}`)
    .join("\n");
}

function usageOf(name: string, { argument = "" }: SlashCommand): string {
  return `${name} ${argument}`.trimEnd();
}
