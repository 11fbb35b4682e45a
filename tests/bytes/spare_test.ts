/** Reading into a buffer that held something else before. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { ByteSource } from "../../src/bytes/byte_source.ts";
import { openFile } from "../../src/bytes/file.ts";
import { fromBlob, fromBuffer } from "../../src/bytes/memory.ts";
import { fromUrl } from "../../src/bytes/url.ts";
import { joined } from "../../src/bytes/joined.ts";

const bytes = Uint8Array.from({ length: 5000 }, (_, i) => (i * 37) >> 3);

async function withServer(use: (url: string) => Promise<void>): Promise<void> {
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => {
      const range = request.headers.get("range")!.match(/^bytes=(\d+)-(\d+)$/)!;
      const [start, last] = [Number(range[1]), Number(range[2])];
      const headers = { "content-range": `bytes ${start}-${last}/5000` };
      return new Response(bytes.slice(start, last + 1), {
        status: 206,
        headers,
      });
    },
  );
  try {
    await use(`http://127.0.0.1:${server.addr.port}/model.gguf`);
  } finally {
    await server.shutdown();
  }
}

async function withFile(use: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, bytes);
    await use(path);
  } finally {
    await Deno.remove(path);
  }
}

/** The second of two sources joined. */
function twice(source: ByteSource): ByteSource {
  const both = joined(fromBuffer(new Uint8Array(7)), source);
  return {
    ...both,
    read: (offset, length, spare) => both.read(7 + offset, length, spare),
  };
}

/** Every read gives the file's bytes; where they fit, in the spare, or with its memory moved. */
async function check(
  source: ByteSource,
  takes: "the spare" | "its memory",
  runs: number,
) {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(5000),
      fc.nat(5000),
      fc.nat(6000),
      async (offset, wanted, spareBytes) => {
        const length = Math.min(wanted, 5000 - offset);
        const spare = new ArrayBuffer(spareBytes);
        new Uint8Array(spare).fill(0xee);
        const read = await source.read(offset, length, spare);
        assert.deepEqual(read, bytes.slice(offset, offset + length));
        if (length === 0) return;
        const isTaken = takes === "the spare"
          ? read.buffer === spare
          : spare.detached;
        assert.equal(isTaken, spareBytes >= length);
      },
    ),
    { numRuns: runs },
  );
  await source.close();
}

Deno.test("a buffer reads into spares", () =>
  check(fromBuffer(bytes), "the spare", 300));

Deno.test("two sources joined read into spares", () =>
  check(twice(fromBuffer(bytes)), "the spare", 100));

Deno.test("a Blob reads into the memory of spares", () =>
  check(fromBlob(new Blob([bytes])), "its memory", 100));

Deno.test("a file reads into spares", () =>
  withFile(async (path) =>
    await check(await openFile(path), "the spare", 300)
  ));

Deno.test("a server's file is read into spares", () =>
  withServer(async (url) => await check(await fromUrl(url), "the spare", 100)));
