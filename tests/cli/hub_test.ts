/** Models of the hub on the command line, each run a process of its own. */
import assert from "node:assert/strict";
import { tinyBamboo } from "../../tiny/tiny.ts";
import { readGguf } from "../../src/formats/gguf/read.ts";
import { inParts } from "../../src/formats/gguf/split.ts";
import { toBuffer, writeGguf } from "../../src/formats/gguf/write.ts";
import { content, generated, TestHub } from "../helpers/hub_server.ts";
import { fixturePath } from "../helpers/fixtures.ts";
import { type CliOptions, runCli, startCli } from "./run_cli.ts";
import { tempFolder } from "./temp_folder.ts";

const repo = "owner/model-GGUF";
const root = "models--owner--model-GGUF";

async function tinyBytes(): Promise<Uint8Array> {
  const source = tinyBamboo();
  return await source.read(0, source.size);
}

/** tiny-bamboo in two files. */
async function tinyParts(): Promise<Uint8Array[]> {
  const source = tinyBamboo();
  const { metadata, tensors } = await readGguf(source);
  const data = await Promise.all(
    [...tensors.values()].map(async ({ offset, byteLength, ...tensor }) => ({
      ...tensor,
      data: await source.read(offset, byteLength),
    })),
  );
  const parts = inParts({ metadata, tensors: data }, 6_000_000);
  assert.equal(parts.length, 2);
  return await Promise.all(parts.map((part) => toBuffer(writeGguf(part))));
}

