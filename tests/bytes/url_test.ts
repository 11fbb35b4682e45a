import assert from "node:assert/strict";
// @ts-types="../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { fromUrl } from "../../src/bytes/url.ts";
import { CulmError, FormatError, UsageError } from "../../src/errors.ts";
import { load } from "../../src/load/load.ts";
import type { ModelSource } from "../../src/load/model_source.ts";

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
    assert.equal(source.isRemote, true);
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

const modified = "Mon, 01 Jan 2024 00:00:00 GMT";

/** Servers whose answers to `read(100, 50)` are refused. */
const badReads: [name: string, handler: Handler, message: RegExp][] = [
  [
    "a body that is too short",
    ([start, end]) => {
      const stream = new Blob([bytes.slice(start, end - 10)]).stream();
      return new Response(stream, {
        status: 206,
        headers: {
          "content-range": `bytes ${start}-${end - 1}/3000`,
          etag: '"1"',
          "last-modified": modified,
        },
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
        headers: {
          "content-range": `bytes ${start}-${end - 1}/3000`,
          etag: '"1"',
          "last-modified": modified,
        },
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
  [
    "an ETag that has gone away",
    (asked) => partial(asked, { "last-modified": modified }),
    /was replaced while it was read \(ETag "1", now none\)/,
  ],
  [
    "a file that was modified",
    (asked) =>
      partial(asked, {
        etag: '"1"',
        "last-modified": "Tue, 02 Jan 2024 00:00:00 GMT",
      }),
    /was replaced while it was read \(Last-Modified Mon, .*, now Tue, /,
  ],
  [
    "a date that has gone away",
    (asked) => partial(asked, { etag: '"1"' }),
    /was replaced while it was read \(Last-Modified Mon, .*, now none\)/,
  ],
];

for (const [name, handler, message] of badReads) {
  Deno.test(`refused: ${name}`, () => {
    let requests = 0;
    return withServer(
      (asked) =>
        requests++ === 0
          ? partial(asked, { etag: '"1"', "last-modified": modified })
          : handler(asked),
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

/** An answer of which the body stalls after some bytes. */
function stalling([start, end]: [number, number], sent: number): Response {
  const body = new ReadableStream({
    start: (controller) => controller.enqueue(bytes.slice(start, start + sent)),
  });
  return new Response(body, {
    status: 206,
    headers: { "content-range": `bytes ${start}-${end - 1}/3000` },
  });
}

/** Serves until `use` ends, and cuts the connections that are left. */
async function withStallingServer(
  handler: (asked: [number, number]) => Response | Promise<Response>,
  use: (url: string) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const server = Deno.serve(
    {
      hostname: "127.0.0.1",
      port: 0,
      onListen: () => {},
      signal: stop.signal,
    },
    (request) => {
      const range = request.headers.get("range")!.match(/(\d+)-(\d+)$/)!;
      return handler([Number(range[1]), Number(range[2]) + 1]);
    },
  );
  try {
    await use(`http://127.0.0.1:${server.addr.port}/model.gguf`);
  } finally {
    stop.abort();
    await server.finished;
  }
}

const never = new Promise<Response>(() => {});
const isFirst = ([, end]: [number, number]) => end === 1;
const stalls: [
  name: string,
  handler: (asked: [number, number]) => Response | Promise<Response>,
][] = [
  ["the first answer", () => never],
  ["an answer", (asked) => isFirst(asked) ? partial(asked) : never],
  [
    "a body",
    (asked) => isFirst(asked) ? partial(asked) : stalling(asked, 0),
  ],
  [
    "the rest of a body",
    (asked) => isFirst(asked) ? partial(asked) : stalling(asked, 20),
  ],
];

for (const [name, handler] of stalls) {
  Deno.test(`${name} that does not come is given up after a while`, () =>
    withStallingServer(handler, async (url) => {
      await assert.rejects(
        async () => await (await fromUrl(url, { timeout: 50 })).read(100, 50),
        (error) =>
          error instanceof CulmError &&
          error.message === `Cannot read ${url}: nothing has come for 0.05 s`,
      );
    }));

  Deno.test(`${name} that does not come is stopped by the signal`, () =>
    withStallingServer(handler, async (url) => {
      const stop = new AbortController(), reason = new Error("enough");
      setTimeout(() => stop.abort(reason), 50);
      const { signal } = stop;
      await assert.rejects(
        async () => await (await fromUrl(url, { signal })).read(100, 50),
        (error) => error === reason,
      );
    }));
}

Deno.test("a slow answer is waited for as long as something comes", async () => {
  const slow = ([start, end]: [number, number]) =>
    new Response(
      ReadableStream.from(async function* () {
        for (let at = start; at < end; at += 10) {
          await delay(50);
          yield bytes.slice(at, Math.min(at + 10, end));
        }
      }()),
      {
        status: 206,
        headers: { "content-range": `bytes ${start}-${end - 1}/3000` },
      },
    );
  await withServer(slow, async (url) => {
    const source = await fromUrl(url, { timeout: 400 });
    assert.deepEqual(await source.read(100, 100), bytes.slice(100, 200));
  });
});

Deno.test("closing stops what is being read", () =>
  withStallingServer(stalls[3][1], async (url) => {
    const source = await fromUrl(url);
    const reading = assert.rejects(source.read(100, 50), /it is closed/);
    await delay(50);
    await source.close();
    await reading;
  }));

Deno.test("loading is stopped while a header does not come", async (t) => {
  const hanging: ByteSource = {
    name: "hanging",
    size: 1000,
    read: () => new Promise(() => {}),
    close: () => Promise.resolve(),
  };
  const stopped = async (source: ModelSource) => {
    const reason = new Error("enough"), stop = new AbortController();
    setTimeout(() => stop.abort(reason), 50);
    await assert.rejects(
      load(source, { signal: stop.signal }),
      (error) => error === reason,
    );
  };
  await t.step("from a source", () => stopped(hanging));
  for (const [name, handler] of stalls) {
    await t.step(name, () => withStallingServer(handler, stopped));
  }
});

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
