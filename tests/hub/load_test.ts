/** `load("hf:…")`, in a program of its own with the permissions that it is given. */
import assert from "node:assert/strict";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { content, TestHub } from "../helpers/hub_server.ts";
import { tempFolder } from "../cli/temp_folder.ts";
import { fixturePath } from "../helpers/fixtures.ts";

const repo = "owner/model-GGUF";
const library = new URL("../../mod.ts", import.meta.url).href;

const program = (name: string) => `
import { load } from "${library}";
const stages = new Set();
await using model = await load(${JSON.stringify(name)}, {
  threads: 1,
  contextSize: 64,
  onProgress: ({ stage }) => stages.add(stage),
});
const text = await model.complete("Once", { maxTokens: 4, temperature: 0 });
console.log(JSON.stringify({ stages: [...stages], text }));
`;

async function run(
  name: string,
  permissions: readonly string[],
  env: Record<string, string>,
): Promise<{ stages: string[]; text: string }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", "--ext=ts", ...permissions, "-"],
    env: { XDG_RUNTIME_DIR: "/tmp", ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(program(name)));
  await writer.close();
  const { stdout, stderr } = await child.output();
  const err = new TextDecoder().decode(stderr);
  assert.equal(err, "");
  return JSON.parse(new TextDecoder().decode(stdout));
}

Deno.test("a model of the hub is loaded through the cache, or without one where it is", async () => {
  const source = tinyBamboo();
  await using hub = new TestHub({
    "tiny-Q8_0.gguf": content(await source.read(0, source.size)),
  });
  await using folder = await tempFolder();
  const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: folder.path };
  const net = [`--allow-net=${hub.hosts}`, "--allow-env=HF_ENDPOINT,HF_HOME"];
  const streamed = await run(`hf:${repo}`, net, env);
  assert.deepEqual(streamed.stages, ["weights"]);
  assert.deepEqual(await Array.fromAsync(Deno.readDir(folder.path)), []);
  const files = [`--allow-read=${folder.path}`, `--allow-write=${folder.path}`];
  const kept = await run(`hf:${repo}:Q8_0`, [...net, ...files], env);
  assert.deepEqual(kept, { ...streamed, stages: ["download", "weights"] });
  hub.asked.length = 0;
  const again = await run(`hf:${repo}`, [...net, ...files.slice(0, 1)], env);
  assert.deepEqual(again, streamed);
  assert.deepEqual(hub.asked.map(({ what }) => what), ["api"]);
});

Deno.test("a folder of the hub runs as a folder does", async () => {
  const files: TestHub["files"] = {};
  const path = fixturePath("small-bamboo/hf");
  for await (const { name } of Deno.readDir(path)) {
    const isSmall = !/safetensors|model$/.test(name);
    files[name] = content(await Deno.readFile(`${path}/${name}`), isSmall);
  }
  await using hub = new TestHub(files);
  await using folder = await tempFolder();
  const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: folder.path };
  const net = [`--allow-net=${hub.hosts}`, "--allow-env=HF_ENDPOINT,HF_HOME"];
  const expected = await run(path, ["--allow-read"], env);
  assert.deepEqual(await run(`hf:${repo}`, net, env), expected);
  const kept = await run(
    `hf:${repo}`,
    [...net, "--allow-read", `--allow-write=${folder.path}`],
    env,
  );
  assert.equal(kept.text, expected.text);
});
