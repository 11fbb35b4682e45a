import assert from "node:assert/strict";
import { fromUrl } from "../../src/bytes/url.ts";
import { CulmError, FormatError, UsageError } from "../../src/errors.ts";

const bytes = Uint8Array.from({ length: 3000 }, (_, i) => i * 11);

type Handler = (asked: [number, number]) => Response;

/** Serves `handler` while `use` runs; `asked` is the range, end excluded. */
async function withServer(
  handler: Handler,
  use: (url: string) => Promise<void>,
): Promise<void> {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => {
      const range = request.headers.get("range")?.match(/^bytes=(\d+)-(\d+)$/);
      const asked: [number, number] = range
        ? [Number(range[1]), Number(range[2]) + 1]
        : [0, bytes.length];
      return handler(asked);
    },
  );
  try {
    await use(`http://127.0.0.1:${server.addr.port}/model.gguf`);
  } finally {
    await server.shutdown();
  }
}

function partial(
  [start, end]: [number, number],
  changes: Record<string, string> = {},
): Response {
  return new Response(bytes.slice(start, end), {
    status: 206,
    headers: {
      "content-range": `bytes ${start}-${end - 1}/${bytes.length}`,
      ...changes,
    },
  });
}

Deno.test("only the ranges that are read are asked for", async () => {
  const ranges: [number, number][] = [];
  await withServer((asked) => {
    ranges.push(asked);
    return partial(asked, { etag: '"1"' });
  }, async (url) => {
    const source = await fromUrl(new URL(url));
    assert.equal(source.size, 3000);
    assert.equal(source.name, url);
    assert.deepEqual(await source.read(500, 1500), bytes.slice(500, 2000));
    assert.deepEqual(await source.read(2999, 1), bytes.slice(2999));
    assert.equal((await source.read(7, 0)).length, 0);
    assert.deepEqual(ranges, [[0, 1], [500, 2000], [2999, 3000]]);
    await assert.rejects(
      source.read(2999, 2),
      /needs bytes 2999\.\.3001, the file has 3000/,
    );
    await source.close();
  });
});

Deno.test("where ranges are ignored the file is downloaded once, of known length or not", async () => {
  for (
    const answer of [
      () => new Response(bytes),
      () => new Response(new Blob([bytes]).stream()),
    ]
  ) {
    let requests = 0;
    await withServer(() => {
      requests++;
      return answer();
    }, async (url) => {
      const source = await fromUrl(url);
      assert.equal(source.size, 3000);
      assert.equal(source.name, url);
      assert.deepEqual(await source.read(1000, 10), bytes.slice(1000, 1010));
      assert.equal(requests, 1);
    });
  }
});

/** Servers that are refused at the first request. */
const badStarts: [
  name: string,
  handler: Handler,
  kind: typeof CulmError,
  message: RegExp,
][] = [
  [
    "a missing file",
    () => new Response("no", { status: 404, statusText: "Not Found" }),
    UsageError,
    /model\.gguf: the server answered 404 Not Found/,
  ],
  [
    "a server that fails",
    () => new Response("no", { status: 503 }),
    CulmError,
    /the server answered 503/,
  ],
  [
    "an empty file, by an unsatisfiable range",
    () =>
      new Response("", {
        status: 416,
        headers: { "content-range": "bytes */0" },
      }),
    FormatError,
    /the file is empty/,
  ],
  [
    "an empty file, whole",
    () => new Response(""),
    FormatError,
    /the file is empty/,
  ],
  [
    "a whole file that is compressed",
    () => new Response("…", { headers: { "content-encoding": "br" } }),
    FormatError,
    /ignores ranges and sends it compressed \(br\)/,
  ],
  [
    "a size that is not told",
    (asked) => partial(asked, { "content-range": "bytes 0-0/*" }),
    FormatError,
    /does not say how large the file is \(Content-Range: bytes 0-0\/\*\)/,
  ],
  [
    "a range that was not asked for",
    (asked) => partial(asked, { "content-range": "bytes 5-5/3000" }),
    FormatError,
    /asked for bytes 0-0\/…, the server answered 206 with Content-Range bytes 5-5\/3000/,
  ],
];

for (const [name, handler, kind, message] of badStarts) {
  Deno.test(`refused: ${name}`, () =>
    withServer(handler, async (url) => {
      await assert.rejects(
        fromUrl(url),
        (error) => error instanceof kind && message.test(error.message),
      );
    }));
}

/** Servers whose answers to `read(100, 50)` are refused. */
const badReads: [name: string, handler: Handler, message: RegExp][] = [
  [
    "a body that is too short",
    ([start, end]) => {
      const stream = new Blob([bytes.slice(start, end - 10)]).stream();
      return new Response(stream, {
        status: 206,
        headers: { "content-range": `bytes ${start}-${end - 1}/3000` },
      });
    },
    /expected 50 bytes, the server sent 40/,
  ],
  [
    "a body that is too long",
    ([start, end]) => {
      const stream = new Blob([bytes.slice(start, end + 10)]).stream();
      return new Response(stream, {
        status: 206,
        headers: { "content-range": `bytes ${start}-${end - 1}/3000` },
      });
    },
    /asked for 50 bytes, the server sent at least 60/,
  ],
  [
    "an announced length that differs",
    ([start, end]) =>
      new Response(bytes.slice(start, end - 1), {
        status: 206,
        headers: { "content-range": `bytes ${start}-${end - 1}/3000` },
      }),
    /asked for 50 bytes, the server announces 49/,
  ],
  [
    "ranges that are ignored all of a sudden",
    () => new Response(bytes),
    /asked for bytes 100-149\/…, the server answered 200/,
  ],
  [
    "a file that has grown",
    ([start, end]) =>
      partial([start, end], {
        "content-range": `bytes ${start}-${end - 1}/3001`,
      }),
    /had 3000 bytes at first and now has 3001/,
  ],
  [
    "a file that was replaced",
    (asked) => partial(asked, { etag: '"2"' }),
    /was replaced while it was read \(ETag "1", now "2"\)/,
  ],
];

for (const [name, handler, message] of badReads) {
  Deno.test(`refused: ${name}`, () => {
    let requests = 0;
    return withServer(
      (asked) =>
        requests++ === 0 ? partial(asked, { etag: '"1"' }) : handler(asked),
      async (url) => {
        const source = await fromUrl(url);
        await assert.rejects(
          source.read(100, 50),
          (error) =>
            error instanceof FormatError && message.test(error.message),
        );
      },
    );
  });
}

Deno.test("a server that cannot be reached is named", async () => {
  let url = "";
  await withServer(() => new Response(), (open) => {
    url = open;
    return Promise.resolve();
  });
  await assert.rejects(
    fromUrl(url),
    (error) =>
      error instanceof CulmError &&
      error.message.startsWith(`Cannot reach ${url}: `),
  );
});
