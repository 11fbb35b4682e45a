import assert from "node:assert/strict";
import { PassingError, refusal } from "../../src/bytes/exchange.ts";
import { fromUrl } from "../../src/bytes/url.ts";
import { UsageError } from "../../src/errors.ts";

const bytes = Uint8Array.from({ length: 3000 }, (_, i) => i * 11);

function serve(handler: (request: Request) => Response) {
  return Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    handler,
  );
}

function partial(request: Request): Response {
  const [, start, end] = request.headers.get("range")!.match(/(\d+)-(\d+)$/)!;
  return new Response(bytes.slice(Number(start), Number(end) + 1), {
    status: 206,
    headers: { "content-range": `bytes ${start}-${end}/${bytes.length}` },
  });
}

Deno.test("an address that a redirect leads to is read from until it expires, and is never told the token", async () => {
  const asked: string[] = [];
  const note = (name: string, request: Request) =>
    asked.push(`${name} ${request.headers.get("authorization")}`);
  let left = 0;
  await using store = serve((request) => {
    note("store", request);
    return left-- > 0 ? partial(request) : new Response("", { status: 403 });
  });
  await using hub = serve((request) => {
    note("hub", request);
    left = 2;
    const location = `http://127.0.0.1:${store.addr.port}/?sign`;
    return new Response(null, { status: 302, headers: { location } });
  });
  const source = await fromUrl(`http://127.0.0.1:${hub.addr.port}/model`, {
    headers: { authorization: "Bearer token" },
  });
  for (const at of [0, 10, 20]) {
    assert.deepEqual(await source.read(at, 10), bytes.slice(at, at + 10));
  }
  const both = ["hub Bearer token", "store null"];
  assert.deepEqual(asked, [
    ...both,
    "store null",
    "store null", // which refuses
    ...both,
    "store null",
  ]);
  await source.close();
});

Deno.test("within its origin, a redirect's address is told the token", async () => {
  const asked: string[] = [];
  await using hub = serve((request) => {
    const { pathname } = new URL(request.url);
    asked.push(`${pathname} ${request.headers.get("authorization")}`);
    return pathname === "/there" ? partial(request) : new Response(null, {
      status: 307,
      headers: { location: "/there" },
    });
  });
  const source = await fromUrl(`http://127.0.0.1:${hub.addr.port}/here`, {
    headers: { authorization: "Bearer token" },
  });
  await source.read(0, 10);
  assert.deepEqual(asked, [
    "/here Bearer token",
    "/there Bearer token",
    "/there Bearer token",
  ]);
  await source.close();
});

Deno.test("what may pass is told from what will not, with the time that a server asks for", () => {
  const of = (status: number, headers = {}) =>
    refusal("http://h/x", new Response(null, { status, headers }));
  for (const status of [408, 429, 500, 503]) {
    assert.ok(of(status) instanceof PassingError, `${status}`);
  }
  for (const status of [400, 401, 403, 404]) {
    assert.ok(of(status) instanceof UsageError, `${status}`);
  }
  const waitOf = (text: string) => {
    const error = of(429, { "retry-after": text });
    return error instanceof PassingError ? error.after : undefined;
  };
  assert.equal(waitOf("7"), 7000);
  assert.equal(waitOf("soon"), undefined);
  const date = new Date(Date.now() + 9000).toUTCString();
  assert.ok(Math.abs(waitOf(date)! - 9000) < 2000);
  assert.equal(waitOf(new Date(0).toUTCString()), 0);
});
