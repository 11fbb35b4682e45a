import assert from "node:assert/strict";
import { scanCacheDir } from "@huggingface/hub";
import { HubCache } from "../../src/hub/cache.ts";
import { readHubName } from "../../src/hub/name.ts";
import {
  findInCache,
  findOnHub,
  openOnHub,
  pull,
  type PullOptions,
  resolve,
} from "../../src/hub/pull.ts";
import {
  CulmError,
  FormatError,
  LimitError,
  UsageError,
} from "../../src/errors.ts";
import {
  content,
  type Fault,
  generated,
  partial,
  TestHub,
} from "../helpers/hub_server.ts";
import { tempFolder } from "../cli/temp_folder.ts";

const repo = "owner/model-GGUF";
const bytes = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 7 + (i >> 8)) & 255);

/** Four ranges and a bit. */
const large = content(bytes((4 << 20) + 12345, 1));
const files = {
  "README.md": content(bytes(100, 2), true),
  "config.json": content(bytes(300, 3), true),
  "m-Q4_0.gguf": content(bytes(5000, 4)),
  "m-Q4_K_M.gguf": large,
  "s/m-Q8_0-00001-of-00002.gguf": content(bytes(7000, 5)),
  "s/m-Q8_0-00002-of-00002.gguf": content(bytes(8000, 6)),
};

