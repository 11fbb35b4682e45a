/** What commands write, and what they leave alone: inputs, others' files, what another command writes. */
import assert from "node:assert/strict";
import { load } from "../../mod.ts";
import { GrowingProfile } from "../../cli/growing_profile.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { stopped } from "./interrupted.ts";
import { runCli, runHere } from "./run_cli.ts";
import { namesIn, type TempFolder, tinyFolder } from "./temp_folder.ts";

const permissions = ["--allow-read", "--allow-write"];

/** Counts of the text in each folder, made once. */
let counts: Promise<Uint8Array> | undefined;

async function count(dir: string): Promise<Uint8Array> {
  const path = `${dir}/counts`;
  const files = ["-m", `${dir}/tiny.gguf`, "-f", `${dir}/text`, "-o", path];
  const { code, err } = await runHere(["profile", ...files, "-t", "1"]);
  assert.equal(code, 0, err);
  return await Deno.readFile(path);
}

/** A folder with a model, its profile, a text and a task. */
async function folder(): Promise<TempFolder> {
  const dir = await tinyFolder();
  const at = (name: string) => `${dir.path}/${name}`;
  await Deno.writeTextFile(at("text"), "Tom had a red ball. ".repeat(90));
  const item = { query: "a", choices: ["b", "c"], gold: 0 };
  await Deno.writeTextFile(at("piqa.jsonl"), `${JSON.stringify(item)}\n`);
  await Deno.writeFile(at("counts"), await (counts ??= count(dir.path)));
  return dir;
}

const tinyShape = [
  ...["--shape", "tiny", "--block-count", "1", "--vocab-size", "512"],
];

/** Every way in which a command writes a file, by what stands before the file's name. */
function writers(dir: string): Record<string, string[]> {
  const model = ["-m", `${dir}/tiny.gguf`], text = ["-f", `${dir}/text`];
  const run = [...model, "-t", "1"], counts = `${dir}/counts`;
  const test = [...run, "-p", "0", "-n", "2", "-r", "1"];
  const chunks = [...run, ...text, "-c", "64", "--chunks", "1"];
  const tasks = [...run, "--data", dir, "--tasks", "piqa"];
  return {
    "bench --timeline": ["bench", ...test, "--timeline"],
    "cdf --state": ["cdf", ...run, ...text, "--state"],
    "cdf --svg": ["cdf", "--profile", counts, "--svg"],
    "convert": ["convert", `${dir}/tiny.gguf`, "-o"],
    "eval --samples": ["eval", ...tasks, "--samples"],
    "eval --state": ["eval", ...tasks, "--state"],
    "perplexity --svg": ["perplexity", ...chunks, "--keep", "1", "--svg"],
    "perplexity --state": ["perplexity", ...chunks, "--state"],
    "plan": ["plan", ...model, "--machine", "rtx-4090", "-o"],
    "plan --svg": ["plan", ...model, "--machine", "rtx-4090", "--svg"],
    "predictor": ["predictor", ...run, ...text, "--tokens", "64", "-o"],
    "profile": ["profile", ...run, ...text, "-o"],
    "profile --merge": ["profile", "--merge", counts, "-o"],
    "profile --reorder": [
      ...["profile", ...model, "--profile", counts, "--reorder"],
    ],
    "report": ["report", ...chunks, "-o"],
    "report --state": ["report", ...chunks, "-o", `${dir}/page`, "--state"],
    "synth": ["synth", ...tinyShape, "-o"],
  };
}

/** The content of each file of a folder, but for those of folders in it, and of links that lead nowhere. */
async function contents(dir: string): Promise<Record<string, string>> {
  const entries = await Array.fromAsync(Deno.readDir(dir));
  const isThere = await Promise.all(
    entries.map(({ name, isDirectory }) =>
      !isDirectory && Deno.stat(`${dir}/${name}`).then(() => true, () => false)
    ),
  );
  const names = entries.filter((_, i) => isThere[i])
    .map(({ name }) => name).sort();
  const read = async (name: string) => [
    name,
    (await Deno.readFile(`${dir}/${name}`)).toBase64(),
  ];
  return Object.fromEntries(await Promise.all(names.map(read)));
}

/** Runs each writer with what stands behind it, and checks that it is refused at once, and that no file changes. */
async function refused(
  t: Deno.TestContext,
  dir: string,
  file: string,
  message: RegExp,
  ...more: string[]
): Promise<void> {
  const before = await contents(dir);
  for (const [name, args] of Object.entries(writers(dir))) {
    await t.step(name, async () => {
      const { code, out, err } = await runHere([...args, file, ...more]);
      assert.match(err, message);
      assert.match(err, /^error: [^\n]+\n$/, "one line, before all work");
      assert.deepEqual([code, out], [1, ""]);
      const after = await contents(dir);
      assert.deepEqual(Object.keys(after), Object.keys(before));
      for (const name in before) assert.equal(after[name], before[name], name);
    });
  }
}

Deno.test("what cannot be written is found before the work", async (t) => {
  await using dir = await folder();
  await refused(
    t,
    dir.path,
    `${dir.path}/none/file`,
    /there is no such folder/,
  );
});

