/** The command line on a terminal: one of the system's, which xterm.js shows. */
import xterm from "@xterm/headless";
import assert from "node:assert/strict";

const main = `${import.meta.dirname}/../../../cli/main.ts`;

/** Whether the system has the program that makes terminals. */
export const hasTerminals: boolean = Deno.build.os === "linux" &&
  await new Deno.Command("script", { args: ["--version"] }).output()
    .then(({ success }) => success, () => false);

/** What the shell says before and after the command line. */
const begins = "terminal /", ends = "exit code";

/** A screen of 80 columns and 24 rows, with the command line running in it. */
export class PseudoTerminal implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #terminal = new xterm.Terminal({
    cols: 80,
    rows: 24,
    scrollback: 1000,
    allowProposedApi: true,
  });
  readonly #reading: Promise<void>;
  #hasEnded = false;
  #changed = Promise.withResolvers<void>();

  /** Runs `culm` with arguments and Deno's own flags, with variables of the environment. */
  constructor(
    args: readonly string[],
    permissions: readonly string[] = [],
    env: Record<string, string> = {},
  ) {
    const words = [Deno.execPath(), "run", "--quiet", "--no-prompt"];
    const line = [...words, ...permissions, main, ...args].map(quoted);
    const script = [
      "trap : INT", // Ctrl-C is for what runs in it.
      "stty cols 80 rows 24",
      'echo "terminal $(tty)"',
      line.join(" "),
      `echo "${ends} $?, $(stty -a | grep -ow '.\\?icanon')"`,
    ].join("; ");
    this.#child = new Deno.Command("script", {
      args: ["-qfec", script, "/dev/null"],
      env: { SHELL: "/bin/sh", XDG_RUNTIME_DIR: "/tmp", ...env },
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    // What xterm.js answers when it is asked.
    this.#terminal.onData((answer) => this.type(answer));
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    for await (const chunk of this.#child.stdout) {
      await new Promise<void>((resolve) =>
        this.#terminal.write(chunk, resolve)
      );
      this.#change();
    }
    this.#hasEnded = true;
    this.#change();
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** Presses keys. */
  async type(keys: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(keys));
  }

  /** Pastes a text. */
  paste(text: string): Promise<void> {
    return this.type(`\x1b[200~${text}\x1b[201~`);
  }

  /** Waits until the screen shows something, and gives all of it. */
  async shows(what: RegExp | string): Promise<string> {
    const holds = (text: string) =>
      typeof what === "string" ? text.includes(what) : what.test(text);
    // What has not come by then never will.
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 60_000);
    try {
      while (!holds(this.text)) {
        assert.ok(!this.#hasEnded, `no ${what} in\n${this.text}`);
        await this.#changed.promise;
      }
      return this.text;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Everything on the screen and above it. */
  get text(): string {
    const { active } = this.#terminal.buffer;
    const rows = Array.from(
      { length: active.baseY + active.cursorY + 1 },
      (_, i) => active.getLine(i)!.translateToString(true).trimEnd(),
    );
    return rows.join("\n");
  }

  /** Gives it another width, as a window manager does. */
  async resize(columns: number): Promise<void> {
    this.#terminal.resize(columns, 24);
    await this.tellColumns(columns);
  }

  /** Tells the programs in it so many columns; 0 where it does not know. */
  async tellColumns(columns: number): Promise<void> {
    const [, path] = (await this.shows(begins)).match(/^terminal (.*)$/m)!;
    const { success } = await new Deno.Command("stty", {
      args: ["-F", path, "cols", String(columns)],
    }).output();
    assert.ok(success);
  }

  /** Waits for the end: the exit code, and whether the terminal takes whole lines again. */
  async ended(): Promise<{ code: number; takesLines: boolean }> {
    await this.#reading;
    const [, code, mode] = this.text.match(/exit code (\d+), (.*)$/m)!;
    return { code: Number(code), takesLines: mode === "icanon" };
  }

  /** Ends what runs in it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#hasEnded) this.#child.kill("SIGKILL");
    await this.#input.close().catch(() => {});
    await this.#reading;
    await this.#child.status;
    this.#terminal.dispose();
  }
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
