/** culm predictor that is stopped: what it keeps, and how it goes on. */
import assert from "node:assert/strict";
import { crc32 } from "node:zlib";
import { fromBuffer, readGguf } from "../../gguf.ts";
import { plainValue } from "../helpers/plain_metadata.ts";
import { type CliResult, runCli, startCli } from "./run_cli.ts";
import { namesIn, tinyFolder } from "./temp_folder.ts";

const permissions = ["--allow-read", "--allow-write"];

function culm(...args: string[]): Promise<CliResult> {
  return runCli(args, { permissions });
}

/** Runs the command line, and calls `stop` when the model is loaded. */
async function culmStopped(
  args: readonly string[],
  stop: (child: Deno.ChildProcess) => unknown,
): Promise<CliResult> {
  const child = startCli(args, { permissions });
  await child.stdin.close();
  const reader = child.stderr.pipeThrough(new TextDecoderStream())
    .getReader();
  let err = "";
  for (let done = false, value; !done;) {
    const wasLoaded = err.includes("backend:");
    ({ value = "", done } = await reader.read());
    err += value;
    if (!wasLoaded && err.includes("backend:")) await stop(child);
  }
  const out = await new Response(child.stdout).text();
  return { code: (await child.status).code, out, err };
}

/** Lines, each behind the CRC-32 of all text up to its end. */
function withSums(lines: readonly string[]): string {
  let crc = 0;
  return lines.map((line) => {
    crc = crc32(line, crc);
    return `${crc.toString(16).padStart(8, "0")} ${line}\n`;
  }).join("");
}

Deno.test("layers that are made are kept where the rest fails, and the same command goes on to the same bytes", async (t) => {
  await using dir = await tinyFolder();
  const at = (name: string) => `${dir.path}/${name}`;
  await Deno.writeTextFile(at("text.txt"), "Tom had a red ball. ".repeat(30));
  await Deno.writeTextFile(at("other.txt"), "Lily had a red ball. ".repeat(30));
  const make = (output: string, ...more: string[]) => [
    ...["predictor", "-m", at("tiny.gguf"), "-f", at("text.txt"), "-t", "1"],
    ...["--tokens", "100", "--train", "--rank", "32", "--examples", "64"],
    ...["--epochs", "1", "-o", at(output), ...more],
  ];
  const [stopped, undisturbed] = await Promise.all([
    // Something that turns up where the predictor should go.
    culmStopped(make("made"), () => Deno.writeTextFile(at("made"), "mine")),
    culm(...make("whole")),
  ]);
  assert.equal(undisturbed.code, 0, undisturbed.err);
  assert.match(
    stopped.err,
    /^kept 6 of 6 layers in .*made\.layers; the same command goes on from there\nerror: .*it is there already; --force replaces it\n$/m,
  );
  assert.equal(await Deno.readTextFile(at("made")), "mine");
  await Deno.remove(at("made"));

  const kept = await Deno.readTextFile(at("made.layers"));
  const lines = kept.split("\n");
  const refused: [string, string[], string, RegExp][] = [
    ["another recall", ["--recall", "0.5"], kept, /another unfinished predi/],
    ["another text", ["-f", at("other.txt")], kept, /another unfinished pred/],
    ["a damaged line", [], kept.replace("==", "=!"), /is no unfinished pred/],
    ["a torn line", [], kept.slice(0, -9), /is no unfinished predictor/],
  ];
  for (const [name, args, state, message] of refused) {
    await t.step(`${name} is refused`, async () => {
      await Deno.writeTextFile(at("made.layers"), state);
      const { code, err } = await culm(...make("made", ...args));
      assert.match(err, /^error: [^\n]+; --force begins anew\n$/);
      assert.match(err, message);
      assert.equal(code, 1);
    });
  }
  const [heading, first, ...rest] = lines.map((line) => line.slice(9));
  const infinite = first.replace('"threshold":0', '"threshold":null');
  const states = {
    // As where it was stopped after two layers.
    two: lines.slice(0, 3).join("\n"),
    // As where no neuron of a layer fired.
    infinite: withSums([heading, infinite, ...rest.filter(Boolean)]),
  };
  const [two, none] = await Promise.all(
    Object.entries(states).map(async ([name, state]) => {
      await Deno.writeTextFile(at(`${name}.layers`), state);
      // With --force as well: it is the same work.
      const { err } = await culm(...make(name, "--force"));
      return { err, bytes: await Deno.readFile(at(name)) };
    }),
  );
  assert.match(two.err, /^going on after 2 of 6 layers$/m);
  assert.deepEqual(two.bytes, await Deno.readFile(at("whole")));
  assert.match(none.err, /^going on after 6 of 6 layers$/m);
  const { metadata } = await readGguf(fromBuffer(none.bytes));
  assert.deepEqual(
    plainValue(metadata.get("predictor.thresholds")!.value),
    { elementType: "float32", values: [Infinity, 0, 0, 0, 0, 0] },
  );
  const names = await namesIn(dir.path);
  assert.deepEqual(
    names.filter((name) => name.includes(".layers")),
    ["made.layers"],
  );
});

Deno.test({
  name: "Ctrl-C leaves nothing behind",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using dir = await tinyFolder();
    const text = `${dir.path}/text.txt`;
    await Deno.writeTextFile(text, "Tom had a red ball. ".repeat(300));
    const { code, err } = await culmStopped(
      ["predictor", "-m", `${dir.path}/tiny.gguf`, "-t", "1", "-f", text],
      (child) => child.kill("SIGINT"),
    );
    assert.equal(code, 130, err);
    assert.match(err, /interrupted\n$/);
    const names = await namesIn(dir.path);
    assert.deepEqual(names, ["text.txt", "tiny.gguf"]);
  },
});
