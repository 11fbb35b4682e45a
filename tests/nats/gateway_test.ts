/** Gateways that find their upstreams by NATS. */
import assert from "node:assert/strict";
// @ts-types="../../src/std/delay.d.ts"
import { delay } from "@std/async/delay";
import { FoundUpstreams } from "../../cli/commands/gateway/found_upstreams.ts";
import { connectNats } from "../../cli/nats/connection.ts";
import { runCli } from "../cli/run_cli.ts";
import { serve } from "../cli/served.ts";
import { deployedConfig, hasNats, NatsServer } from "../helpers/nats.ts";
import { needs, testNeeding } from "../helpers/needs.ts";

testNeeding(needs.nats, hasNats, {
  name:
    "a server that says where it is gets requests of a gateway, and none once it leaves; what others say is refused",
  fn: async () => {
    await using nats = await NatsServer.start(await deployedConfig());
    const as = (user: string) => ["--nats-user", user];
    await using gateway = await serve(
      ["--queue", nats.url, ...as("gateway"), "--port", "0"],
      ["--allow-net", "--allow-env=NATS_PASSWORD"],
      { command: "gateway", env: { NATS_PASSWORD: "gateway" } },
    );
    const models = async (count: number) => {
      for (;;) {
        const response = await fetch(`${gateway.url}/v1/models`);
        const { data } = await response.json();
        if (data.length === count) return data;
        await delay(20);
      }
    };
    assert.deepEqual(await models(0), []);
    const args = [
      ...["-a", "found", "-t", "0", "--port", "0", "--announce", nats.url],
      ...as("server"),
    ];
    const printed = await runCli(["serve", ...args, "--print-permissions"]);
    const permissions = printed.out.split(" ")
      .filter((word) => word.startsWith("--allow-"));
    await using server = await serve(
      args,
      permissions,
      { env: { NATS_PASSWORD: "server" } },
    );
    const [{ id }] = await models(1);
    assert.equal(id, "found");
    const response = await fetch(`${gateway.url}/v1/completions`, {
      method: "POST",
      body: JSON.stringify({ prompt: "Tom", max_tokens: 2 }),
    });
    assert.equal((await response.json()).usage.completion_tokens, 2);

    Deno.env.set("NATS_PASSWORD", "server");
    const stranger = await connectNats(
      nats.url,
      { natsUser: "server" },
      "test",
    );
    Deno.env.delete("NATS_PASSWORD");
    const messages = [
      "{",
      "[]",
      '{"url":1,"isLeaving":false}',
      '{"url":"file:///etc/passwd","isLeaving":false}',
      "x".repeat(5000),
    ];
    for (const each of messages) stranger.publish("culm.servers", each);
    await stranger.flush();
    // A server hears nothing of queues, nor what others are told.
    for (const each of ["culm.work.>", "_INBOX.>", "culm.servers"]) {
      const listening = stranger.subscribe(each, { callback() {} });
      await stranger.flush();
      listening.unsubscribe();
      assert.match(String(await listening.closed), /Permissions Violation/);
    }
    await stranger.close();
    server.child.kill("SIGTERM");
    await models(0);
    assert.equal((await server.ended()).code, 0);
    gateway.child.kill("SIGTERM");
    const { code, err } = await gateway.ended();
    assert.equal(code, 0, err);
    assert.equal(
      err.match(/^warning: Cannot use what a server says/gm)?.length,
      5,
      err,
    );
    assert.match(err, /gets no more requests/);
  },
});

Deno.test("upstreams that are silent stay as long as they are up, and a thousand are found at most", () => {
  let now = 0, up: string[] = [], urls: readonly string[] = [];
  const found = new FoundUpstreams({
    upstreams: () => urls.map((url) => ({ url, isUp: up.includes(url) })),
    setUpstreams: (given) => urls = given,
  }, () => now);
  found.list(["http://listed"]);
  const hear = (url: string, isLeaving = false) =>
    found.hear({ url, isLeaving });
  hear("http://a/v1/");
  hear("http://b");
  assert.deepEqual(urls, ["http://listed", "http://a", "http://b"]);
  now = 40_000;
  up = ["http://a"];
  hear("http://c");
  assert.deepEqual(urls, ["http://listed", "http://a", "http://c"]);
  hear("http://c", true);
  assert.deepEqual(urls, ["http://listed", "http://a"]);
  for (let i = 0; i < 2000; i++) hear(`http://x${i}`);
  assert.equal(urls.length, 1001);
  assert.throws(() => hear("file:///etc/passwd"), /no http:\/\/HOST/);
});

Deno.test("a server that listens everywhere is not announced without an address", async () => {
  const { code, err } = await runCli([
    ...["serve", "--host", "0.0.0.0", "--announce", "nats://127.0.0.1:1"],
  ]);
  assert.equal(code, 2);
  assert.match(err, /^error: Cannot announce 0\.0\.0\.0: --announce-as .*\n$/);
});
