/** Arguments as people who know llama.cpp type them. */
import assert from "node:assert/strict";
import { readArguments } from "../../cli/arguments.ts";
import { commands } from "../../cli/commands.ts";
import { runCli } from "./run_cli.ts";

function read(name: string, line: string) {
  const command = commands.find((command) => command.name === name)!;
  return readArguments(line === "" ? [] : line.split(" "), command)!;
}

Deno.test("names of one dash and several letters are names", () => {
  const { flags } = read(
    "generate",
    "-ngl 3 -ctk q8_0 -ctv q8_0 -c 5 -t 2 -s 1",
  );
  assert.equal(flags.gpuLayers, 3);
  assert.deepEqual([flags.cacheTypeK, flags.cacheTypeV], ["q8_0", "q8_0"]);
  assert.deepEqual([flags.contextSize, flags.threads, flags.seed], [5, 2, 1]);
});

Deno.test("llama.cpp's other names for an option are the option", () => {
  const spelled =
    "--n-predict 9 --temperature 0.5 --gpu-layers 4 --typical-p 0.5 --stop a";
  const { flags } = read("generate", spelled);
  assert.deepEqual(
    [
      flags.maxTokens,
      flags.temperature,
      flags.gpuLayers,
      flags.typicalP,
      flags.stop,
    ],
    [9, 0.5, 4, 0.5, ["a"]],
  );
  assert.equal(read("generate", "--predict=-1").flags.maxTokens, -1);
});

Deno.test("options that change nothing are taken, with their values, in a line each", () => {
  const harmless = [
    "-fa on",
    "-fa",
    "--flash-attn auto",
    "-lv 1",
    "-tb 2",
    "--threads-batch 2",
    "-ub 512",
    "--jinja",
    "--mlock",
    "--no-mmap",
    "-no-cnv",
    "-st",
    "--no-warmup",
    "--no-perf",
  ];
  for (const line of harmless) {
    const { flags, notes } = read("generate", `${line} -n 7`);
    assert.equal(flags.maxTokens, 7, line);
    assert.deepEqual(notes.length, 1, line);
    assert.ok(notes[0].startsWith(`${line.split(" ")[0]} changes nothing: `));
  }
  assert.equal(read("chat", "-cnv").notes.length, 1);
  assert.equal(read("bench", "-fa 1 -ub 512 -mmp 0").notes.length, 3);
  // A flag of the command's own is never taken for another's value.
  assert.equal(read("generate", "-fa -n 7").flags.maxTokens, 7);
});

