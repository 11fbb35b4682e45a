/** Who may ask: hosts, origins, keys. */
import assert from "node:assert/strict";
import type { ServerOptions } from "../../server.ts";
import { tinyServer } from "./tiny_server.ts";

const url = "http://localhost:8080/v1/models";

async function statuses(
  options: ServerOptions,
  requests: readonly (readonly [string, HeadersInit])[],
): Promise<number[]> {
  await using tiny = await tinyServer(options);
  const found: number[] = [];
  for (const [url, headers] of requests) {
    const response = await tiny.server.fetch(new Request(url, { headers }));
    await response.text();
    found.push(response.status);
  }
  return found;
}

Deno.test("names that a stranger could point here are refused, unless they are allowed or there is a key", async () => {
  const hosts = [
    "localhost",
    "app.localhost",
    "127.0.0.1:8080",
    "192.168.1.7",
    "[::1]:8080",
    "[fe80::1]",
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "mybox.local",
  ];
  const requests = hosts.map((host) =>
    [`http://${host}/v1/models`, {}] as const
  );
  const fine = Array<number>(6).fill(200);
  assert.deepEqual(await statuses({}, requests), [...fine, 403, 403, 403, 403]);
  const allowed = await statuses({ allowedHosts: ["MyBox.local"] }, requests);
  assert.deepEqual(allowed, [...fine, 403, 403, 403, 200]);
  const keyed = await statuses(
    { apiKeys: ["k"] },
    hosts.map((host) => [`http://${host}/health`, {}] as const),
  );
  assert.deepEqual(keyed, Array(hosts.length).fill(200));
});

Deno.test("pages of other origins are refused, and may not read", async () => {
  const origins = [
    "http://localhost:3000",
    "https://127.0.0.1",
    "http://localhost:8080",
    "https://evil.example",
    "https://localhost.evil.example",
    "null",
    "file://",
    "https://good.example",
  ];
  const requests = origins.map((origin) => [url, { origin }] as const);
  const few = [200, 200, 200, 403, 403, 403, 403];
  assert.deepEqual(await statuses({}, requests), [...few, 403]);
  const corsOrigins = ["https://good.example"];
  // Its own pages may ask, whatever the list says.
  const listed = [403, 403, 200, 403, 403, 403, 403, 200];
  assert.deepEqual(await statuses({ corsOrigins }, requests), listed);
  const all = await statuses({ corsOrigins: ["*"] }, requests);
  assert.deepEqual(all, Array(origins.length).fill(200));
});

Deno.test("a browser is told what its pages may send", async () => {
  await using tiny = await tinyServer();
  const ask = async (origin: string) => {
    const response = await tiny.server.fetch(
      new Request(url, {
        method: "OPTIONS",
        headers: {
          origin,
          "access-control-request-method": "POST",
          "access-control-request-headers": "authorization, content-type",
        },
      }),
    );
    assert.equal(await response.text(), "");
    return response.headers;
  };
  const told = await ask("http://localhost:5173");
  assert.equal(
    told.get("access-control-allow-origin"),
    "http://localhost:5173",
  );
  const headers = told.get("access-control-allow-headers");
  assert.equal(headers, "authorization, content-type");
  assert.match(told.get("access-control-allow-methods")!, /POST/);
  assert.equal(told.get("access-control-allow-credentials"), null);
  const stranger = await ask("https://evil.example");
  assert.equal(stranger.get("access-control-allow-origin"), null);
});

Deno.test("pages may read every answer: whole, streamed, late, and errors", async () => {
  await using tiny = await tinyServer({ pingInterval: 0.001 });
  const origin = "http://localhost:5173";
  const read = async (path: string, body: object) => {
    const response = await tiny.post(path, body, { headers: { origin } });
    await response.body?.cancel();
    return [
      response.headers.get("access-control-allow-origin"),
      response.headers.get("vary"),
    ];
  };
  const prompt = "Tom had a";
  const bodies = [{ prompt }, { prompt, stream: true }, {}, { prompt: 1 }];
  for (const body of bodies) {
    for (const path of ["/v1/completions", "/nothing"]) {
      assert.deepEqual(await read(path, body), [origin, "Origin"]);
    }
  }
  const keyed = await tinyServer({ apiKeys: ["k"] });
  await using _ = keyed;
  const refused = await keyed.post("/tokenize", {}, { headers: { origin } });
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get("access-control-allow-origin"), origin);
});

Deno.test("a key is asked for by every route but health, in either header", async () => {
  const apiKeys = ["first-key", "schlüssel"];
  const good = [
    { authorization: "Bearer first-key" },
    { authorization: "bearer  first-key" },
    { "x-api-key": "first-key" },
  ];
  const bad = [
    {},
    { authorization: "Bearer first-ke" },
    { authorization: "Bearer first-keyy" },
    { authorization: "first-key" },
    { authorization: "Bearer " },
    { "x-api-key": "" },
  ];
  const requests = [...good, ...bad].map((headers) =>
    [url, headers as HeadersInit] as const
  );
  const expected = [...good.map(() => 200), ...bad.map(() => 401)];
  assert.deepEqual(await statuses({ apiKeys }, requests), expected);
  await using tiny = await tinyServer({ apiKeys });
  assert.equal((await tiny.get("/health")).status, 200);
  for (const path of ["/nothing", "/v1/models", "/metrics"]) {
    const response = await tiny.get(path);
    assert.equal(response.status, 401, path);
    const { error } = await response.json();
    assert.equal(error.type, "authentication_error");
    assert(!JSON.stringify(error).includes("first-key"));
  }
});