Deno.test("what another command writes is refused", async (t) => {
  await using dir = await folder();
  using part = await Deno.create(`${dir.path}/file.part`);
  await part.lock(true);
  await refused(
    t,
    dir.path,
    `${dir.path}/file`,
    /file: another command is writing it/,
  );
});

Deno.test("a part that may be the user's stays", async (t) => {
  await using dir = await folder();
  await Deno.writeTextFile(`${dir.path}/file.part`, "mine");
  await refused(
    t,
    dir.path,
    `${dir.path}/file`,
    /file\.part is there already, and may be yours/,
    "--force",
  );
});

Deno.test({
  name: "a part is not written through a link",
  ignore: Deno.build.os === "windows",
  fn: async (t) => {
    await using dir = await folder();
    await Deno.writeTextFile(`${dir.path}/mine`, "");
    await Deno.symlink(`${dir.path}/mine`, `${dir.path}/file.part`);
    await refused(
      t,
      dir.path,
      `${dir.path}/file`,
      /file\.part is there already, and may be yours/,
      "--force",
    );
  },
});

Deno.test("no command replaces what it reads, nor what is no file", async (t) => {
  await using dir = await folder();
  const at = (name: string) => `${dir.path}/${name}`;
  const inputs: Record<string, string> = {
    "cdf --svg": "counts",
    "eval --samples": "piqa.jsonl",
    "profile --merge": "counts",
    "predictor": "text",
    "profile --reorder": "counts",
    "report": "text",
    "synth": "",
  };
  const before = await contents(dir.path);
  for (const [name, args] of Object.entries(writers(dir.path))) {
    for (const input of new Set([inputs[name] ?? "tiny.gguf", ""])) {
      await t.step(`${name} ${input}`, async () => {
        const { code, out, err } = await runHere([
          ...args,
          at(input),
          "--force",
        ]);
        assert.match(
          err,
          input === ""
            ? /^error: Cannot [^\n]+(it is a directory|is no unfinished)[^\n]*\n$/
            : /^error: Cannot [^\n]+(which is the same file|is no unfinished)[^\n]*\n$/,
        );
        assert.deepEqual([code, out], [1, ""]);
        assert.deepEqual(await contents(dir.path), before);
      });
    }
  }
});

Deno.test({
  name: "an input is known through links and in its folder",
  ignore: Deno.build.os === "windows",
  fn: async (t) => {
    await using dir = await folder();
    const at = (name: string) => `${dir.path}/${name}`;
    await Deno.symlink(at("tiny.gguf"), at("link"));
    await Deno.link(at("tiny.gguf"), at("hard"));
    await Deno.copyFile(at("counts"), at("tiny.gguf.profile"));
    const form = ["--form", "huggingface", "--type", "f16"];
    assert.equal(
      (await runHere(["synth", "-o", at("model"), ...tinyShape, ...form]))
        .code,
      0,
    );
    const image = ["bench", "-m", at("tiny.gguf"), "--timeline"];
    const wrong = {
      "a link": [...image, at("link")],
      "a hard link": [...image, at("hard")],
      "a profile beside the model": [...image, at("tiny.gguf.profile")],
      "a file of a folder": [
        "convert",
        at("model"),
        "-o",
        at("model/config.json"),
      ],
    };
    const all = async () => [
      await contents(dir.path),
      await contents(at("model")),
    ];
    const before = await all();
    for (const [name, args] of Object.entries(wrong)) {
      await t.step(name, async () => {
        const { code, err } = await runHere([...args, "--force"]);
        assert.match(err, /^error: Cannot write .*, which is the same file\n$/);
        assert.equal(code, 1);
        assert.deepEqual(await all(), before);
      });
    }
  },
});

/** Writes a file that takes a while to be converted. */
async function synth(path: string): Promise<void> {
  const shape = ["--shape", "small", "--block-count", "4"];
  const args = ["synth", "-o", path, ...shape, "--vocab-size", "4000"];
  const { code, err } = await runHere([...args, "--type", "f16"]);
  assert.equal(code, 0, err);
}

Deno.test({
  name: "a file that is replaced stays where a link leads, for whom it was",
  ignore: Deno.build.os === "windows",
  fn: async (t) => {
    await using dir = await folder();
    const at = (name: string) => `${dir.path}/${name}`;
    await Deno.mkdir(at("elsewhere"));
    await Deno.symlink("elsewhere/file", at("link"));
    await refused(
      t,
      dir.path,
      at("link"),
      /link: it is (a link that leads nowhere|there already, and is no unfinished)/,
      "--force",
    );
    for (const [name, args] of Object.entries(writers(dir.path))) {
      // A state goes away in the end; this model cannot be reordered.
      if (["--state", "--reorder"].includes(args.at(-1)!)) continue;
      await t.step(name, async () => {
        await Deno.writeTextFile(at("elsewhere/file"), "old");
        await Deno.chmod(at("elsewhere/file"), 0o600);
        const { code, err } = await runHere([...args, at("link"), "--force"]);
        assert.equal(code, 0, err);
        assert.ok((await Deno.lstat(at("link"))).isSymlink);
        const { size, mode } = await Deno.stat(at("elsewhere/file"));
        assert.ok(size > 3, "it was replaced");
        assert.equal(mode! & 0o777, 0o600);
        assert.deepEqual(await namesIn(at("elsewhere")), ["file"]);
      });
    }
  },
});