/** A hub and an empty cache. */
async function setUp(of: TestHub["files"] = files) {
  const hub = new TestHub(of);
  const folder = await tempFolder();
  const cache = `${folder.path}/hub`;
  const settings = {
    endpoint: hub.endpoint,
    cache,
    token: "secret" as string | undefined,
    offline: false,
  };
  const fetched = async (text: string, options: PullOptions = {}) => {
    const patient = { firstPause: 1, ...options };
    const model = await findOnHub(readHubName(text), settings, patient);
    return await pull(model, settings, patient);
  };
  return {
    hub,
    cache,
    settings,
    fetched,
    async [Symbol.asyncDispose]() {
      await hub[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Paths of all files and links of the cache. */
async function pathsIn(folder: string): Promise<string[]> {
  const paths: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (!isDirectory) paths.push(name);
    else {
      const within = await pathsIn(`${folder}/${name}`);
      paths.push(...within.map((path) => `${name}/${path}`));
    }
  }
  return paths.sort();
}

const root = "models--owner--model-GGUF";

Deno.test("a model goes into the cache as Hugging Face's tools keep it, which read it", async () => {
  await using test = await setUp();
  const { hub, cache, fetched } = test;
  const path = await fetched(`hf:${repo}`);
  const commit = hub.commit;
  assert.equal(path, `${cache}/${root}/snapshots/${commit}/m-Q4_K_M.gguf`);
  assert.deepEqual(await Deno.readFile(path), large.read(0, large.size));
  assert.equal(await Deno.readLink(path), `../../blobs/${large.hash}`);
  assert.equal(await Deno.readTextFile(`${cache}/${root}/refs/main`), commit);
  const parts = await fetched(`hf:${repo}:Q8_0`);
  assert.equal(
    await Deno.readLink(parts),
    `../../../blobs/${files["s/m-Q8_0-00001-of-00002.gguf"].hash}`,
  );
  await fetched(`hf:${repo}@refs%2Fpr%2F1/README.md`);
  assert.deepEqual(
    await pathsIn(cache),
    [
      ...Object.values(files).map(({ hash }) => hash).filter((hash) =>
        ![files["config.json"].hash, files["m-Q4_0.gguf"].hash].includes(hash)
      ).flatMap((hash) => [
        `.locks/${root}/${hash}.lock`,
        `${root}/blobs/${hash}`,
      ]),
      `${root}/refs/main`,
      `${root}/refs/refs/pr/1`,
      ...[
        "README.md",
        "m-Q4_K_M.gguf",
        "s/m-Q8_0-00001-of-00002.gguf",
        "s/m-Q8_0-00002-of-00002.gguf",
      ].map((path) => `${root}/snapshots/${commit}/${path}`),
    ].sort(),
  );
  const { repos, warnings } = await scanCacheDir(cache);
  assert.deepEqual(warnings, []);
  assert.deepEqual(
    repos.map(({ id, revisions }) => [
      id.name,
      revisions.map(({ commitOid, refs, files }) => [
        commitOid,
        refs,
        files.map(({ blob }) => blob.size).sort(),
      ]),
    ]),
    [[repo, [[commit, ["main"], [large.size, 100].sort()]]]],
  );
});

Deno.test("several ranges are under way at once, and each byte is asked for once", async () => {
  await using test = await setUp();
  const { hub, fetched } = test;
  let now = 0, most = 0;
  hub.fault = async ({ what }) => {
    if (what !== "storage") return;
    most = Math.max(most, ++now);
    await new Promise((resolve) => setTimeout(resolve, 30));
    now--;
    return undefined;
  };
  const progress: number[] = [];
  await fetched(`hf:${repo}`, {
    onProgress: ({ loaded, total, before }) => {
      assert.deepEqual([total, before], [large.size, 0]);
      progress.push(loaded);
    },
  });
  assert.ok(most > 2, `${most}`);
  assert.equal(hub.bytesAsked, large.size);
  assert.deepEqual(progress, progress.toSorted((a, b) => a - b));
  assert.deepEqual([progress[0], progress.at(-1)], [0, large.size]);
});

Deno.test("the token is told to the hub alone, and an address that expires is asked for again", async () => {
  await using test = await setUp();
  const { hub, fetched } = test;
  hub.addressLife = 2;
  const path = await fetched(`hf:${repo}`);
  assert.deepEqual(await Deno.readFile(path), large.read(0, large.size));
  for (const { what, token } of hub.asked) {
    assert.equal(token, what === "storage" ? null : "Bearer secret");
  }
  const resolved = hub.asked.filter(({ what }) => what === "resolve").length;
  assert.ok(resolved >= 2 && resolved <= 5, `${resolved} addresses`);
});

/** Cuts the connection behind so many bytes: fewer come than are announced. */
function cutBehind(count: number, whole: Response): Response {
  const { status, headers, body } = whole;
  let left = count;
  const beginning = body!.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        controller.enqueue(chunk.subarray(0, left));
        left = Math.max(0, left - chunk.length);
      },
    }),
  );
  headers.set("content-length", `${large.size}`);
  const [, start, end] = headers.get("content-range")?.match(/(\d+)-(\d+)/) ??
    [];
  if (start !== undefined) {
    headers.set("content-length", `${Number(end) + 1 - Number(start)}`);
  }
  return new Response(beginning, { status, headers });
}

const passing: [name: string, fault: Fault, warning?: RegExp][] = [
  [
    "a server that ignores ranges",
    ({ what }) =>
      what === "storage" ? new Response(large.read(0, large.size)) : undefined,
  ],
  [
    "one that ignores ranges and cuts",
    ({ what }, count) =>
      what === "storage"
        ? cutBehind(
          count * 1.5e6,
          new Response(large.read(0, large.size)),
        )
        : undefined,
    /connection broke/,
  ],
  [
    "a connection that is cut in every range",
    (asked, count) =>
      asked.what === "storage" && count % 2 === 1
        ? cutBehind(100_000, partial(large, asked))
        : undefined,
    /connection broke/,
  ],
  [
    "429 with a time to wait",
    (_, count) =>
      count === 1
        ? new Response("", { status: 429, headers: { "retry-after": "0" } })
        : undefined,
    /the server answered 429 Too Many Requests; trying again in 0 s/,
  ],
  [
    "a server that fails now and then",
    (_, count) =>
      count % 3 === 1 ? new Response("", { status: 502 }) : undefined,
    /the server answered 502 Bad Gateway; trying again in 1 s/,
  ],
];

