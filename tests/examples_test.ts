/** Runs every command in the headings of examples/, with no permission that it does not name. */
import assert from "node:assert/strict";
import { namesIn, tinyFolder } from "./cli/temp_folder.ts";
import { needs, testNeeding } from "./helpers/needs.ts";
import { output } from "./helpers/npm_project.ts";
import config from "../deno.json" with { type: "json" };

const folder = `${import.meta.dirname}/../examples/`;

/** What a model says that is held to the form of an object, and of a call. */
const objects =
  /^[^]+\nobject: \{ city: "(Oslo|Rome)", days: [1-9] \}\n(forecast: .+\n)+\d+ tokens\n$/;

/** What each prints. */
const prints: Record<string, RegExp> = {
  "ai-sdk/main.ts": objects,
  "deno-script/chat.ts":
    /^> Who .*\n\(0 of \d+ tokens were known\)\n[^]+\n\((\d\d+) of /,
  "deno-script/generate.ts": /^Once upon a time, there was [^]{100}/,
  "deno-script/inspect.ts":
    /^general\.architecture string bamboo$[^]*^\d+ tensors of Q8_0: /m,
  "deno-script/logprobs.ts": /^840 "park" 60\.\d% of "park" 60\.\d% "beach" /m,
  "deno-script/score.ts": /coat\.\n.* hat\.\n.* house\.\n.* moon\.\n$/,
  "langchain/main.ts": objects,
};

/** The commands of a script's heading: Deno's flags, the script, and arguments. */
async function commandsOf(name: string): Promise<string[][]> {
  const text = await Deno.readTextFile(folder + name);
  return [...text.matchAll(/^ \* {5}deno (.*)$/gm)].map(([, line]) =>
    line.match(/"[^"]*"|\S+/g)!.map((word) => word.replaceAll('"', ""))
  );
}

Deno.test("examples/README.md lists every example, and every script is run", async () => {
  const text = await Deno.readTextFile(`${folder}README.md`);
  const names = (await namesIn(folder)).filter((name) => name !== "README.md");
  const listed = [...text.matchAll(/^\| \[(.+)\]\(\1\)/gm)];
  assert.deepEqual(listed.map(([, name]) => name).sort(), names);
  for (const name of await namesIn(`${folder}deno-script`)) {
    assert.ok(prints[`deno-script/${name}`], name);
  }
});

for (const name of Object.keys(prints)) {
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

Deno.test("examples/edge-function answers many at once, by the command of its heading", async () => {
  const [[serve, script]] = await commandsOf("edge-function/main.ts");
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
      const body = { prompt, max_tokens: 40, stream: true };
      const response = await fetch(`${url}v1/completions`, {
        method: "POST",
        body: JSON.stringify(body),
      });
      assert.equal(response.status, 200);
      const events = (await response.text()).matchAll(/^data: (\{.*)$/gm);
      return [...events].map(([, json]) => JSON.parse(json).choices[0].text);
    };
    const names = ["Tom", "Lily", "Sam", "Mia", "Ben", "Anna", "Max", "Sue"];
    for (const pieces of await Promise.all(names.map(ask))) {
      assert.ok(pieces.length > 1, "it is streamed");
      assert.match(pieces.join(""), /\w/);
    }
  } finally {
    child.kill();
    await said.cancel();
    await child.status;
  }
});

/** Makes a project that has the sources here as its package, and the script of examples/deno-compile. */
async function makeProject(): Promise<string> {
  const cwd = await Deno.makeTempDir();
  const settings = {
    links: [await Deno.realPath(`${folder}..`)],
    imports: { [config.name]: `jsr:${config.name}@^${config.version}` },
  };
  await Deno.writeTextFile(`${cwd}/deno.json`, JSON.stringify(settings));
  await Deno.copyFile(`${folder}deno-compile/main.ts`, `${cwd}/main.ts`);
  await using tiny = await tinyFolder();
  await Deno.copyFile(`${tiny.path}/tiny.gguf`, `${cwd}/model.gguf`);
  return cwd;
}

Deno.test("the program of examples/deno-compile reads the model beside it", async () => {
  const cwd = await makeProject();
  const args = ["run", "--quiet", "--no-prompt", "--allow-read", "main.ts"];
  const out = await output(Deno.execPath(), [...args, "The cat"], cwd);
  assert.match(out, /^The cat[^]{100}/);
  await Deno.remove(cwd, { recursive: true });
});

/** Whether `deno compile` has, or gets, what it puts programs behind. */
async function compiles(): Promise<boolean> {
  const cwd = await Deno.makeTempDir();
  await Deno.writeTextFile(`${cwd}/main.ts`, "");
  const args = ["compile", "--quiet", "--no-config", "-o", "main", "main.ts"];
  const isMade = await output(Deno.execPath(), args, cwd)
    .then(() => true, () => false);
  await Deno.remove(cwd, { recursive: true });
  return isMade;
}

testNeeding(needs.denort, await compiles(), {
  name: "examples/deno-compile becomes a program that needs nothing beside it",
  fn: async () => {
    const cwd = await makeProject();
    const [compile] = await commandsOf("deno-compile/main.ts");
    await output(Deno.execPath(), compile, cwd);
    for (const name of ["model.gguf", "main.ts"]) {
      await Deno.remove(`${cwd}/${name}`);
    }
    const out = await output(`${cwd}/story`, ["The cat"], cwd);
    assert.match(out, /^The cat[^]{100}/);
    await Deno.remove(cwd, { recursive: true });
  },
});
