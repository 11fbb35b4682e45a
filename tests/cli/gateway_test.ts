import assert from "node:assert/strict";
import { FakeUpstream } from "../gateway/fake_upstream.ts";
import { runCli, runHere } from "./run_cli.ts";
import { serve } from "./served.ts";
import { tempFolder } from "./temp_folder.ts";

const json = async (url: string, init?: RequestInit) =>
  await (await fetch(url, init)).json();

Deno.test("a gateway has the permissions that it names, reads its list again at SIGHUP, and stops when it is told to", async () => {
  await using folder = await tempFolder();
  await using a = new FakeUpstream();
  await using b = new FakeUpstream();
  const list = `${folder.path}/servers`, keys = `${folder.path}/keys`;
  await Deno.writeTextFile(list, `# ours\n${a.url}/v1\n\n${b.url} # new\n`);
  await Deno.writeTextFile(keys, "key\n");
  const args = [
    ...["--upstreams-file", list, "--api-key-file", keys, "--port", "0"],
    ...["--upstream-api-key-file", keys, "--log-format", "json"],
  ];
  const printed = await runCli(["gateway", ...args, "--print-permissions"], {
    permissions: [`--allow-read=${list}`],
  });
  const permissions = printed.out.split(" ")
    .filter((word) => word.startsWith("--allow-"));
  assert.deepEqual(permissions, [
    `--allow-net=127.0.0.1,127.0.0.1:${a.port},127.0.0.1:${b.port}`,
    `--allow-read=${list},${keys}`,
  ]);
  await using served = await serve(args, permissions, { command: "gateway" });
  const ask = (i: number) =>
    json(`${served.url}/v1/completions`, {
      method: "POST",
      headers: { authorization: "Bearer key" },
      body: JSON.stringify({ model: "tiny", prompt: `${i}`.padEnd(300) }),
    });
  assert.equal(
    (await json(`${served.url}/v1/models`)).error.code,
    "invalid_api_key",
  );
  for (let i = 0; i < 8; i++) await ask(i);
  assert.ok(a.bodies.length > 0 && b.bodies.length > 0);
  assert.equal(a.headers[0].get("authorization"), "Bearer key");

  await Deno.writeTextFile(list, `${b.url}\n`);
  served.child.kill("SIGHUP");
  await served.said(new RegExp(`^upstream ${a.url} is left out$`, "m"));
  const seen = a.bodies.length;
  for (let i = 0; i < 8; i++) await ask(i);
  assert.equal(a.bodies.length, seen);
  await Deno.writeTextFile(list, `gopher://x\n`);
  served.child.kill("SIGHUP");
  await served.said(/^error: Cannot use the upstream "gopher:\/\/x"/m);
  assert.equal((await ask(0)).by, b.port);
  served.child.kill("SIGTERM");
  const { code, err } = await served.ended();
  assert.equal(code, 0, err);
  assert.match(err, /^upstream \S+ is up: tiny$/m);
  assert.match(
    err,
    /^\{.*"path":"\/v1\/completions","status":200,.*"upstream":"http:.*\}$/m,
  );
  assert.doesNotMatch(err, /legacy|warning/i);
});

Deno.test("a gateway before nothing, or what is no server, is refused", async () => {
  for (
    const [args, message] of [
      [[], /^error: Cannot be a gateway before nothing: .*\n$/],
      [["--upstream", "x:1"], /^error: Cannot use the upstream "x:1": .*\n$/],
      [
        ["--upstreams-file", "/nowhere"],
        /^error: Cannot read \/nowhere: .*\n$/,
      ],
    ] as const
  ) {
    const { code, err } = await runHere(["gateway", ...args]);
    assert.notEqual(code, 0);
    assert.match(err, message);
  }
});