for (const [name, fault, warning] of passing) {
  Deno.test(`borne: ${name}`, async () => {
    await using test = await setUp();
    test.hub.fault = fault;
    const warnings: string[] = [];
    const path = await test.fetched(`hf:${repo}`, {
      onWarning: (message) => warnings.push(message),
    });
    assert.deepEqual(await Deno.readFile(path), large.read(0, large.size));
    if (warning) assert.match(warnings.join("\n"), warning);
    else assert.deepEqual(warnings, []);
    assert.ok(
      (await pathsIn(test.cache)).every((path) => !/incomplete/.test(path)),
    );
  });
}

type Failure = [
  name: string,
  fault: Fault,
  kind: typeof CulmError,
  message: RegExp,
  text?: string,
];

const coded = (status: number, code: string, headers = {}): Fault => () =>
  new Response("", { status, headers: { "x-error-code": code, ...headers } });
const of = (wanted: string, fault: Fault): Fault => (asked, count) =>
  asked.what === wanted ? fault(asked, count) : undefined;
const listed = (changes: object): Fault =>
  of(
    "api",
    () => Response.json({ sha: "1".repeat(40), siblings: [], ...changes }),
  );
const noAnswer = of("storage", () => new Promise(() => {}));
const named = (rfilename: string, lfs: object | null) => ({
  siblings: [{ rfilename, size: 1, lfs }],
});

