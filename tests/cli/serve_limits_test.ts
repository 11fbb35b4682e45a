/** A server in a process of its own, at what its machine and its clients allow. */
import assert from "node:assert/strict";
import { connect, type RawClient, requestText } from "../server/raw_client.ts";
import { serve, type Served } from "./served.ts";

const isWindows = Deno.build.os === "windows";
const net = ["--allow-net=127.0.0.1"];
const path = "/v1/completions";
const endless = {
  prompt: "Tom had a",
  max_tokens: 480,
  ignore_eos: true,
  stream: true,
};

async function tiny(args: readonly string[] = [], openFiles?: number) {
  const served = await serve(
    ["--port", "0", "-t", "0", ...args],
    net,
    { openFiles },
  );
  return { served, port: Number(new URL(served.url).port) };
}

async function ask({ url }: Served): Promise<Response> {
  const body = JSON.stringify({ prompt: "Tom", max_tokens: 2 });
  return await fetch(`${url}${path}`, { method: "POST", body });
}

/** Connections that are closed together. */
async function connected(port: number, count: number) {
  const stack = new DisposableStack();
  const clients: RawClient[] = [];
  for (let i = 0; i < count; i++) {
    // One that was not accepted is closed by the system.
    const client = await connect(port).catch(() => undefined);
    if (client) clients.push(stack.use(client));
  }
  return { clients, [Symbol.dispose]: () => stack.dispose() };
}

Deno.test({
  name:
    "a server without a file to open closes connections that wait, ends answers, and goes on",
  ignore: isWindows,
  fn: async () => {
    const { served, port } = await tiny(["-np", "1"], 64);
    await using _ = served;
    using reader = await connect(port);
    await reader.send(requestText(path, endless));
    await reader.until(/data: /);
    for (let round = 0; round < 3; round++) {
      using idle = await connected(port, 100);
      // Those that are left send heads without an end.
      for (const client of idle.clients) {
        await client.send("GET / HTTP/1.1\r\n");
      }
      for (;;) {
        const response = await ask(served).catch(() => undefined);
        if (!response) continue;
        assert.equal(response.status, 200);
        await response.body?.cancel();
        break;
      }
    }
    assert.match(await reader.until(/\r\n0\r\n/), /data: \[DONE\]/);
    served.child.kill("SIGTERM");
    const { code, err } = await served.ended();
    assert.equal(code, 0, err);
    assert.match(
      err,
      /^warning: Cannot accept a connection: Too many open files; /m,
    );
  },
});

Deno.test("2,000 who say nothing keep nobody waiting, and of 2,000 who ask each is answered or told when to come back", async () => {
  const { served, port } = await tiny(["-np", "16", "--queue-limit", "50"]);
  await using _ = served;
  {
    using idle = await connected(port, 2000);
    assert.equal(idle.clients.length, 2000);
    assert.equal((await ask(served)).status, 200);
  }
  const counts: Record<number, number> = { 200: 0, 503: 0 };
  await Promise.all(Array.from({ length: 2000 }, async () => {
    const response = await ask(served);
    counts[response.status]++;
    if (response.status === 503) {
      assert.match(response.headers.get("retry-after")!, /^\d+$/);
    }
    await response.json();
  }));
  assert.equal(counts[200] + counts[503], 2000);
  assert.ok(counts[200] >= 66, `${counts[200]} were answered`);
  assert.equal((await ask(served)).status, 200);
});

Deno.test("a server stops in time, whoever reads, does not read, waits or has not asked yet", async () => {
  const { served, port } = await tiny(["-np", "2", "--stop-timeout", "0.2"]);
  await using _ = served;
  const slow = { ...endless, n: 50 };
  using reads = await connect(port), waits = await connect(port);
  using _unread = await (await connect(port)).send(requestText(path, slow));
  using _head = await (await connect(port)).send("GET /health HTTP/1.1\r\n");
  using _idle = await connect(port);
  await reads.send(requestText(path, slow));
  await reads.until(/data: /);
  await waits.send(requestText(path, slow));
  await waits.until(/^HTTP/);
  served.child.kill("SIGTERM");
  for (const client of [reads, waits]) {
    assert.match(
      await client.rest(),
      /data: \{"error":\{"code":503,"message":"The server was stopped"/,
    );
  }
  const { code, err } = await served.ended();
  assert.deepEqual([code, err.match(/^error/m)], [0, null], err);
});

Deno.test("Ctrl-C once more stops at once", async () => {
  const { served, port } = await tiny(["--stop-timeout", "1000"]);
  await using _ = served;
  using client = await connect(port);
  await client.send(requestText(path, { ...endless, n: 50 }));
  await client.until(/data: /);
  served.child.kill("SIGINT");
  while ((await ask(served)).status !== 503);
  served.child.kill("SIGINT");
  const { code } = await served.ended();
  assert.equal(code, 130);
});
