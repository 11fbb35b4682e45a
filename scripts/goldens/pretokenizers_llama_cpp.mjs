// Makes tests/tokenizer/goldens/pretokenizers.json with native llama.cpp (npm node-llama-cpp): what texts
// become with each value of tokenizer.ggml.pre.
//
// Rerun, in an empty folder:
//   npm install node-llama-cpp@3.22.1
//   deno run -A <culm>/scripts/goldens/write_pretokenizers.ts files
//   cp <culm>/scripts/goldens/pretokenizers_llama_cpp.mjs . && node pretokenizers_llama_cpp.mjs files pretokenizers.json
//
// Each file has a process of its own: llama.cpp aborts over some of these values.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { getLlama, getModuleVersion } from "node-llama-cpp";

const [folder, outFile, only] = process.argv.slice(2);
const texts = JSON.parse(readFileSync(`${folder}/texts.json`, "utf8"));

async function idsOf(name) {
  const llama = await getLlama({
    gpu: false,
    build: "never",
    maxThreads: 1,
    logLevel: "disabled",
  });
  const model = await llama.loadModel({
    modelPath: `${folder}/${name}.gguf`,
    vocabOnly: true,
  });
  return texts.map((text) =>
    model.tokenize(text, false, "trimLeadingSpace").join(" ")
  );
}

if (only) {
  process.stdout.write(
    JSON.stringify(await idsOf(only)),
    () => process.exit(0),
  );
} else {
  const groups = new Map();
  const unknown = [];
  for (
    const file of readdirSync(folder).filter((name) => name.endsWith(".gguf"))
      .sort()
  ) {
    const name = file.replace(".gguf", "");
    try {
      const ids = execFileSync(process.execPath, [
        process.argv[1],
        folder,
        outFile,
        name,
      ], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
      groups.set(ids, [...groups.get(ids) ?? [], name]);
    } catch {
      unknown.push(name);
    }
  }
  const result = [...groups].map(([ids, names]) => ({
    names,
    ids: JSON.parse(ids),
  }));
  const made_by = `node-llama-cpp ${await getModuleVersion()}`;
  writeFileSync(
    outFile,
    JSON.stringify({ made_by, texts, unknown, groups: result }, null, 1) + "\n",
  );
  process.exit(0);
}
