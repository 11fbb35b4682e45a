import assert from "node:assert/strict";
import { runCli, runHere, runShell } from "./run_cli.ts";

/** Checks for one line on standard error, nothing on standard output, and no stack trace. */
async function fails(
  args: string[],
  code: number,
  message: RegExp,
  permissions: string[] = [],
  run = runCli,
) {
  const result = await run(args, { permissions });
  assert.match(result.err, message);
  assert.match(result.err, /^error: [^\n]+\n$/, "one line");
  assert.doesNotMatch(
    result.err,
    /\.ts:\d+|\berror: error\b/,
    "no stack trace",
  );
  assert.deepEqual([result.code, result.out], [code, ""]);
}

const repository = `${import.meta.dirname}/../../`;

Deno.test("arguments that cannot be understood are reported in one line, with exit code 2", async (t) => {
  const wrong: [string[], RegExp][] = [
    [["write"], /unknown command 'write'/],
    [
      ["generate", "--nonsense"],
      /unknown option '--nonsense'\. culm generate --help/,
    ],
    [["generate", "--bad"], /unknown option '--bad'/],
    [["generate", "--tmp", "1"], /Did you mean --temp/],
    [
      ["generate", "-n", "many"],
      /-n "many".*whole number from -1 up/,
    ],
    [["generate", "-p"], /argument missing/],
    [
      ["generate", "--screen-head", "yes"],
      /--screen-head "yes".*one of auto, on, off/,
    ],
    // Reads all of the head, whatever is asked for.
    [["bench", "--screen-head", "on"], /unknown option '--screen-head'/],
    [
      ["generate", "--top-p", "1.5"],
      /--top-p 1\.5: it is a number from 0 to 1/,
    ],
    [
      ["generate", "-ctk", "q9"],
      /-ctk "q9": it is one of f32, f16, q8_0/,
    ],
    [
      ["generate", "-ctk", "f16", "-ctv", "f32"],
      /keys as f16 and values as f32/,
    ],
    [
      ["bench", "-ctk", "q8_0", "-ctv", "f16"],
      /keys as q8_0 and values as f16/,
    ],
    [
      ["bench", "-ctv", "q4_0"],
      /-ctv "q4_0": it is one of f32, f16, q8_0/,
    ],
    [["bench", "-d", "-1"], /-d -1: it is a whole number from 0 up/],
    [["generate", "--sparsity", "top-k=2"], /top-k=SHARE/],
    [["generate", "--samplers", "nucleus"], /samplers\.0 "nucleus"/],
    [["generate", "-l", "5"], /such as 15043\+1/],
    [["generate", "-p", "a", "-f", "b"], /both -p and -f/],
    [["generate", "-m", "model.gguf"], /without a prompt/],
    [["generate", "model.gguf"], /too many arguments/],
    [["bench", "-p", "0", "-n", "0"], /both 0/],
    ...["generate", "chat"].flatMap((command): [string[], RegExp][] => [
      [
        [command, "--draft-min", "9", "--draft-max", "8"],
        /draft at least 9 tokens and at most 8/,
      ],
      [[command, "--draft-min", "8"], /draft at least 8 tokens and at most 7/],
      [
        [command, "--draft-min", "4", "-b", "4"],
        /draft at least 4 tokens: a step takes 4/,
      ],
      [
        [command, "--spec-type", "draft-simple"],
        /draft-simple without a draft model: name one with -md/,
      ],
    ]),
    [
      ["bench", "--reset-gpu-index", "--disable-gpu-index"],
      /one of --reset-gpu-index and --disable-gpu-index/,
    ],
    [["bench", "--force"], /--force without --timeline/],
    [["bench", "-o", "xml"], /one of md, json, jsonl, csv/],
  ];
  for (const [i, [args, message]] of wrong.entries()) {
    const run = i === 0 ? runCli : runHere;
    await t.step(
      `culm ${args.join(" ")}`,
      () => fails(args, 2, message, [], run),
    );
  }
});

