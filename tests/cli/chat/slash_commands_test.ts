import assert from "node:assert/strict";
import {
  type ChatControls,
  runSlashCommand,
  slashCommandIn,
} from "../../../cli/commands/chat/slash_commands.ts";

/** Controls that note what was asked of them. */
function recorded(): { asked: string[]; controls: ChatControls } {
  const asked: string[] = [];
  const note = (name: string) => (argument?: string) =>
    void asked.push([name, argument].join(" ").trimEnd());
  const later = (name: string) => async (argument?: string) =>
    await note(name)(argument);
  const controls = {
    help: note("help"),
    clear: note("clear"),
    regenerate: later("regenerate"),
    system: note("system"),
    save: later("save"),
    load: later("load"),
    exit: note("exit"),
  };
  return { asked, controls };
}

Deno.test("commands begin with / and a word; other messages are the model's", () => {
  const cases: [string, ReturnType<typeof slashCommandIn>][] = [
    ["/help", { name: "/help", argument: "" }],
    ["/save  my chat.json ", { name: "/save", argument: "my chat.json" }],
    ["/system one\ntwo", { name: "/system", argument: "one\ntwo" }],
    ["/etc/passwd is what?", undefined],
    ["/help\nis what I typed", undefined],
    [" /help", undefined],
    ["1/2", undefined],
    ["/", undefined],
  ];
  for (const [message, expected] of cases) {
    assert.deepEqual(slashCommandIn(message), expected, message);
  }
});

Deno.test("each command does one thing, with what stands behind it", async () => {
  const { asked, controls } = recorded();
  for (
    const message of [
      "/help",
      "/clear",
      "/regen",
      "/system",
      "/system Be kind.",
      "/save",
      "/load a b.json",
      "/exit",
    ]
  ) await runSlashCommand(slashCommandIn(message)!, controls);
  assert.deepEqual(asked, [
    "help",
    "clear",
    "regenerate",
    "system",
    "system Be kind.",
    "save",
    "load a b.json",
    "exit",
  ]);
});

Deno.test("a command that is none, lacks something or has too much says so", async () => {
  const { asked, controls } = recorded();
  const cases: [string, RegExp][] = [
    ["/quit", /There is no \/quit\. Did you mean \/\w+\?/],
    ["/lod x", /Did you mean \/load\?/],
    ["/constructor", /There is no \/constructor\. \/help/],
    ["/load", /\/load <file>/],
    ["/clear all", /'all' behind \/clear/],
  ];
  for (const [message, expected] of cases) {
    await assert.rejects(
      runSlashCommand(slashCommandIn(message)!, controls),
      expected,
    );
  }
  assert.deepEqual(asked, []);
});
