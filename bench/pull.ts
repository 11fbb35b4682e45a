/**
 * Fetches a file of 200 MB from a hub on this machine: once, for the rate; then
 * again, killed at ten random moments, and gone on with each time.
 *
 * Run: `deno task bench:pull`
 *
 * @module
 */
import { createHash } from "node:crypto";
import { generated, TestHub } from "../tests/helpers/hub_server.ts";
import { seededRandom } from "../tests/helpers/seeded_random.ts";
import { startCli } from "../tests/cli/run_cli.ts";
import { tempFolder } from "../tests/cli/temp_folder.ts";

const size = 200_000_000;
const kills = 10;
/** What each answer of the storage takes in the second part, in ms. */
const delay = 50;

const file = generated(size);
await using hub = new TestHub({ "model-Q8_0.gguf": file });
await using folder = await tempFolder();
const cache = (home: string) => `${folder.path}/${home}`;

function start(home: string): Deno.ChildProcess {
  return startCli(["pull", "owner/model-GGUF", "--force"], {
    permissions: [
      `--allow-net=${hub.hosts}`,
      "--allow-env",
      "--allow-read",
      "--allow-write",
      "--allow-sys=statfs",
    ],
    env: { HF_ENDPOINT: hub.endpoint, HF_HOME: cache(home) },
  });
}

/** Lets it end. Gives the path that it prints. */
async function finished(child: Deno.ChildProcess): Promise<string> {
  await child.stdin.close();
  const { code, stdout, stderr } = await child.output();
  if (code !== 0) throw new Error(new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

async function hashOf(path: string): Promise<string> {
  const sum = createHash("sha256");
  for await (const chunk of (await Deno.open(path)).readable) sum.update(chunk);
  return sum.digest("hex");
}

const part = () =>
  `${cache("b")}/hub/models--owner--model-GGUF/blobs/${file.hash}.incomplete`;
const sizeOf = (path: string) =>
  Deno.stat(path).then(({ size }) => size, () => 0);

const began = performance.now();
await finished(start("a"));
const seconds = (performance.now() - began) / 1000;
console.log(
  `${size / 1e6} MB in ${seconds.toFixed(1)} s, the process's start included`,
);

hub.asked.length = 0;
hub.fault = async ({ what }) => {
  if (what === "storage") {
    await new Promise((resolve) => setTimeout(resolve, delay));
  }
  return undefined;
};
const random = seededRandom(Number(Deno.args[0] ?? Date.now() % 1e6));
for (let i = 0; i < kills; i++) {
  const child = start("b");
  await child.stdin.close();
  const output = child.output();
  let hasEnded = false;
  child.status.then(() => hasEnded = true);
  const until = await sizeOf(part()) + 2 * random() * size / (kills + 1);
  while (!hasEnded && await sizeOf(part()) < until) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const wasDone = hasEnded;
  if (!wasDone) child.kill("SIGKILL");
  await output;
  const there = ((await sizeOf(part())) / 1e6).toFixed(1);
  console.log(
    wasDone ? "it was done before" : `killed: ${there} MB are there`,
  );
}
const path = await finished(start("b"));
const isWhole = await hashOf(path) === file.hash;
console.log(
  `gone on to the end: SHA-256 ${isWhole ? "right" : "WRONG"}; ${
    (hub.bytesAsked / 1e6).toFixed(1)
  } MB were asked for`,
);
if (!isWhole) Deno.exit(1);