Deno.test("options for what is not there say so", () => {
  const lacking: [string, string, RegExp][] = [
    ["generate", "-cnv", /culm chat is for conversations/],
    ["chat", "-no-cnv", /culm generate/],
    ["chat", "-st", /culm chat < FILE/],
    ["generate", "-hft secret", /set HF_TOKEN/],
    ["generate", "--docker-repo a/b", /Hugging Face's hub, with -hf/],
    ["generate", "--mirostat 2", /no such sampler/],
    ["generate", "--lora x", /adapters/],
    ["chat", "--port 8080", /no server/],
  ];
  for (const [name, line, message] of lacking) {
    assert.throws(() => read(name, line), (error: Error) => {
      assert.ok(error.message.startsWith(`Cannot use ${line.split(" ")[0]}: `));
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("a model of the hub is named as llama.cpp's options name it", () => {
  for (const flag of ["-hf", "-hfr", "--hf-repo"]) {
    const { flags } = read("generate", `${flag} o/r:Q8_0 -hff f --offline`);
    assert.deepEqual([flags.hfRepo, flags.hfFile, flags.offline], [
      "o/r:Q8_0",
      "f",
      true,
    ]);
  }
});

Deno.test("values are not glued to short options", () => {
  for (const line of ["-n5", "-s1", "-c512", "-mmodel.gguf", "-pOnce"]) {
    assert.throws(() => read("generate", line), /unknown option '-/, line);
  }
});

Deno.test("a flag that may be repeated makes a list, any other takes the last", () => {
  const { flags } = read("generate", "-r a -r b -n 1 -n 2 -l 5+1 -l 6-inf");
  assert.deepEqual(flags.stop, ["a", "b"]);
  assert.equal(flags.maxTokens, 2);
  assert.deepEqual(flags.logitBias, [[5, 1], [6, -Infinity]]);
  assert.deepEqual(read("profile", "--merge a b -o c").flags.merge, ["a", "b"]);
});

Deno.test("an unwanted file is false, and a switch is what its name says", () => {
  const { flags } = read("generate", "--no-profile --no-escape --ignore-eos");
  assert.deepEqual(
    [flags.profile, flags.predictor, flags.escape, flags.ignoreEos],
    [false, undefined, false, true],
  );
  assert.equal(read("generate", "").flags.escape, true);
  assert.throws(() => read("generate", "--no-escape=1"), /takes no value/);
});

Deno.test("a value may look like a flag, and like a name that objects have", () => {
  const { flags } = read("generate", "-p -n --prompt=--help -m constructor");
  assert.deepEqual([flags.prompt, flags.model], ["--help", "constructor"]);
  assert.throws(() => read("generate", "--constructor"), /unknown option/);
  assert.throws(() => read("generate", "--__proto__"), /unknown option/);
});

Deno.test("what changes nothing is said on standard error, and the text is the same", async () => {
  const args = ["generate", "-n", "4", "-s", "1", "-t", "1"];
  const plain = await runCli(args);
  const { code, out, err } = await runCli([...args, "-fa", "on", "--mlock"]);
  assert.deepEqual([code, out], [0, plain.out]);
  assert.match(
    err,
    /^note: -fa changes nothing: .*\nnote: --mlock changes nothing: .*\n/,
  );
});

Deno.test("a model without -m is told how models are named, where a command takes one", () => {
  for (const name of ["generate", "chat", "inspect", "plan", "bench"]) {
    assert.throws(
      () => read(name, "model.gguf"),
      /was given model\.gguf; a model is named by -m$/,
    );
  }
  assert.throws(() => read("list", "model.gguf"), /was given model\.gguf$/);
});

Deno.test("a switch with a flag for each of its sides is what the last of them says", () => {
  for (
    const [line, slots] of [
      ["", true],
      ["--slots", true],
      ["--no-slots", false],
      ["--no-slots --slots", true],
      ["--slots --no-slots", false],
    ] as const
  ) assert.equal(read("serve", line).flags.slots, slots, line);
});

Deno.test("variables of a template are a JSON object", () => {
  const { flags } = readArguments(
    ["--chat-template-kwargs", '{"enable_thinking":false}'],
    commands.find(({ name }) => name === "serve")!,
  )!;
  assert.deepEqual(flags.templateVariables, { enable_thinking: false });
  for (const given of ["{", "[1]", "7", "null"]) {
    assert.throws(
      () => read("serve", `--chat-template-kwargs ${given}`),
      /--chat-template-kwargs .*: it is a JSON object/,
    );
  }
});

Deno.test("llama-server's options are taken, or said to be lacking", () => {
  for (
    const line of [
      "-cb",
      "--no-cont-batching",
      "-cram 8192",
      "--cache-reuse 256",
      "--threads-http 4",
      "--embeddings",
      "--webui",
      "--prefill-assistant",
    ]
  ) {
    const { flags, notes } = read("serve", `${line} -np 7`);
    assert.equal(flags.parallel, 7, line);
    assert.equal(notes.length, 1, line);
  }
  for (
    const line of [
      "--context-shift",
      "--reranking",
      "--tools all",
      "--mcp-servers-json {}",
      "--api-prefix /a",
      "--media-path .",
      "--grp-attn-n 2",
      "--lora a.gguf",
      "--slot-save-path .",
      "--reasoning-budget 0",
    ]
  ) {
    const [name] = line.split(" ");
    assert.throws(
      () => read("serve", line),
      (error: Error) => error.message.startsWith(`Cannot use ${name}: `),
    );
  }
});
