import assert from "node:assert/strict";
import { UsageError } from "../../src/errors.ts";
import { chooseFiles } from "../../src/hub/choice.ts";
import { hubNameText, readHubName } from "../../src/hub/name.ts";

Deno.test("names are read, and written again", () => {
  const main = { revision: "main", quant: undefined, file: undefined };
  const names: [string, object][] = [
    ["hf:o/r", { repo: "o/r", ...main }],
    ["hf:o-1/r_2.5:Q4_K_M", { repo: "o-1/r_2.5", ...main, quant: "Q4_K_M" }],
    ["hf:o/r@v1", { repo: "o/r", ...main, revision: "v1" }],
    ["hf:o/r@refs%2Fpr%2F1:Q8_0", {
      repo: "o/r",
      ...main,
      revision: "refs/pr/1",
      quant: "Q8_0",
    }],
    ["hf:o/r/a/b.gguf", { repo: "o/r", ...main, file: "a/b.gguf" }],
    ["hf:o/r@v1/b.gguf", {
      repo: "o/r",
      revision: "v1",
      quant: undefined,
      file: "b.gguf",
    }],
  ];
  for (const [text, name] of names) {
    const read = readHubName(text);
    assert.deepEqual(read, name);
    assert.equal(hubNameText(read), text);
    assert.deepEqual(readHubName(text.slice(3)), name);
  }
});

Deno.test("names that would lead out of the cache, or are none, are refused", () => {
  for (
    const text of [
      "r",
      "o/",
      "/r",
      "o/../r",
      "../r",
      "o/..",
      "o/r--s",
      "o/-r",
      "o/r.",
      "o/r.git",
      `o/${"r".repeat(96)}`,
      "o/r ",
      "o/r:",
      "o/r@../../x",
      "o/r@..%2F..%2Fx",
      "o/r@%2Fetc",
      "o/r/../../x",
      "o/r//x",
      "o/r/a\\b",
      "o/r/C:x",
      "o/r/a\nb",
      "ö/r",
    ]
  ) {
    assert.throws(
      () => readHubName(`hf:${text}`),
      (error) =>
        error instanceof UsageError &&
        /^Cannot find a model on the hub: "/.test(error.message),
      text,
    );
  }
});

/** What a name means among files. */
function chosen(text: string, files: readonly string[]) {
  return chooseFiles(files, readHubName(text));
}

const files = [
  "README.md",
  "imatrix.gguf",
  "m-IQ2_XXS.gguf",
  "m-Q4_K_M.gguf",
  "m-Q4_K_S.gguf",
  "m-Q8_0.gguf",
  "mmproj-m-Q4_K_M.gguf",
  "mtp-m-Q4_K_M.gguf",
  "BF16/m-BF16-00001-of-00002.gguf",
  "BF16/m-BF16-00002-of-00002.gguf",
  "UD/m-UD-Q4_K_XL.gguf",
];

Deno.test("the file is chosen as llama.cpp chooses it", () => {
  const opens = (text: string, of = files) => chosen(text, of).opens;
  assert.equal(opens("o/r"), "m-Q4_K_M.gguf");
  assert.equal(opens("o/r:q4_k_s"), "m-Q4_K_S.gguf");
  assert.equal(opens("o/r:Q8_0"), "m-Q8_0.gguf");
  assert.equal(opens("o/r:Q4_K_XL"), "UD/m-UD-Q4_K_XL.gguf");
  assert.equal(opens("o/r:UD-Q4_K_XL"), "UD/m-UD-Q4_K_XL.gguf");
  const without = (kind: RegExp) => files.filter((path) => !kind.test(path));
  assert.equal(opens("o/r", without(/Q4_K_M/)), "m-Q8_0.gguf");
  assert.equal(opens("o/r", without(/Q4_K_M|Q8_0/)), "m-IQ2_XXS.gguf");
  assert.equal(opens("o/r/MMPROJ-m-q4_k_m.gguf"), "mmproj-m-Q4_K_M.gguf");
});

Deno.test("all parts are taken, whichever is named", () => {
  const parts = files.slice(8, 10);
  for (const text of ["o/r:bf16", `o/r/${parts[0]}`, `o/r/${parts[1]}`]) {
    assert.deepEqual(chosen(text, files), { files: parts, opens: parts[0] });
  }
  assert.throws(
    () => chosen("o/r:BF16", files.filter((path) => path !== parts[1])),
    /it is one of 2 files, and BF16\/m-BF16-00002-of-00002\.gguf is not there$/,
  );
});

Deno.test("a repository without GGUF files is a folder, of what it takes to run", () => {
  const folder = [
    ".gitattributes",
    "README.md",
    "config.json",
    "consolidated.safetensors",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
    "onnx/model.onnx",
    "pytorch_model.bin",
    "tokenizer.model",
  ];
  assert.deepEqual(chosen("o/r", folder), {
    files: [
      "config.json",
      "model.safetensors.index.json",
      "tokenizer.model",
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
    ],
    opens: "",
  });
  assert.throws(() => chosen("o/r:Q4_0", folder), /no Q4_0; there are no GGUF/);
  assert.throws(
    () => chosen("o/r", ["config.json"]),
    /no GGUF file; there are/,
  );
});

Deno.test("what is not there is said, with what is", () => {
  assert.throws(
    () => chosen("o/r:Q3_K", files),
    /^UsageError: Cannot find a model in o\/r: it has no Q3_K; there are m-IQ2_XXS\.gguf, .*, UD\/m-UD-Q4_K_XL\.gguf$/,
  );
  assert.throws(() => chosen("o/r/x.gguf", files), /it has no x\.gguf; there/);
});

Deno.test("files of names that lead elsewhere are not fetched", () => {
  for (const path of ["../m-Q4_0.gguf", "/m-Q4_0.gguf", "a\\..\\m-Q4_0.gguf"]) {
    assert.throws(
      () => chosen("o/r:Q4_0", [path]),
      /^FormatError: Cannot fetch ".*" of o\/r: its name leads elsewhere$/,
    );
  }
});
