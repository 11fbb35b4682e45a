/** Unfinished work: what of it is taken up, and what is refused. */
import assert from "node:assert/strict";
import { Checkpoint, checkState } from "../../cli/checkpoint.ts";
import { inFolder, namesIn } from "./temp_folder.ts";

const work = { text: "a" };

function readNumber(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}

function open(
  state: string,
  force = false,
  options = {},
): Promise<Checkpoint<number>> {
  return Checkpoint.open("test", { state, force }, work, readNumber, options);
}

/** Keeps results, as a command that is stopped does. Returns the lines of the file. */
async function stop(
  state: string,
  results: readonly number[],
): Promise<string[]> {
  using checkpoint = await open(state);
  await assert.rejects(checkpoint.goOn(9, "results", async () => {
    for (const result of results) await checkpoint.add(result);
    throw new Error("stopped");
  }));
  return (await Deno.readTextFile(state)).trimEnd().split("\n");
}

Deno.test("a file of results in which anything was changed is refused", async (t) => {
  await inFolder(async (folder) => {
    const state = `${folder}/state`;
    const [heading, ...lines] = await stop(state, [11, 22, 33, 22]);
    {
      using same = await open(state);
      assert.deepEqual(same.results, [11, 22, 33, 22]);
    }
    const [a, b, c, d] = lines;
    const edits: Record<string, string[]> = {
      "a digit": [a, b.replace(/22$/, "23"), c, d],
      "a digit of a checksum": [
        a,
        b.replace(/^./, (digit) => digit === "0" ? "1" : "0"),
        c,
        d,
      ],
      "a line that is gone": [a, c, d],
      "lines that changed places": [a, c, b, d],
      "a line that is there twice": [a, b, b, c, d],
      "a line of elsewhere": [a, d, c, d],
      "a line that is cut": [a, b, c, d.slice(0, -1)],
    };
    for (const [name, edited] of Object.entries(edits)) {
      await t.step(name, async () => {
        const text = [heading, ...edited].join("\n");
        await Deno.writeTextFile(state, text);
        await assert.rejects(
          open(state),
          /state is no unfinished test, or is damaged; --force begins anew/,
        );
        assert.equal(await Deno.readTextFile(state), text);
      });
    }
    await t.step("--force begins anew", async () => {
      using anew = await open(state, true);
      assert.deepEqual(anew.results, []);
    });
    assert.deepEqual(await namesIn(folder), []);
  });
});

Deno.test("a file that is no unfinished work stays, also with --force", async (t) => {
  const lines: Record<string, string> = {
    "another file": "mine",
    "an empty one": "",
    "work of another command": `00000000 {"unfinished":"other","work":""}\n`,
    "without checksums": `{"unfinished":"test","work":""}\n1\n`,
  };
  for (const [name, content] of Object.entries(lines)) {
    await t.step(name, async () => {
      await inFolder(async (folder) => {
        const state = `${folder}/state`;
        await Deno.writeTextFile(state, content);
        for (const options of [{}, { forceKeepsWork: true }]) {
          for (const force of [false, true]) {
            await assert.rejects(
              open(state, force, options),
              /state: it is there already, and is no unfinished test/,
            );
          }
        }
        assert.equal(await Deno.readTextFile(state), content);
        assert.deepEqual(await namesIn(folder), ["state"]);
      });
    });
  }
});

Deno.test("work that is being done is not taken up by another command", async () => {
  await inFolder(async (folder) => {
    const state = `${folder}/state`;
    await stop(state, [1]);
    {
      using _ = await open(state);
      for (const force of [false, true]) {
        await assert.rejects(
          open(state, force),
          /state: another command is writing it/,
        );
      }
    }
    using again = await open(state);
    assert.deepEqual(again.results, [1]);
  });
});

Deno.test("beside a model, other work that runs meanwhile has a file of its own, and finds it again", async () => {
  await inFolder(async (folder) => {
    const flags = { model: `${folder}/model`, force: false };
    const take = (work: string) =>
      Checkpoint.open<number>("test", flags, work, readNumber);
    using first = await take("first");
    await checkState("test", flags);
    {
      using second = await take("second");
      assert.equal(first.output!.path, `${folder}/model.test`);
      assert.match(second.output!.path, /\/model\.test\.[0-9a-f]{8}$/);
      await assert.rejects(
        second.goOn(2, "results", async () => {
          await second.add(7);
          throw new Error("stopped");
        }),
        /stopped/,
      );
    }
    first[Symbol.dispose]();
    using again = await take("second");
    assert.deepEqual(again.results, [7]);
    await again.goOn(2, "results", () => Promise.resolve());
    again[Symbol.dispose]();
    assert.deepEqual(await namesIn(folder), []);
  });
});

Deno.test("a file that came to lie where the results were is neither removed nor replaced", async () => {
  await inFolder(async (folder) => {
    const state = `${folder}/state`;
    await stop(state, [1]);
    using checkpoint = await open(state);
    await checkpoint.goOn(
      1,
      "results",
      () => Deno.writeTextFile(state, "mine"),
    );
    assert.equal(await Deno.readTextFile(state), "mine");
    await assert.rejects(
      checkpoint.goOn(2, "results", async () => {
        await checkpoint.add(2);
        throw new Error("stopped");
      }),
      /state: it is there already, and is no unfinished test/,
    );
    assert.equal(await Deno.readTextFile(state), "mine");
  });
});
