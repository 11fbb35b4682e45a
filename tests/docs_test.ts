/** Runs what the docs tell a reader to run. */

import assert from "node:assert/strict";
import { commands } from "../cli/commands.ts";
import { namesIn } from "./cli/temp_folder.ts";
import { sharedUrl, testWithShared } from "./helpers/shared_data.ts";

const root = new URL("..", import.meta.url).pathname;

/** The blocks of shell of a page. */
async function shellBlocks(page: string): Promise<string[]> {
  const text = await Deno.readTextFile(`${root}docs/${page}`);
  return [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block);
}

/** Those of tiny-bamboo's files that the walk names. */
const given = ["activation", "hf", "predictor"];

testWithShared(
  "docs/sparsity.md: every command works as it stands",
  async (t) => {
    const [setup, ...blocks] = await shellBlocks("sparsity.md");
    const used = new Set(
      blocks.join("").matchAll(/^\$culm (\w+)/gm).map(([, name]) => name),
    );
    const laboratory = ["convert", "profile", "cdf", "perplexity", "eval"];
    for (const name of [...laboratory, "predictor", "report"]) {
      assert.ok(used.has(name), name);
      assert.ok(commands.some((command) => command.name === name), name);
    }
    const folder = await Deno.makeTempDir();
    try {
      const link = (shared: string, name: string) =>
        Deno.symlink(sharedUrl(shared).pathname, `${folder}/${name}`);
      await Deno.mkdir(`${folder}/tiny-bamboo`);
      for (const name of given) {
        await link(`tiny-bamboo/${name}`, `tiny-bamboo/${name}`);
      }
      await link("data/tasks", "tasks");
      await link("data/text/wikitext2-test.raw", "wiki.test.raw");
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
      // The folders themselves are shared: nothing is written beside them either.
      assert.deepEqual(await namesIn(`${folder}/tiny-bamboo`), given);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);