const failures: Failure[] = [
  [
    "a repository that is not there, or private",
    coded(401, "RepoNotFound"),
    UsageError,
    /^Cannot find owner\/model-GGUF at http:\/\/127\S+: there is none of this name, or it is private: then set HF_TOKEN to a token that may read it \(http:\S+\/settings\/tokens\)$/,
  ],
  [
    "a token that is wrong",
    coded(401, "", {
      "x-error-message": "Invalid credentials in Authorization header",
    }),
    UsageError,
    /does not know the token that was given; http:\S+\/settings\/tokens makes another$/,
  ],
  [
    "a gated repository",
    of("resolve", coded(403, "GatedRepo")),
    UsageError,
    /^Cannot read owner\/model-GGUF: its owners want to be asked first, at http:\S+\/owner\/model-GGUF; the owner of the token has not asked/,
  ],
  [
    "a repository that is disabled",
    coded(403, "", {
      "x-error-message": "Access to this resource is disabled.",
    }),
    UsageError,
    /^Cannot read owner\/model-GGUF: Access to this resource is disabled\. \(http/,
  ],
  [
    "a revision that is not there",
    () => undefined,
    UsageError,
    /^Cannot find owner\/model-GGUF: it has no revision v9; http:\S+\/tree\/main lists them$/,
    `hf:${repo}@v9`,
  ],
  [
    "a file that has gone",
    of("resolve", coded(404, "EntryNotFound")),
    UsageError,
    /^Cannot find http:\S+\/m-Q4_K_M\.gguf: there is no such file$/,
  ],
  [
    "bytes with another hash",
    of("storage", ({ range = [0, 1] }) => {
      const wrong = {
        ...large,
        read: (a: number, b: number) => new Uint8Array(b - a),
      };
      return partial(wrong, { range });
    }),
    FormatError,
    /^Cannot use http:\S+\/m-Q4_K_M\.gguf: its bytes have the hash [0-9a-f]{64}, and should have [0-9a-f]{64}; they were removed$/,
  ],
  [
    "another size",
    of(
      "storage",
      ({ range = [0, 1] }) =>
        partial({ ...large, size: large.size + 1 }, { range }),
    ),
    FormatError,
    /the server has \d+ bytes, the hub says \d+$/,
  ],
  [
    "another range",
    of("storage", () => partial(large, { range: [1, 1 + (1 << 20)] })),
    FormatError,
    /asked for bytes 0-1048575\/…, the server answered 206 with Content-Range bytes 1-/,
  ],
  [
    "a connection that is always cut",
    of("storage", (asked) => cutBehind(0, partial(large, asked))),
    CulmError,
    /connection broke/,
  ],
  [
    "429 for too long",
    () => new Response("", { status: 429, headers: { "retry-after": "3600" } }),
    CulmError,
    /the server answered 429 Too Many Requests$/,
  ],
  [
    "a hub that always fails",
    () => new Response("", { status: 500 }),
    CulmError,
    /the server answered 500 Internal Server Error$/,
  ],
  [
    "a storage that refuses a new address too",
    of("storage", () => new Response("", { status: 403 })),
    UsageError,
    /m-Q4_K_M\.gguf: the server answered 403 Forbidden$/,
  ],
  [
    "an answer that does not come",
    noAnswer,
    CulmError,
    /nothing has come for 0\.05 s$/,
  ],
  [
    "a listing that is none",
    of("api", () => new Response("<html>")),
    FormatError,
    /the answer is no listing of a repository/,
  ],
  [
    "a commit that is a way out",
    listed({ sha: "../../../../../../x".padEnd(40, "x") }),
    FormatError,
    /the answer is no listing of a repository/,
  ],
  [
    "a hash that is a way out",
    listed(named("m-Q4_0.gguf", { sha256: "../x", size: 1 })),
    FormatError,
    /the answer is no listing of a repository/,
  ],
  [
    "a name that is a way out",
    listed(named("../../m-Q4_0.gguf", { sha256: "0".repeat(64), size: 1 })),
    FormatError,
    /its name leads elsewhere$/,
  ],
  [
    "a file without a hash",
    listed(named("m-Q4_0.gguf", null)),
    UsageError,
    /it has no GGUF file/,
  ],
  [
    "more than the disk has room for",
    listed(named("m-Q4_0.gguf", { sha256: "0".repeat(64), size: 2 ** 52 })),
    LimitError,
    /^Cannot keep the model in .*: 4503599627370496 bytes are to be fetched, the disk has room for \d+$/,
  ],
];

for (const [name, fault, kind, message, text = `hf:${repo}`] of failures) {
  Deno.test(`one line for: ${name}`, async () => {
    await using test = await setUp();
    test.hub.fault = fault;
    // Other faults show at once, however busy the machine is.
    const timeout = fault === noAnswer ? 50 : 10_000;
    await assert.rejects(test.fetched(text, { timeout }), (error) => {
      assert.ok(error instanceof kind, `${error}`);
      assert.match(error.message, message);
      assert.ok(!error.message.includes("\n"));
      assert.ok(!/sign=|secret/.test(error.message), error.message);
      return true;
    });
    const left = await pathsIn(test.cache).catch(() => []);
    const whole = left.filter((path) => !/\.lock$/.test(path));
    for (const path of whole) {
      // Nothing, or the beginning of the file, from which the next try goes on.
      assert.equal(path, `${root}/blobs/${large.hash}.incomplete`);
      const there = await Deno.readFile(`${test.cache}/${path}`);
      assert.deepEqual(there, large.read(0, there.length));
    }
    test.hub.fault = undefined;
    const path = await test.fetched(`hf:${repo}`);
    assert.deepEqual(await Deno.readFile(path), large.read(0, large.size));
  });
}

Deno.test("without a token, the address where to ask is said", async () => {
  await using test = await setUp();
  test.settings.token = undefined;
  test.hub.fault = of("resolve", coded(401, "GatedRepo"));
  await assert.rejects(
    test.fetched(`hf:${repo}`),
    /its owners want to be asked first, at http:\S+\/owner\/model-GGUF; then set HF_TOKEN to a token that may read it \(http:\S+\/settings\/tokens\)$/,
  );
});

Deno.test("what is there is not fetched again: the beginning of a file, a file, one of another commit", async () => {
  await using test = await setUp();
  const { hub, cache, fetched } = test;
  const blob = `${cache}/${root}/blobs/${large.hash}`;
  await Deno.mkdir(`${cache}/${root}/blobs`, { recursive: true });
  const there = 2_000_000;
  await Deno.writeFile(`${blob}.incomplete`, large.read(0, there));
  const before: number[] = [];
  const onProgress = (each: { before: number }) => before.push(each.before);
  await fetched(`hf:${repo}`, { onProgress });
  assert.equal(hub.bytesAsked, large.size - there);
  assert.deepEqual(new Set(before), new Set([there]));
  hub.asked.length = 0;
  await fetched(`hf:${repo}`);
  assert.deepEqual(hub.asked.map(({ what }) => what), ["api"]);
  hub.commit = "2".repeat(40);
  const path = await fetched(`hf:${repo}`);
  assert.equal(hub.bytesAsked, 0);
  assert.ok(path.includes(hub.commit));
  assert.equal(
    await Deno.readTextFile(`${cache}/${root}/refs/main`),
    hub.commit,
  );

  for (const beginning of [new Uint8Array(there), new Uint8Array(large.size)]) {
    await Deno.remove(`${cache}/${root}`, { recursive: true });
    await Deno.mkdir(`${cache}/${root}/blobs`, { recursive: true });
    await Deno.writeFile(`${blob}.incomplete`, beginning);
    await assert.rejects(fetched(`hf:${repo}`), /they were removed$/);
    await fetched(`hf:${repo}`);
  }
  await Deno.remove(`${cache}/${root}`, { recursive: true });
  await Deno.mkdir(`${cache}/${root}/blobs`, { recursive: true });
  await Deno.writeFile(`${blob}.incomplete`, new Uint8Array(large.size + 1));
  await fetched(`hf:${repo}`);
});

Deno.test("resumed at a server that ignores ranges, the file is whole", async () => {
  await using test = await setUp();
  const { hub, cache, fetched } = test;
  const part = `${cache}/${root}/blobs/${large.hash}.incomplete`;
  await Deno.mkdir(`${cache}/${root}/blobs`, { recursive: true });
  await Deno.writeFile(part, large.read(0, 9_000_001));
  hub.fault = of("storage", () => new Response(large.read(0, large.size)));
  const path = await fetched(`hf:${repo}`);
  assert.deepEqual(await Deno.readFile(path), large.read(0, large.size));
});

Deno.test("stopped, it keeps what has come", async () => {
  await using test = await setUp({ "m.gguf": generated(15 << 20) });
  const stop = new AbortController(), reason = new Error("enough");
  await assert.rejects(
    test.fetched(`hf:${repo}`, {
      signal: stop.signal,
      onProgress: ({ loaded }) => {
        if (loaded > 5 << 20) stop.abort(reason);
      },
    }),
    (error) => error === reason,
  );
  const file = test.hub.files["m.gguf"];
  const part = `${test.cache}/${root}/blobs/${file.hash}.incomplete`;
  const { size } = await Deno.stat(part);
  assert.ok(size > 5 << 20 && size < 15 << 20);
  test.hub.asked.length = 0;
  await test.fetched(`hf:${repo}`);
  assert.equal(test.hub.bytesAsked, file.size - size);
});

Deno.test("two that fetch one file take turns, and it is fetched once", async () => {
  await using test = await setUp();
  const warnings: string[] = [];
  const onWarning = (message: string) => warnings.push(message);
  const paths = await Promise.all(
    [1, 2, 3].map(() => test.fetched(`hf:${repo}`, { onWarning })),
  );
  assert.equal(new Set(paths).size, 1);
  assert.equal(test.hub.bytesAsked, large.size);
  assert.deepEqual(
    new Set(warnings),
    new Set(["waiting for another program that fetches m-Q4_K_M.gguf"]),
  );
});

Deno.test("offline, and where the hub cannot be reached, the cache is what there is", async () => {
  await using test = await setUp();
  const { hub, settings, fetched } = test;
  const name = readHubName(`hf:${repo}`);
  const offline = { ...settings, offline: true };
  await assert.rejects(
    resolve(name, offline),
    /^UsageError: Cannot find hf:owner\/model-GGUF offline: it is not in .*hub$/,
  );
  const path = await fetched(`hf:${repo}`);
  hub.asked.length = 0;
  assert.equal(await resolve(name, offline), path);
  assert.equal(
    await resolve({ ...name, revision: hub.commit }, settings),
    path,
  );
  assert.deepEqual(hub.asked, []);
  await assert.rejects(resolve({ ...name, quant: "Q4_0" }, offline), /not in/);

  hub.fault = () =>
    new Response("", { status: 503, headers: { "retry-after": "9" } });
  const warnings: string[] = [];
  const onWarning = (message: string) => warnings.push(message);
  assert.equal(await resolve(name, settings, { onWarning }), path);
  assert.match(
    warnings.join(),
    /answered 503 .*; taking the copy in the cache$/,
  );
  // A copy that lost its bytes is none.
  await Deno.remove(await Deno.realPath(path));
  assert.equal(await findInCache(name, settings), undefined);
  hub.fault = undefined;
  assert.equal(await fetched(`hf:${repo}`), path);
  await Deno.stat(path);
});

Deno.test("models are removed, with what no other file needs", async () => {
  await using test = await setUp();
  const { hub, fetched } = test;
  const cache = new HubCache(test.cache);
  await fetched(`hf:${repo}`);
  await fetched(`hf:${repo}:Q8_0`);
  const two = 15000;
  await Deno.writeFile(
    `${cache.blob(repo, "f".repeat(64))}.incomplete`,
    bytes(77, 1),
  );
  const [listed] = await cache.list();
  assert.deepEqual([listed.repo, listed.incompleteBytes], [repo, 77]);
  assert.deepEqual(
    listed.snapshots.map(({ commit, refs, files }) => [
      commit,
      refs,
      [...files],
    ]),
    [[hub.commit, ["main"], [
      ["m-Q4_K_M.gguf", large.size],
      ["s/m-Q8_0-00001-of-00002.gguf", 7000],
      ["s/m-Q8_0-00002-of-00002.gguf", 8000],
    ]]],
  );
  const parts = Object.keys(files).slice(4);
  const freed = await cache.removeFiles(repo, parts);
  assert.ok(freed >= two && freed < two + 1000, `${freed}`);
  const left = (await cache.list())[0].snapshots[0].files;
  assert.deepEqual([...left.keys()], ["m-Q4_K_M.gguf"]);
  assert.deepEqual((await scanCacheDir(test.cache)).warnings, []);
  await cache.removeFiles(repo, ["m-Q4_K_M.gguf"]);
  assert.deepEqual(await cache.list(), []);
  assert.deepEqual(await pathsIn(test.cache), []);
});

Deno.test("a model is read where it is, with all its parts", async () => {
  await using test = await setUp();
  const { hub, settings } = test;
  const open = async (text: string) => {
    const model = await findOnHub(readHubName(text), settings);
    return await openOnHub(model, settings);
  };
  const whole = await open(`hf:${repo}`);
  assert.ok("read" in whole);
  assert.deepEqual(await whole.read(1000, 500), large.read(1000, 1500));
  const parts = await open(`hf:${repo}:Q8_0`);
  assert.ok("read" in parts);
  assert.equal(parts.size, 15000);
  const [first, second] = Object.values(files).slice(4);
  assert.deepEqual(
    await parts.read(6990, 20),
    Uint8Array.of(...first.read(6990, 7000), ...second.read(0, 10)),
  );
  for (const { what, token } of hub.asked) {
    assert.equal(token, what === "storage" ? null : "Bearer secret");
  }
  await whole.close();
  await parts.close();
});