Deno.test("options that change nothing beside others are noted, and the text is the same", async (t) => {
  const args = ["generate", "-p", "Tom had a", "-n", "4", "--temp", "0"];
  const plain = await runHere([...args, "--gpu", "off"]);
  const idle: [string[], RegExp[]][] = [
    [
      ["--spec-type", "none", "--draft-max", "5", "--draft-min", "2"],
      [/-n-max changes nothing: --spec-type none/, /-n-min changes nothing/],
    ],
    [["--draft-max", "5"], []],
    [
      ["--gpu", "off", "--vram-budget", "2", "-ngl", "9", "--reset-gpu-index"],
      [/--vram-budget .*: --gpu is off/, /-ngl .*/, /--reset-gpu-index .*/],
    ],
    [["--gpu", "off", "-ngl", "0"], []],
    [["--grow-profile"], [/--grow-profile .*: the model is no local file/]],
    [["--screen-head", "on", "--logprobs", "0"], [/--screen-head .*: --logp/]],
    [["--screen-head", "on"], []],
  ];
  for (const [more, notes] of idle) {
    await t.step(more.join(" "), async () => {
      const { code, out, err } = await runHere([...args, ...more]);
      assert.deepEqual([code, out], [0, plain.out]);
      const found = err.match(/^note: .* changes nothing: .*$/gm) ?? [];
      assert.equal(found.length, notes.length, err);
      notes.forEach((note, i) => assert.match(found[i], note));
    });
  }
});

Deno.test("files that cannot be read are reported in one line, with exit code 1", async (t) => {
  const read = ["--allow-read"];
  const text = `${repository}LICENSE`;
  const wrong: [string[], RegExp, string[]][] = [
    [["generate", "-p", "a", "-m", text], /--allow-read/, []],
    [["generate", "-f", text], /--allow-read/, []],
    [["inspect", "-m", "http://127.0.0.1:8080/model.gguf"], /--allow-net/, []],
    [
      ["generate", "-p", "a", "-m", "nowhere.gguf"],
      /nowhere\.gguf: there is no such file/,
      read,
    ],
    [["generate", "-p", "a", "-m", repository], /it is a directory/, read],
    [
      ["generate", "-f", "nowhere.txt"],
      /nowhere\.txt: there is no such file/,
      read,
    ],
    [["generate", "-f", repository], /directory/, read],
    [["inspect", "-m", text], /begins with GGUF or PWRI/, read],
    [["tokenize", "-p", "a", "-m", text], /begins with GGUF or PWRI/, read],
    [
      ["generate", "-f", `${repository}wasm/pkg/relaxed.wasm`],
      /not UTF-8/,
      read,
    ],
  ];
  for (const [args, message, permissions] of wrong) {
    await t.step(
      `culm ${args.join(" ")}`,
      () => fails(args, 1, message, permissions),
    );
  }
});

Deno.test("a prompt longer than the context is reported with both numbers", async () => {
  const { code, err } = await runCli([
    "generate",
    "-p",
    "one two three four five six",
    "-c",
    "4",
  ]);
  assert.equal(code, 1);
  assert.match(err, /error: .*the prompt has \d+ tokens, the context 4/);
});

Deno.test("a mode that the file cannot run is reported in one line", async () => {
  await fails(["generate", "--sparsity", "predictor"], 1, /the file has none/);
});

Deno.test({
  name: "a full disk is reported in one line",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    for (
      const args of [
        "generate -n 4",
        "--help",
        "inspect --json",
        "tokenize -p hello",
      ]
    ) {
      const { code, err } = await runShell(`culm ${args} > /dev/full`);
      assert.match(
        err,
        /error: Cannot write to standard output: No space left on device\n$/,
      );
      assert.equal(code, 1);
    }
  },
});

Deno.test({
  name: "output that nobody reads further ends the run quietly",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    const { out, err } = await runShell(
      "culm generate -c 5000 --ignore-eos -s 1 | head -c 20",
    );
    assert.equal(out.length, 20);
    assert.doesNotMatch(err, /error/i);
  },
});
