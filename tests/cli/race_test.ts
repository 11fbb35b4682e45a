import assert from "node:assert/strict";
import { parseHTML } from "linkedom";
import { frameOf } from "../../cli/commands/race/screen.ts";
import { momentOf, type Track } from "../../cli/commands/race/track.ts";
import { runHere } from "./run_cli.ts";
import { tempFolder } from "./temp_folder.ts";

const track: Track = {
  name: "dense",
  tokens: 3,
  marks: [
    { ms: 100, text: "Once upon" },
    { ms: 200, text: " a 時間\x1b[2J" },
    { ms: 300, text: "\nand on" },
  ],
};

Deno.test("a track shows what was written by then, and how fast", () => {
  assert.deepEqual(momentOf(track, 99), {
    text: "",
    rate: undefined,
    isDone: false,
  });
  assert.deepEqual(momentOf(track, 250), {
    text: "Once upon a 時間\x1b[2J",
    rate: 10,
    isDone: false,
  });
  assert.equal(momentOf(track, Infinity).isDone, true);
  // Six tokens in three pieces: two each.
  const twice = momentOf({ ...track, tokens: 6 }, Infinity);
  assert.equal(twice.rate, 25);
});

Deno.test("a frame has a column for each runner, and fits the screen", () => {
  for (const columns of [8, 24, 80]) {
    for (const rows of [4, 24]) {
      const frame = frameOf([track, { ...track, name: "exact" }], Infinity, {
        columns,
        rows,
      });
      assert.ok(frame.length < rows);
      for (const row of frame) {
        // deno-lint-ignore no-control-regex -- colours
        const plain = row.replaceAll(/\x1b\[\d+m/g, "");
        assert.ok(!plain.includes("\x1b"));
        const wide = plain.match(/[時間]/g)?.length ?? 0;
        assert.ok(plain.length + wide < columns, `${columns}: ${plain}`);
      }
    }
  }
  const [names, rates, ...texts] = frameOf([track], Infinity, {
    columns: 20,
    rows: 24,
  });
  assert.match(names, /dense/);
  assert.match(rates, /10.0 tokens\/s/);
  assert.deepEqual(texts.map((row) => row.trimEnd()), [
    "Once upon a",
    "時間\\x1b[2J",
    "and on",
  ]);
});

Deno.test("the same text is written in each mode, and by another program", async () => {
  await using dir = await tempFolder();
  const page = `${dir.path}/race.html`;
  const { code, out, err } = await runHere([
    "race",
    ...["-n", "6", "-t", "0", "--json", "--html", page],
    ...["--sparsity", "dense", "--sparsity", "exact"],
    ...["--command", "echo=echo '</script> Tom had a ball'"],
  ]);
  assert.equal(code, 0, err);
  const tracks: Track[] = JSON.parse(out);
  assert.deepEqual(tracks.map(({ name }) => name), ["dense", "exact", "echo"]);
  const [dense, exact, echo] = tracks.map((track) =>
    momentOf(track, Infinity).text
  );
  assert.equal(exact, dense);
  assert.equal(echo, "</script> Tom had a ball\n");
  assert.equal(tracks[0].tokens, 6);

  const { document } = parseHTML(await Deno.readTextFile(page));
  const headings = [...document.querySelectorAll("h2")];
  assert.deepEqual(headings.map(({ textContent }) => textContent), [
    "dense",
    "exact",
    "echo",
  ]);
  const scripts = [...document.querySelectorAll("script")];
  assert.equal(scripts.length, 1);
  assert.match(scripts[0].textContent!, /^\nconst tracks = \[\{"name":"dense"/);
});

Deno.test("a race without a prompt, or with a program that fails, is one clear line", async () => {
  const cases: [string[], number, RegExp][] = [
    [["-m", "none.gguf"], 2, /Cannot race without a prompt/],
    [["--command", "echo hello"], 2, /it is NAME=COMMAND/],
    [
      ["-t", "0", "-n", "2", "--sparsity", "dense", "--command", "x=exit 3"],
      1,
      /Cannot race x: it ended with exit code 3\n$/,
    ],
  ];
  for (const [args, code, message] of cases) {
    const result = await runHere(["race", ...args]);
    assert.equal(result.code, code, result.err);
    assert.match(result.err, message);
  }
});