/** A hub, an empty cache, and the command line with the flags that the manual names. */
async function setUp(files: TestHub["files"]) {
  const hub = new TestHub(files);
  const folder = await tempFolder();
  const options: CliOptions = {
    permissions: [
      `--allow-net=${hub.hosts}`,
      "--allow-env=HF_ENDPOINT,HF_TOKEN,HF_HOME,HF_HUB_OFFLINE",
      "--allow-read",
      "--allow-write",
      "--allow-sys=statfs",
    ],
    env: {
      HF_ENDPOINT: hub.endpoint,
      HF_HOME: folder.path,
      HF_TOKEN: "secret",
    },
  };
  return {
    hub,
    options,
    home: folder.path,
    cache: `${folder.path}/hub`,
    culm: (...args: string[]) => runCli(args, options),
    async [Symbol.asyncDispose]() {
      await hub[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const asked = ["-p", "Once", "-n", "4", "--temp", "0", "-t", "1"];

Deno.test("-hf fetches a model once, runs it, and finds it again; list and rm know it", async (t) => {
  const [first, second] = await tinyParts();
  await using test = await setUp({
    "README.md": content(new Uint8Array(50), true),
    "tiny-Q8_0.gguf": content(await tinyBytes()),
    "tiny-F16-00001-of-00002.gguf": content(first),
    "tiny-F16-00002-of-00002.gguf": content(second),
  });
  const { hub, cache, culm } = test;
  const { out: expected } = await runCli(["generate", ...asked]);
  const snapshot = `${cache}/${root}/snapshots/${hub.commit}`;

  await t.step("the header is read before anything is fetched", async () => {
    const dry = await culm("pull", repo, "--dry-run");
    assert.equal(dry.code, 0, dry.err);
    for (
      const line of [
        /^model +owner\/model-GGUF$/m,
        /^revision +main, commit 1{40}$/m,
        /^file +tiny-Q8_0\.gguf, [\d.]+ MiB$/m,
        /^to fetch +[\d.]+ MiB, into .*\/hub$/m,
        /^runs here +yes$/m,
        /^memory +[\d.]+ MiB, with a context of 512$/m,
        /^speed +about [\d.]+ tokens\/s predicted, this machine, measured/m,
      ]
    ) assert.match(dry.out, line);
    const inspected = await culm("inspect", "-hf", repo);
    assert.match(inspected.out, /^runs here +yes$/m);
    assert.match(inspected.out, /^speed +about [\d.]+ tokens\/s predicted/m);
    const tokens = await culm("tokenize", "-hf", repo, "-p", "Once");
    assert.equal(tokens.code, 0, tokens.err);
    assert.ok(hub.bytesAsked < 4_000_000, `${hub.bytesAsked}`);
    await assert.rejects(Deno.stat(snapshot));
  });

  await t.step("generate -hf", async () => {
    const run = await culm("generate", "-hf", repo, ...asked);
    assert.equal(run.code, 0, run.err);
    assert.equal(run.out, expected);
    assert.match(
      run.err,
      /^fetching owner\/model-GGUF: tiny-Q8_0\.gguf, [\d.]+ MiB\n/,
    );
    hub.asked.length = 0;
    const again = await culm("generate", "-m", `hf:${repo}:q8_0`, ...asked);
    assert.equal(again.out, expected);
    assert.doesNotMatch(again.err, /fetching/);
    assert.deepEqual(hub.asked.map(({ what }) => what), ["api"]);
  });

  await t.step("--offline, and HF_HUB_OFFLINE, ask nobody", async () => {
    hub.asked.length = 0;
    const flag = await culm("generate", "-hf", repo, "--offline", ...asked);
    assert.equal(flag.out, expected);
    const env = { ...test.options.env, HF_HUB_OFFLINE: "1" };
    const variable = await runCli(
      ["generate", "-hf", `${repo}:Q8_0`, ...asked],
      { ...test.options, env },
    );
    assert.equal(variable.out, expected);
    assert.deepEqual(hub.asked, []);
    const draft = ["-hf", repo, "--offline", "-md"];
    const drafted = await culm("generate", ...draft, `hf:${repo}`, ...asked);
    assert.equal(drafted.out, expected);
    const unknown = await culm("generate", ...draft, "hf:owner/none", ...asked);
    assert.match(unknown.err, /^error: Cannot find hf:owner\/none offline/m);
    assert.deepEqual(hub.asked, []);
    const missing = await culm("pull", `${repo}:F16`, "--offline");
    assert.equal(missing.code, 1);
    assert.match(
      missing.err,
      /^error: Cannot find hf:\S+:F16 offline: it is not in \S+\n$/,
    );
  });

  await t.step("commands that take several models", async () => {
    const models = ["-hf", repo, "-m", `hf:${repo}:Q8_0`];
    const { err } = await culm("cdf", ...models);
    assert.match(
      err,
      /^error: Cannot tell how often neurons of \S+\/snapshots\/\S+\/tiny-Q8_0\.gguf fire/,
    );
  });

  await t.step("a model in parts", async () => {
    const pulled = await culm("pull", `${repo}:F16`);
    assert.equal(pulled.out, `${snapshot}/tiny-F16-00001-of-00002.gguf\n`);
    assert.match(pulled.err, /^runs here: about [\d.]+ tokens\/s predicted, /);
    const file = ["-hff", "tiny-F16-00002-of-00002.gguf"];
    const run = await culm("generate", "-hf", repo, ...file, ...asked);
    assert.equal(run.out, expected);
  });

  await t.step("list", async () => {
    const { out, code } = await culm("list");
    assert.equal(code, 0);
    assert.match(
      out,
      /^hf:owner\/model-GGUF:F16 +[\d.]+ MiB\nhf:owner\/model-GGUF:Q8_0 +[\d.]+ MiB\n$/,
    );
    const models = JSON.parse((await culm("list", "--json")).out);
    assert.deepEqual(
      models.map(({ path }: { path: string }) => path),
      [
        `${snapshot}/tiny-F16-00001-of-00002.gguf`,
        `${snapshot}/tiny-Q8_0.gguf`,
      ],
    );
  });

  await t.step("rm", async () => {
    const parts = await culm("rm", `${repo}:f16`);
    assert.match(parts.err, /^removed hf:owner\/model-GGUF:f16: [\d.]+ MiB\n$/);
    assert.match((await culm("list")).out, /^hf:owner\/model-GGUF:Q8_0 .*\n$/);
    assert.equal((await culm("rm", repo)).code, 0);
    assert.match((await culm("list")).err, /^no models in /);
    const gone = await culm("rm", repo);
    assert.equal(gone.code, 1);
    assert.match(
      gone.err,
      /^error: Cannot remove hf:owner\/model-GGUF: it is not in /,
    );
  });
});

Deno.test("what is asked wrongly, or is not there, is one line", async (t) => {
  await using test = await setUp({
    "odd-Q4_0.gguf": content(
      await Deno.readFile(fixturePath("split/whole.gguf")),
    ),
  });
  const { cache, culm } = test;
  const wrong: [args: string[], code: number, message: RegExp][] = [
    [["generate", "-hf", repo, "-m", "x"], 2, /Cannot use -m and -hf/],
    [["generate", "-hff", "x"], 2, /Cannot use -hff: it goes with -hf/],
    [["generate", "--revision", "x"], 2, /Cannot use --revision: it goes/],
    [["generate", "-hf", "model"], 2, /"model" is not of the form OWNER\/REPO/],
    [["generate", "-hf", "../..:x"], 2, /"\.\.\/\.\." is not OWNER\/REPO/],
    [["generate", "-hft", "x"], 2, /Cannot use -hft: others would see it/],
    [["pull"], 2, /missing required argument/],
    [["pull", repo, "-hff", "../../x"], 2, /is no file of a repository/],
    [["rm", `${repo}@v9:Q4_0`], 2, /Cannot remove one revision, v9/],
    [
      ["pull", "owner/none"],
      1,
      /Cannot find owner\/none at http:\S+: there is/,
    ],
    [["pull", repo, "--revision", "v9"], 1, /it has no revision v9/],
    [["pull", `${repo}:Q9`], 1, /it has no Q9; there are odd-Q4_0\.gguf/],
    [["pull", repo], 1, /; --force fetches it all the same/],
    [["generate", "-hf", repo], 1, /^error: Cannot /],
    [["convert", `hf:owner/none`, "-o", `${cache}.gguf`], 1, /there is none/],
  ];
  for (const [args, code, message] of wrong) {
    await t.step(args.join(" "), async () => {
      const result = await culm(...args);
      assert.match(result.err, message);
      assert.match(result.err, /^error: [^\n]+\n$/);
      assert.deepEqual([result.code, result.out], [code, ""]);
    });
  }
  await assert.rejects(Deno.stat(`${cache}/${root}`), "nothing was fetched");
  await t.step("--force", async () => {
    const forced = await culm("pull", repo, "--force");
    assert.equal(forced.code, 0, forced.err);
    assert.match(forced.out, /odd-Q4_0\.gguf\n$/);
  });
});

Deno.test("without permissions, what is needed is said", async () => {
  await using test = await setUp({
    "tiny-Q8_0.gguf": content(await tinyBytes()),
  });
  const { hub, options, home } = test;
  const under = (...permissions: string[]) => ({ ...options, permissions });
  const env = "--allow-env=HF_ENDPOINT,HF_HOME",
    net = `--allow-net=${hub.hosts}`;
  const bare = await runCli(["pull", repo], under());
  assert.equal(bare.code, 1);
  assert.match(
    bare.err,
    /^error: Cannot keep models: .* run culm with --allow-net=huggingface\.co,.* --allow-env=HF_ENDPOINT,.*--allow-write\n$/,
  );
  const files = [`--allow-read=${home}`, `--allow-write=${home}`];
  const offNet = await runCli(["pull", repo], under(env, ...files));
  assert.equal(offNet.code, 1);
  assert.match(
    offNet.err,
    /^error: Cannot reach http.*Requires net access.*\n$/,
  );
  const [host] = hub.hosts.split(",");
  const half = under(
    env,
    ...files,
    `--allow-net=${host}`,
    "--allow-sys=statfs",
  );
  const storage = await runCli(["pull", repo], half);
  assert.match(
    storage.err,
    /^error: Cannot reach \S+\/resolve\/\S+: Requires net access to "127.*\n$/,
  );

  // Nothing may be written: the model is read where it is.
  const streamed = await runCli(
    ["generate", "-hf", repo, ...asked],
    under(env, net),
  );
  assert.equal(streamed.code, 0, streamed.err);
  assert.match(
    streamed.err,
    /^note: the model is read from the hub, and not kept; with --allow/,
  );
  assert.equal(streamed.out, (await runCli(["generate", ...asked])).out);

  // Symbolic links take permissions for all files; a hard link does as well.
  const linked = await runCli(["pull", repo], under(env, net, ...files));
  assert.equal(linked.code, 0, linked.err);
  assert.match(
    linked.err,
    /whether the disk has room is not known.*--allow-sys=statfs/,
  );
  const path = linked.out.trim(), { hash } = hub.files["tiny-Q8_0.gguf"];
  const [file, blob] = await Promise.all(
    [path, `${test.cache}/${root}/blobs/${hash}`].map((each) =>
      Deno.lstat(each)
    ),
  );
  assert.ok(file.isFile && file.ino === blob.ino);
  const { err } = await runCli(["rm", `${repo}:Q8_0`], under(env, ...files));
  assert.match(err, /^removed hf:owner\/model-GGUF:Q8_0: [\d.]+ MiB\n$/);
  await assert.rejects(Deno.stat(path));
});

/** Waits until so many bytes of a file are there, or the process has ended. */
async function untilThere(
  path: string,
  bytes: number,
  child: Deno.ChildProcess,
): Promise<void> {
  let hasEnded = false;
  child.status.then(() => hasEnded = true);
  const sizeNow = () => Deno.stat(path).then(({ size }) => size, () => 0);
  while (!hasEnded && await sizeNow() < bytes) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert.ok(!hasEnded, "the process ended before");
}

Deno.test("killed again and again, it goes on from what is there", async () => {
  const file = generated(64 << 20);
  await using test = await setUp({ "m-Q8_0.gguf": file });
  const { hub, cache, options } = test;
  // So that it lasts longer than the time between two looks at it.
  hub.fault = async ({ what }) => {
    if (what === "storage") await new Promise((r) => setTimeout(r, 50));
    return undefined;
  };
  const blob = `${cache}/${root}/blobs/${file.hash}`;
  await killed(options, `${blob}.incomplete`, [8, 24, 48]);
  assert.ok((await Deno.stat(`${blob}.incomplete`)).size >= 48 << 20);
  hub.asked.length = 0;
  const { code, out, err } = await runCli(["pull", repo, "--force"], options);
  assert.equal(code, 0, err);
  assert.match(err, /^fetching .*, of which [\d.]+ MiB are there$/m);
  assert.ok(hub.bytesAsked <= 17 << 20);
  assert.deepEqual(await Deno.readFile(out.trim()), file.read(0, file.size));
});

/** Kills `pull` each time that so many MiB are there. */
async function killed(
  options: CliOptions,
  part: string,
  at: readonly number[],
): Promise<void> {
  for (const mebibytes of at) {
    const child = startCli(["pull", repo, "--force"], options);
    await child.stdin.close();
    const output = child.output();
    await untilThere(part, mebibytes << 20, child);
    child.kill("SIGKILL");
    await output;
  }
}

Deno.test("two processes that fetch one model take turns", async () => {
  const file = generated(8 << 20);
  await using test = await setUp({ "m-Q8_0.gguf": file });
  // The first has all of it only when the second has asked what there is, and
  // has had the time to find the lock.
  let asked = 0;
  const bothAsked = Promise.withResolvers<void>();
  test.hub.fault = async ({ what }) => {
    if (what === "api" && ++asked === 2) bothAsked.resolve();
    if (what === "storage") {
      await bothAsked.promise;
      await new Promise((r) => setTimeout(r, 1000));
    }
    return undefined;
  };
  const both = await Promise.all(
    [1, 2].map(() => test.culm("pull", repo, "--force")),
  );
  assert.deepEqual(both.map(({ code }) => code), [0, 0]);
  assert.equal(both[0].out, both[1].out);
  assert.match(
    both.map(({ err }) => err).join(""),
    /^note: waiting for another program that fetches m-Q8_0\.gguf$/m,
  );
  assert.ok(test.hub.bytesAsked < file.size + (1 << 20));
});

Deno.test("Ctrl-C says that what has come stays", async () => {
  const file = generated(64 << 20);
  await using test = await setUp({ "m-Q8_0.gguf": file });
  test.hub.fault = async ({ what }) => {
    if (what === "storage") await new Promise((r) => setTimeout(r, 50));
    return undefined;
  };
  const part = `${test.cache}/${root}/blobs/${file.hash}.incomplete`;
  const child = startCli(["pull", repo, "--force"], test.options);
  await child.stdin.close();
  const output = child.output();
  await untilThere(part, 8 << 20, child);
  child.kill("SIGINT");
  const { code, stderr } = await output;
  assert.equal(code, 130);
  assert.match(
    new TextDecoder().decode(stderr),
    /what has come stays: the same command goes on from there\ninterrupted\n$/,
  );
  const { out } = await test.culm("list");
  assert.match(
    out,
    /^hf:owner\/model-GGUF +[\d.]+ MiB +not whole: culm pull goes on\n$/,
  );
});
