/** Runs every command in the headings of examples/, with no permission that it does not name. */
import assert from "node:assert/strict";
import { namesIn, tinyFolder } from "./cli/temp_folder.ts";

const folder = `${import.meta.dirname}/../examples/`;

/** What each prints. */
const prints: Record<string, RegExp> = {
  "chat.ts": /^> Who .*\n\(0 of \d+ tokens were known\)\n[^]+\n\((\d\d+) of /,
  "generate.ts": /^Once upon a time, there was [^]{100}/,
  "inspect.ts":
    /^general\.architecture string bamboo$[^]*^\d+ tensors of Q8_0: /m,
  "logprobs.ts": /^840 "park" 60\.\d% of "park" 60\.\d% "beach" /m,
  "score.ts": /coat\.\n.* hat\.\n.* house\.\n.* moon\.\n$/,
};

/** The commands of a script's heading: Deno's flags, the script, and arguments. */
async function commandsOf(name: string): Promise<string[][]> {
  const text = await Deno.readTextFile(folder + name);
  return [...text.matchAll(/^ \* {5}deno (.*)$/gm)].map(([, line]) =>
    line.match(/"[^"]*"|\S+/g)!.map((word) => word.replaceAll('"', ""))
  );
}

for (const name of await namesIn(folder)) {
  if (["browser-page", "edge.ts"].includes(name)) continue;
  Deno.test(`examples/${name} prints what it says, by every command of its heading`, async () => {
    await using dir = await tinyFolder();
    const file = `${dir.path}/tiny.gguf`;
    const bytes = await Deno.readFile(file);
    await using server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      () => new Response(bytes),
    );
    const url = `http://127.0.0.1:${server.addr.port}/tiny.gguf`;
    const commands = await commandsOf(name);
    assert.ok(commands.length > 0);
    for (const [run, ...words] of commands) {
      const args = words.map((word) =>
        word === "model.gguf" ? file : word.startsWith("https:") ? url : word
      );
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [run, "--quiet", "--no-prompt", ...args],
        cwd: `${folder}/..`,
      }).output();
      assert.equal(code, 0, new TextDecoder().decode(stderr));
      assert.match(new TextDecoder().decode(stdout), prints[name]);
    }
  });
}

Deno.test("examples/edge.ts streams a text to whoever asks, by the command of its heading", async () => {
  const [[serve, script]] = await commandsOf("edge.ts");
  const child = new Deno.Command(Deno.execPath(), {
    args: [serve, "--no-prompt", "--host", "127.0.0.1", "--port", "0", script],
    cwd: `${folder}/..`,
    env: { NO_COLOR: "1" },
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const said = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  try {
    let err = "", url: string | undefined;
    while (url === undefined) {
      const { value, done } = await said.read();
      assert.ok(!done, err);
      err += value;
      url = err.match(/http:\/\/127\.0\.0\.1:\d+\//)?.[0];
    }
    const ask = async (prompt: string) => {
      const { body } = await fetch(`${url}?prompt=${prompt}`);
      return await Array.fromAsync(body!.pipeThrough(new TextDecoderStream()));
    };
    const names = ["Tom", "Lily", "Sam", "Mia", "Ben", "Anna", "Max", "Sue"];
    const texts = await Promise.all(names.map(ask));
    texts.map((chunks) => chunks.join("")).forEach((text, i) => {
      assert.ok(text.startsWith(names[i]), text);
      assert.ok(text.length > names[i].length, text);
    });
    assert.ok(texts.some(({ length }) => length > 1), "they are streamed");
  } finally {
    child.kill();
    await said.cancel();
    await child.status;
  }
});
