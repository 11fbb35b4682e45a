/** Runs what the docs tell a reader to run. */

import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { readArguments } from "../cli/arguments.ts";
import { commandOf, commands } from "../cli/commands.ts";
import config from "../deno.json" with { type: "json" };
import { namesIn } from "./cli/temp_folder.ts";
import { writeBambooTasks } from "./helpers/bamboo_tasks.ts";
import { fixtureUrl, story } from "./helpers/fixtures.ts";

const root = `${import.meta.dirname}/../`;

/** The blocks of shell of a page. */
async function shellBlocks(page: string): Promise<string[]> {
  const text = await Deno.readTextFile(root + page);
  return [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block);
}

/** Where the files are that docs name. */
const folders =
  "bench cli docs examples scripts shaders src tests wasm/src wasm-constrain/src";

Deno.test("every file that the docs name is there", async (t) => {
  const filesOf = (folder: string, recursive: boolean) =>
    readdirSync(root + folder, { recursive, encoding: "utf8" })
      .map((path) => `/${folder}/${path}`);
  const files = [
    ...folders.split(" ").flatMap((folder) => filesOf(folder, true)),
    ...filesOf("wasm", false), // not what is built in it
  ];
  const named =
    /(?<![\w/.{},*-])(?:[a-z][\w.-]*\/)+[\w.-]+\.(?:ts|rs|mjs|py|wgsl|json)\b/g;
  for (const page of await pages()) {
    await t.step(page, async () => {
      const text = await Deno.readTextFile(root + page);
      for (const [path] of text.matchAll(named)) {
        if (/NAME|_T\./.test(path)) continue; // of files that are to be made
        assert.ok(files.some((file) => file.endsWith(`/${path}`)), path);
      }
    });
  }
});

/** Pages that tell a reader what to run. */
async function pages(): Promise<string[]> {
  const docs = await namesIn(`${root}docs`);
  return [
    "CONTRIBUTING.md",
    "README.md",
    "tests/README.md",
    ...docs.map((name) => `docs/${name}`),
  ];
}

Deno.test("every command and task that the docs show is one, and so is each of its options", async (t) => {
  const tasks = Object.keys(config.tasks);
  const command =
    /^(?:\/usr\/bin\/time -v )?(?:\$?culm|deno run \S.* (?:cli\/main\.ts|\$main)) (\w+)(.*)$/gm;
  for (const page of await pages()) {
    await t.step(page, async () => {
      const blocks = (await shellBlocks(page)).join("");
      const text = await Deno.readTextFile(root + page);
      for (
        const [, task] of text.matchAll(/deno(?:@[\d.]+)? task ([a-z][\w:-]*)/g)
      ) {
        assert.ok(tasks.includes(task), task);
      }
      for (const [line, name, rest] of blocks.matchAll(command)) {
        const words = rest.replace(/\s#.*| [<>] .*/, "").replace("$model", "")
          .match(/"[^"]*"|[^\s"]+/g) ?? [];
        const args = words.map((word) => word.replaceAll('"', ""));
        const spec = commandOf(name, args);
        assert.ok(spec && readArguments(args, spec), line);
      }
    });
  }
});

/** What the walk names of a model's makers. */
const given = ["activation", "hf", "predictor"];

/** A corner of it, and text and questions: the walk is of each command, not of its figures. */
async function putInputs(folder: string): Promise<void> {
  await Deno.mkdir(`${folder}/tiny-bamboo`);
  for (const name of given) {
    const url = fixtureUrl(`small-bamboo/${name}`);
    await Deno.symlink(fileURLToPath(url), `${folder}/tiny-bamboo/${name}`);
  }
  await Deno.writeTextFile(`${folder}/wiki.test.raw`, story().repeat(5));
  await Deno.mkdir(`${folder}/tasks`);
  const item = {
    query: "Question: What is at the beach?",
    choices: ["a seal", "a storm"],
    gold: 0,
  };
  await writeBambooTasks(`${folder}/tasks`);
  const lines = `${JSON.stringify(item)}\n`.repeat(5);
  for (const task of ["arc_easy", "piqa"]) {
    await Deno.writeTextFile(`${folder}/tasks/${task}.jsonl`, lines);
  }
}

Deno.test(
  "docs/sparsity.md: every command works as it stands",
  async (t) => {
    const [setup, ...blocks] = await shellBlocks("docs/sparsity.md");
    const used = new Set(
      blocks.join("").matchAll(/^\$culm (\w+)/gm).map(([, name]) => name),
    );
    const laboratory = ["convert", "profile", "cdf", "perplexity", "eval"];
    const more = ["predictor", "sparsity", "report", "race"];
    for (const name of [...laboratory, ...more]) {
      assert.ok(used.has(name), name);
      assert.ok(commands.some((command) => command.name === name), name);
    }
    const folder = await Deno.makeTempDir();
    try {
      await putInputs(folder);
      const deno = Deno.execPath().replace(/\/[^/]*$/, "");
      for (const block of blocks) {
        await t.step(block.split("\n")[0], async () => {
          const { code, stderr } = await new Deno.Command("sh", {
            args: ["-e", "-c", setup + block],
            cwd: folder,
            env: {
              CULM_HOME: root,
              PATH: `${deno}:${Deno.env.get("PATH")}`,
              // Without it, Mesa's drivers complain on standard error.
              XDG_RUNTIME_DIR: "/tmp",
            },
          }).output();
          assert.equal(code, 0, new TextDecoder().decode(stderr));
        });
      }
      assert.deepEqual(await namesIn(folder), [
        "cdf.svg",
        "kept.svg",
        "other.txt",
        "race.html",
        "sparsity-live.svg",
        "sparsity-predictor.svg",
        "sparsity-quality.svg",
        "sparsity-union.svg",
        "tasks",
        "text.txt",
        "tiny-bamboo",
        "tiny.gguf",
        "tiny.gguf.predictor",
        "tiny.gguf.profile",
        "tiny.html",
        "tiny.powerinfer.gguf",
        "trained.predictor",
        "wiki.test.raw",
      ]);
      // The folders are linked: nothing is written beside them either.
      assert.deepEqual(await namesIn(`${folder}/tiny-bamboo`), given);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);
