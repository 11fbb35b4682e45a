/** What commands say that nobody asked: a mode that a model cannot have, a template that it lacks, a context that it was not made for. */
import assert from "node:assert/strict";
import { fileOf, prepare } from "../../src/convert/convert.ts";
import { entry } from "../../src/formats/gguf/gguf_file.ts";
import { toBuffer, writeGguf } from "../../src/formats/gguf/write.ts";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { runHere } from "./run_cli.ts";
import { tempFolder } from "./temp_folder.ts";

const short = ["-p", "Tom had a", "-n", "4", "-t", "1", "--temp", "0"];
const generate = ["generate", ...short];

Deno.test("a model whose neurons are never zero is said to run dense, and why", async () => {
  const swiglu = await runHere([...generate, "--activation", "swiglu"]);
  assert.equal(swiglu.code, 0);
  assert.match(
    swiglu.err,
    /sparsity dense: neurons of swiglu are never zero\n/,
  );
  assert.doesNotMatch(swiglu.err, /rows skipped/);
  const sparse = await runHere(generate);
  assert.match(sparse.err, /sparsity exact\n/);
  assert.match(sparse.err, /FFN rows skipped = +[1-9]/);

  const bench = ["bench", "-p", "0", "-n", "2", "-r", "1", "-t", "1"];
  const { out } = await runHere([
    ...bench,
    ...["--activation", "swiglu", "-o", "json"],
  ]);
  assert.equal(JSON.parse(out)[0].sparsity, "dense");
});

Deno.test("a context longer than the model's is a warning with both numbers", async () => {
  const long = await runHere([...generate, "-c", "2000"]);
  assert.equal(long.code, 0);
  assert.match(long.err, /^warning: .* 2000 positions, .* made for 512/m);
  const whole = await runHere([...generate, "-c", "512"]);
  assert.doesNotMatch(whole.err, /warning/);
});

Deno.test("a chat without a template, and a text of a model that has one, are a line each", async () => {
  await using folder = await tempFolder();
  const path = `${folder.path}/chatty.gguf`;
  const { contents, tensors } = await prepare(tinyBamboo(), {});
  const template = "{% for m in messages %}{{ m.content }}{% endfor %}";
  const metadata = new Map(contents.metadata).set(
    "tokenizer.chat_template",
    entry.text(template),
  );
  const file = fileOf({ ...contents, metadata }, tensors, undefined);
  await Deno.writeFile(path, await toBuffer(writeGguf(file)));
  const chat = ["chat", "-n", "4", "-t", "1", "--no-profile"];
  const input = "Hello\n";
  const noTemplate = /^warning: the model has no chat template; .*ChatML/m;
  const hint = /^note: the model has a chat template: culm chat/m;

  assert.match((await runHere(chat, { input })).err, noTemplate);
  const given = [...chat, "--chat-template", template];
  assert.doesNotMatch((await runHere(given, { input })).err, noTemplate);
  const own = [...chat, "-m", path];
  const { code, err } = await runHere(own, { input });
  assert.equal(code, 0, err);
  assert.doesNotMatch(err, noTemplate);

  assert.doesNotMatch((await runHere(generate)).err, hint);
  const instructed = [...generate, "-m", path, "--no-profile"];
  assert.match((await runHere(instructed)).err, hint);
});