Deno.test("of two commands that write one file, one is refused, and the file is whole", async () => {
  await using dir = await tinyFolder();
  const at = (name: string) => `${dir.path}/${name}`;
  await synth(at("source.gguf"));
  const convert = (output: string, type: string) => [
    ...["convert", at("source.gguf"), "-o", at(output), "--type", type],
  ];
  const types = ["q4_0", "q8_0"];
  for (const type of types) {
    assert.equal((await runHere(convert(type, type))).code, 0);
  }
  const results = await Promise.all(
    types.map((type) => runCli(convert("both", type), { permissions })),
  );
  const winner = results.findIndex(({ code }) => code === 0);
  assert.match(
    results[1 - winner].err,
    /^error: Cannot write .*both: (another command is writing it|it is there already; --force replaces it)\n$/m,
  );
  assert.deepEqual(
    await Deno.readFile(at("both")),
    await Deno.readFile(at(types[winner])),
  );
});

Deno.test({
  name: "a command that is ended leaves no part behind",
  ignore: Deno.build.os === "windows",
  fn: async (t) => {
    const ways: [string, Deno.Signal[], number][] = [
      ["two quick Ctrl-C", ["SIGINT", "SIGINT"], 130],
      ["a request to end", ["SIGTERM"], 143],
      ["a terminal that goes away", ["SIGHUP"], 129],
    ];
    for (const [name, signals, expected] of ways) {
      await t.step(name, async () => {
        await using dir = await tinyFolder();
        const model = `${dir.path}/tiny.gguf`, text = `${dir.path}/text`;
        await Deno.writeTextFile(text, "Tom had a red ball. ".repeat(300));
        const made = `${dir.path}/made`;
        const { code } = await stopped(
          ["predictor", "-m", model, "-f", text, "-o", made, "--train"],
          { permissions, signals, when: `${made}.layers.part`, bytes: 1 },
        );
        assert.equal(code, expected);
        assert.deepEqual(await namesIn(dir.path), ["text", "tiny.gguf"]);
      });
    }
  },
});

Deno.test({
  name: "what a killed command left is taken up by the same one",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = await tinyFolder();
    const at = (name: string) => `${dir.path}/${name}`;
    await synth(at("source.gguf"));
    const args = (output: string) => [
      ...["convert", at("source.gguf"), "-o", at(output), "--type", "q4_k_m"],
    ];
    await stopped(args("model"), {
      permissions,
      signals: ["SIGKILL"],
      when: at("model.part"),
      bytes: 1000,
    });
    assert.ok((await namesIn(dir.path)).includes("model.part"));
    assert.equal((await runHere(args("model"))).code, 0);
    assert.equal((await runHere(args("whole"))).code, 0);
    assert.deepEqual(
      await Deno.readFile(at("model")),
      await Deno.readFile(at("whole")),
    );
    assert.deepEqual(
      await namesIn(dir.path),
      ["model", "source.gguf", "tiny.gguf", "whole"],
    );
  },
});

Deno.test("a profile that somebody counted meanwhile is not replaced by one that grows", async () => {
  await using dir = await folder();
  const path = `${dir.path}/tiny.gguf`;
  const flags = {
    model: path,
    sparsity: { mode: "exact" },
    gpu: "off",
    growProfile: true,
  };
  const growing = await GrowingProfile.of(
    flags as Parameters<typeof GrowingProfile.of>[0],
  );
  await using model = await load(tinyBamboo(), {
    threads: 1,
    countNeurons: true,
  });
  await Array.fromAsync(model.generate("Tom", { maxTokens: 4 }));
  await Deno.copyFile(`${dir.path}/counts`, `${path}.profile`);
  await growing!.save(model);
  assert.deepEqual(
    await Deno.readFile(`${path}.profile`),
    await Deno.readFile(`${dir.path}/counts`),
  );
});

Deno.test("what lies where counts of culm cdf go stays where it is none of them", async (t) => {
  await using dir = await folder();
  const at = (name: string) => `${dir.path}/${name}`;
  const count = ["cdf", "-m", at("tiny.gguf"), "-f", at("text"), "-t", "1"];
  for (
    const [name, content] of Object.entries({
      "a finished profile": await Deno.readFile(at("counts")),
      "another file": new TextEncoder().encode("mine"),
    })
  ) {
    await t.step(name, async () => {
      await Deno.writeFile(at("tiny.gguf.cdf"), content);
      const { code, err } = await runHere([...count, "--force"]);
      assert.match(err, /^error: Cannot [^\n]+tiny\.gguf\.cdf: [^\n]+\n$/);
      assert.equal(code, 1);
      assert.deepEqual(await Deno.readFile(at("tiny.gguf.cdf")), content);
    });
  }
});
