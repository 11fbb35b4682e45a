/** The chat as somebody at a terminal sees it. */
import assert from "node:assert/strict";
import { needs, testNeeding } from "../../helpers/needs.ts";
import { inFolder } from "../temp_folder.ts";
import { hasTerminals, PseudoTerminal } from "./pseudo_terminal.ts";

function test(name: string, fn: () => Promise<void>): void {
  testNeeding(needs.terminal, hasTerminals, { name, fn });
}

/** One sentence behind another, which a model of stories goes on with. */
const template = "{% for m in messages %}{{ m.content }} {% endfor %}";
const usual = ["chat", "-t", "1", "--temp", "0", "--chat-template", template];

/** Where Deno keeps modules. */
async function denoFolder(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json"],
  }).output();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}

const ctrl = {
  c: "\x03",
  d: "\x04",
  u: "\x15",
} as const;
const up = "\x1b[A";

test("a paste is one message, and what is typed meanwhile waits", async () => {
  await using terminal = new PseudoTerminal([...usual, "-n", "120"]);
  await terminal.shows(/^>$/m);
  await terminal.paste("Tom had\r\na ball.\r\n");
  await terminal.shows("> Tom had\n  a ball.");
  await terminal.type("\r");
  await terminal.shows(/a ball\.\n+ *\w+/);
  await terminal.type("this waits");
  const text = await terminal.shows(/^\([^]*\n> this waits$/m);
  assert.equal(text.match(/this waits/g)!.length, 1);
  assert.equal(text.match(/^\(.*context/gm)!.length, 1);
  await terminal.type(`${ctrl.u}${ctrl.d}`);
  assert.deepEqual(await terminal.ended(), { code: 0, takesLines: true });
});

test("Ctrl-C clears half a line, says how to leave, and stops an answer that stays", async () => {
  const endless = ["-n", "400", "--ignore-eos"];
  await using terminal = new PseudoTerminal([...usual, ...endless]);
  await terminal.shows(/^>$/m);
  await terminal.type("half a li");
  await terminal.shows("half a li");
  await terminal.type(ctrl.c);
  await terminal.shows(/^>$/m);
  await terminal.type(ctrl.c);
  await terminal.shows(/Ctrl-D or \/exit[^]*^>$/m);
  await terminal.type("Once upon a time\r");
  await terminal.shows(/a time\n+ *\w+ \w+ \w+/);
  await terminal.type(ctrl.c);
  const text = await terminal.shows(/\(stopped; [^]*^>$/m);
  const [, said] = text.match(/a time\n+ *(\w+ \w+ \w+)/)!;
  await inFolder(async (folder) => {
    // Nothing may be written here: an error, and the chat goes on.
    await terminal.type(`/save ${folder}/chat.json\r`);
    await terminal.shows(/^error: [^]*^>$/m);
  });
  await terminal.type(`${up}${ctrl.u}${up}${up}`);
  await terminal.shows(/> Once upon a time$/m);
  await terminal.type(`${ctrl.u}/exit\r`);
  assert.equal((await terminal.ended()).code, 0);
  assert.ok(terminal.text.includes(said));
});

test("commands: an unknown one, a saved chat, another answer", async () => {
  await inFolder(async (folder) => {
    const allowed = [`--allow-write=${folder}`, `--allow-read=${folder}`];
    const file = `${folder}/chat.json`;
    await using terminal = new PseudoTerminal([...usual, "-n", "8"], allowed);
    await terminal.shows(/^>$/m);
    await terminal.type("/exot\r");
    await terminal.shows("Did you mean /exit?");
    await terminal.type("/system Be kind.\rTom had a ball.\r/regen\r");
    const answers = await terminal.shows(/(\(cut at -n[^]*){2}^>$/m);
    assert.ok(answers.includes("system: Be kind."));
    await terminal.type(`/save ${file}\r`);
    await terminal.shows(/\(wrote /);
    const { messages } = JSON.parse(await Deno.readTextFile(file));
    const roles = messages.map(({ role }: { role: string }) => role);
    assert.deepEqual(roles, ["system", "user", "assistant"]);
    await terminal.type("/clear\r/regen\r");
    await terminal.shows("there is no answer yet");
    await terminal.type(`/save ${file}\r`);
    await terminal.shows("there already");
    await terminal.type(`/load ${file}\r`);
    await terminal.shows(/\(3 messages[^]*user: Tom had a ball\./);
  });
});

test("another answer is another one, also where the seed is given", async () => {
  const seeded = [...usual, "--temp", "1", "-s", "1", "-n", "12"];
  await using terminal = new PseudoTerminal(seeded);
  await terminal.shows(/^>$/m);
  await terminal.type("Tom had\r/regen\r");
  const text = await terminal.shows(/(\(cut at -n[^]*){2}^>$/m);
  const [, first] = text.match(/^> Tom had\n([^]*?)^\(cut/m)!;
  const [, second] = text.match(/^> \/regen\n([^]*?)^\(cut/m)!;
  assert.notEqual(first, second);
});

test("a full context loses the oldest turns, and says so", async () => {
  const small = ["-c", "96", "-n", "24", "--ignore-eos", "-sys", "Be kind."];
  await using terminal = new PseudoTerminal([...usual, ...small]);
  await terminal.shows(/^>$/m);
  await terminal.type("Tom had a ball.\rAnna had a dog.\rThey ran.\rBut\r");
  const text = await terminal.shows(/no longer told[^]*\(cut at -n[^]*^>$/m);
  assert.match(text, /no longer told the oldest 4 messages/);
  await terminal.paste("word ".repeat(200));
  await terminal.type("\r");
  const told = await terminal.shows(/^error: [^]*^>$/m);
  assert.match(told.replaceAll("\n", ""), /the context 96.*larger -c/);
  assert.equal(told.match(/no longer told/g)!.length, 1);
  await terminal.type(up);
  await terminal.shows(/^error: [^]*> word word/m);
});

test("a template that fails is one line, and loses nothing", async () => {
  const once =
    `{% if messages|length > 1 %}{{ raise_exception("no more") }}{% endif %}${template}`;
  const flags = ["chat", "-n", "4", "--chat-template", once];
  await using terminal = new PseudoTerminal(flags);
  await terminal.shows(/^>$/m);
  await terminal.type("Tom had a ball.\rAnd a dog.\r");
  const text = await terminal.shows(/^error: [^]*^>$/m);
  assert.equal(text.match(/no more/g)!.length, 1);
  await terminal.type(`/clear\r${up}${up}\r`);
  await terminal.shows(/(\(cut at -n[^]*){2}/);
});

test("messages come back in another run where their file may be written", async () => {
  await inFolder(async (folder) => {
    // Deno's own cache stays where it is.
    const env = { XDG_CACHE_HOME: folder, DENO_DIR: await denoFolder() };
    const allowed = [
      "--allow-env=XDG_CACHE_HOME",
      `--allow-read=${folder}`,
      `--allow-write=${folder}`,
    ];
    {
      await using first = new PseudoTerminal(
        [...usual, "-n", "1"],
        allowed,
        env,
      );
      const text = await first.shows(/^>$/m);
      assert.doesNotMatch(text, /for this run only/);
      await first.type("one\\\rtwo\r");
      await first.shows(/^\([^]*^>$/m);
    }
    await using second = new PseudoTerminal([...usual], allowed, env);
    await second.shows(/^>$/m);
    await second.type(up);
    await second.shows("> one\n  two");
    const unwanted = [...usual, "--no-history"];
    await using third = new PseudoTerminal(unwanted, allowed, env);
    assert.doesNotMatch(await third.shows(/^>$/m), /for this run only/);
    await third.type(`${up}new`);
    await third.shows(/^> new$/m);
  });
  await using closed = new PseudoTerminal([...usual]);
  await closed.shows(/kept for this run only; --allow-env/);
});

test("a message is drawn anew where the window's width changes", async () => {
  await using terminal = new PseudoTerminal([...usual]);
  await terminal.shows(/^>$/m);
  const message = "abcdefghij".repeat(5);
  await terminal.type(`${message}\\\r`);
  await terminal.shows(`> ${message}\n`);
  await terminal.resize(40);
  await terminal.shows(`> ${message.slice(0, 38)}\n${message.slice(38)}\n`);
  await terminal.resize(100);
  const text = await terminal.shows(`> ${message}\n`);
  assert.equal(text.match(/^>/gm)!.length, 1);
});

test("a row with the cursor beyond the new width, which the terminal cuts off, costs nothing above it", async () => {
  await using terminal = new PseudoTerminal([...usual]);
  const before = await terminal.shows(/^>$/m);
  const message = "abcdefghij".repeat(5);
  await terminal.type(message);
  await terminal.shows(`> ${message}`);
  await terminal.resize(40);
  const text = await terminal.shows(
    `> ${message.slice(0, 38)}\n${message.slice(38)}`,
  );
  const [lastAbove] = before.trimEnd().split("\n").slice(-2);
  assert.ok(
    text.includes(`${lastAbove.slice(-20)}\n> ${message.slice(0, 38)}`),
  );
  assert.equal(text.match(/^>/gm)!.length, 1);
});

test("a terminal that does not say its width has 80 columns", async () => {
  await using terminal = new PseudoTerminal([...usual]);
  await terminal.shows(/^>$/m);
  await terminal.tellColumns(0);
  await terminal.type("Tom had a ball.");
  await terminal.shows(/^> Tom had a ball\.$/m);
});
