import assert from "node:assert/strict";
import { tempFolder } from "../cli/temp_folder.ts";

const module = new URL("../../src/hub/settings.ts", import.meta.url).href;

type Variables = Record<string, string>;

/** What the settings are under each of the environments, in a process whose environment that is. */
async function settingsUnder(
  environments: readonly Variables[],
  permissions: readonly string[] = ["--allow-env", "--allow-read"],
): Promise<Record<string, unknown>[]> {
  const program = `
    import { hubSettings, hubVariables } from "${module}";
    const all = [];
    for (const each of ${JSON.stringify(environments)}) {
      for (const [name, value] of Object.entries(each)) Deno.env.set(name, value);
      all.push(await hubSettings());
      for (const name of hubVariables) Deno.env.delete(name);
    }
    console.log(JSON.stringify(all));
  `;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", "--ext=ts", ...permissions, "-"],
    clearEnv: true,
    env: { PATH: Deno.env.get("PATH")!, DENO_DIR: await cacheOfDeno() },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(program));
  await writer.close();
  const { stdout, stderr } = await child.output();
  assert.equal(new TextDecoder().decode(stderr), "");
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** Where Deno keeps packages, which it finds by variables that are taken away. */
async function cacheOfDeno(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json"],
  }).output();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}

Deno.test("the cache, the token and the hub are those of Hugging Face's tools, in their order", async () => {
  await using folder = await tempFolder();
  await Deno.mkdir(`${folder.path}/huggingface`);
  await Deno.writeTextFile(`${folder.path}/huggingface/token`, "kept\n");
  const places: Variables = {
    USERPROFILE: "/up",
    HOME: "/home",
    XDG_CACHE_HOME: "/xdg",
    HF_HOME: "/hf/",
    HUGGINGFACE_HUB_CACHE: "/old",
    HF_HUB_CACHE: "/hub",
    LLAMA_CACHE: "/llama",
  };
  const growing = Object.keys(places).map((_, i) =>
    Object.fromEntries(Object.entries(places).slice(0, i + 1))
  );
  const found = await settingsUnder([
    {},
    ...growing,
    { HF_TOKEN: " said ", HUGGING_FACE_HUB_TOKEN: "older" },
    { HUGGING_FACE_HUB_TOKEN: "older", XDG_CACHE_HOME: folder.path },
    { XDG_CACHE_HOME: folder.path },
    { HF_HUB_OFFLINE: "yes", HF_ENDPOINT: "http://mirror/" },
    { HF_HUB_OFFLINE: "0" },
  ]);
  const usual = { endpoint: "https://huggingface.co", offline: false };
  assert.deepEqual(found, [
    usual,
    ...[
      "/up/.cache/huggingface/hub",
      "/home/.cache/huggingface/hub",
      "/xdg/huggingface/hub",
      "/hf/hub",
      "/old",
      "/hub",
      "/llama",
    ].map((cache) => ({ ...usual, cache })),
    { ...usual, token: "said" },
    { ...usual, token: "older", cache: `${folder.path}/huggingface/hub` },
    { ...usual, token: "kept", cache: `${folder.path}/huggingface/hub` },
    { endpoint: "http://mirror", offline: true },
    usual,
  ]);
});

Deno.test("variables and folders that the sandbox keeps are as if they were not there", async () => {
  const [settings] = await settingsUnder(
    [{ HF_HOME: "/hf", HF_ENDPOINT: "http://mirror" }],
    ["--allow-env"],
  );
  assert.deepEqual(settings, { endpoint: "http://mirror", offline: false });
});
