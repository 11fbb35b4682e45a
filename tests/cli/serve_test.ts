import assert from "node:assert/strict";
import { runCli } from "./run_cli.ts";
import { freePort, serve, type Served } from "./served.ts";
import { tempFolder } from "./temp_folder.ts";

const model = new URL(
  "../fixtures/small-bamboo/f16.gguf",
  import.meta.url,
).pathname;

const post = (url: string, body: object) =>
  fetch(url, { method: "POST", body: JSON.stringify(body) });

Deno.test("a model is served with the permissions that it names, and answers under way are written to their end", async () => {
  const port = freePort();
  await using served = await serve(
    ["-m", model, "--port", String(port), "-t", "1", "-a", "small"],
    [`--allow-net=127.0.0.1:${port}`, `--allow-read=${model}`],
  );
  assert.equal(served.url, `http://127.0.0.1:${port}`);
  const models = await (await fetch(`${served.url}/v1/models`)).json();
  assert.equal(models.data[0].id, "small");

  const response = await post(`${served.url}/v1/completions`, {
    prompt: "Tom had",
    max_tokens: 100,
    ignore_eos: true,
    temperature: 0,
    stream: true,
  });
  const reader = response.body!.pipeThrough(new TextDecoderStream())
    .getReader();
  let text = (await reader.read()).value!;
  served.child.kill("SIGTERM");
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += value;
  }
  assert.match(text, /"finish_reason":"length"/);
  assert.match(text, /data: \[DONE\]\n\n$/);
  const { code, out, err } = await served.ended();
  assert.deepEqual([code, out], [0, ""], err);
  assert.match(err, /^stopping: /m);
  assert.doesNotMatch(err, /error|warning/);
});

Deno.test("a server that nobody talks to is stopped by Ctrl-C, and its lines of keep-alive with it", async () => {
  await using served = await serve(
    ["--port", "0", "-t", "0"],
    ["--allow-net=127.0.0.1"],
  );
  const health = await fetch(`${served.url}/health`);
  assert.deepEqual(await health.json(), { status: "ok" });
  const unknown = await fetch(`${served.url}/nothing`);
  assert.equal(unknown.status, 404);
  assert.equal((await unknown.json()).error.type, "not_found_error");
  served.child.kill("SIGINT");
  const { code, err } = await served.ended();
  assert.equal(code, 0, err);
});

Deno.test("who goes away without a word makes room for others", async () => {
  await using served = await serve(
    ["--port", "0", "-t", "0", "-np", "1", "--sse-ping-interval", "0.05"],
    ["--allow-net=127.0.0.1"],
  );
  const { hostname, port } = new URL(served.url);
  const body = JSON.stringify({
    prompt: "Tom had a ball. ".repeat(50),
    user: "x".repeat(20_000),
    n: 100,
    ignore_eos: true,
  });
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const writer = connection.writable.getWriter();
  await writer.write(
    new TextEncoder().encode(
      `POST /v1/completions HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    ),
  );
  const reader = connection.readable.getReader();
  const head = new TextDecoder().decode((await reader.read()).value);
  assert.match(head, /^HTTP\/1\.1 200/);
  connection.close();
  // All hundred would take a minute.
  const other = await fetch(`${served.url}/v1/completions`, {
    method: "POST",
    body: JSON.stringify({ prompt: "Lily", max_tokens: 2 }),
    signal: AbortSignal.timeout(20_000),
  });
  assert.equal((await other.json()).usage.completion_tokens, 2);
});

Deno.test("a port that is taken, or may not be listened on, is one clear line", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  const args = ["serve", "--port", String(port)];
  const inUse = await runCli(args, { permissions: ["--allow-net"] });
  assert.deepEqual(inUse, {
    code: 1,
    out: "",
    err:
      `error: Cannot listen on 127.0.0.1:${port}: another program does; --port takes another\n`,
  });
  const denied = await runCli(args);
  assert.equal(denied.code, 1);
  assert.match(
    denied.err,
    /^error: Requires net access to "127\.0\.0\.1:\d+".*--allow-net.*\n$/,
  );
});

const tlsFile = (name: string) =>
  new URL(`../fixtures/tls/${name}.pem`, import.meta.url).pathname;

Deno.test("the permissions that are printed are enough, with a certificate, keys and a log", async () => {
  await using folder = await tempFolder();
  const keys = `${folder.path}/a key's file, of mine`;
  await Deno.writeTextFile(keys, "first\n\nsecond\n");
  const port = freePort();
  const args = [
    ...["-m", model, "--port", String(port), "-t", "0"],
    ...["--tls-cert", tlsFile("cert"), "--tls-key", tlsFile("key")],
    ...["--api-key-file", keys, "--log-file", `${folder.path}/requests.log`],
  ];
  const printed = await runCli(["serve", ...args, "--print-permissions"]);
  assert.equal(printed.code, 0, printed.err);
  // As a shell takes it apart.
  const shell = await new Deno.Command("sh", {
    args: ["-c", `printf '%s\\n' ${printed.out}`],
  }).output();
  const words = new TextDecoder().decode(shell.stdout).trimEnd().split("\n");
  assert.deepEqual(words.slice(0, 3), ["deno", "run", "--no-prompt"]);
  const permissions = words.slice(3).filter((w) => w.startsWith("--allow-"));
  assert.equal(permissions[0], `--allow-net=127.0.0.1:${port}`);
  assert.equal(permissions.length, 3);
  assert.deepEqual(words.slice(-args.length), args);

  await using served = await serve(args, permissions);
  assert.equal(served.url, `https://127.0.0.1:${port}`);
  using client = Deno.createHttpClient({
    caCerts: [await Deno.readTextFile(tlsFile("cert"))],
  });
  for (const [key, status] of [["second", 200], ["third", 401]] as const) {
    const init: RequestInit & { client: Deno.HttpClient } = {
      client,
      headers: { authorization: `Bearer ${key}` },
    };
    const response = await fetch(`${served.url}/v1/models`, init);
    assert.equal(response.status, status);
    await response.body?.cancel();
  }
});

Deno.test("what does not go together, or cannot be read, is said before a model is loaded", async () => {
  const wrong = [
    [["--tls-cert", tlsFile("cert")], 2, /--tls-cert and --tls-key/],
    [["--api-key-file", "/dev/null"], 1, /\/dev\/null: it has none/],
    [["--api-key-file", "/nothing/here"], 1, /\/nothing\/here/],
    [
      ["--tls-cert", tlsFile("key"), "--tls-key", tlsFile("cert")],
      1,
      /Cannot listen/,
    ],
  ] as const;
  const permissions = ["--allow-net=127.0.0.1", "--allow-read"];
  for (const [args, code, message] of wrong) {
    const all = ["serve", "--port", "0", ...args];
    const result = await runCli(all, { permissions });
    assert.equal(result.code, code, result.err);
    assert.match(result.err, message);
    assert.equal(result.err.trimEnd().split("\n").length, 1, result.err);
  }
});

Deno.test("a server that others than this machine reach says so, where there is no key", async () => {
  await using served = await serve(
    ["--host", "0.0.0.0", "--port", "0", "-t", "0"],
    ["--allow-net=0.0.0.0"],
  );
  served.child.kill("SIGINT");
  const { err } = await served.ended();
  assert.match(err, /^note: whoever reaches 0\.0\.0\.0 may ask/m);
});

Deno.test("a server listens on several addresses, at one port, with one seed for requests that have none", async () => {
  const port = freePort();
  const args = ["--host", "127.0.0.1,127.0.0.2", "--port", String(port)];
  const printed = await runCli(["serve", ...args, "--print-permissions"]);
  const net = `--allow-net=127.0.0.1:${port},127.0.0.2:${port}`;
  assert.ok(printed.out.includes(net), printed.out);
  await using served = await serve([...args, "-t", "0", "-s", "7"], [net]);
  const texts = [];
  for (const host of ["127.0.0.1", "127.0.0.1", "127.0.0.2"]) {
    const response = await post(`http://${host}:${port}/v1/completions`, {
      prompt: "Tom had a",
      max_tokens: 16,
      temperature: 2,
    });
    texts.push((await response.json()).choices[0].text);
  }
  assert.equal(new Set(texts).size, 1);
  served.child.kill("SIGINT");
  const { code, err } = await served.ended();
  assert.equal(code, 0, err);
  assert.match(err, /^listening on http:\/\/127\.0\.0\.2:\d+$/m);
  const empty = await runCli(["serve", "--host", "127.0.0.1,"]);
  assert.equal(empty.code, 2);
  assert.match(empty.err, /^error: Cannot listen on --host "127\.0\.0\.1,"/);
});

Deno.test("a folder's models are served by their names, and loaded when they are asked for", async () => {
  await using folder = await tempFolder();
  for (const name of ["first", "second"]) {
    Deno.copyFileSync(model, `${folder.path}/${name}.gguf`);
  }
  const cut = Deno.readFileSync(model);
  Deno.writeFileSync(
    `${folder.path}/cut.gguf`,
    cut.subarray(0, cut.length / 2),
  );
  Deno.writeTextFileSync(`${folder.path}/notes.txt`, "no model");
  const port = freePort();
  const args = ["--models-dir", folder.path, "--port", String(port)];
  const limits = ["-t", "1", "--models-max", "1"];
  await using served = await serve([...args, ...limits], [
    `--allow-net=127.0.0.1:${port}`,
    `--allow-read=${folder.path}`,
  ]);
  const statuses = async () => {
    const { data } = await (await fetch(`${served.url}/models`)).json();
    return data.map((each: { id: string; status: { value: string } }) =>
      `${each.id} ${each.status.value}`
    );
  };
  const unloaded = ["cut unloaded", "first unloaded", "second unloaded"];
  assert.deepEqual(await statuses(), unloaded);
  const ask = (model: string) =>
    post(`${served.url}/v1/completions`, {
      model,
      prompt: [1, 2],
      max_tokens: 2,
    });
  const response = await ask("second");
  assert.equal((await response.json()).model, "second");
  const loaded = ["cut unloaded", "first unloaded", "second loaded"];
  assert.deepEqual(await statuses(), loaded);
  // Its header says that it is not whole: nothing else is unloaded for it.
  const { error } = await (await ask("cut")).json();
  assert.equal(error.message, 'The model "cut" could not be loaded');
  assert.deepEqual(await statuses(), loaded);
  served.child.kill("SIGTERM");
  const { code, err } = await served.ended();
  assert.equal(code, 0);
  assert.match(
    err,
    /^error: The model "cut" could not be loaded: .*cut\.gguf/m,
  );
  assert.doesNotMatch(err, /^ +at /m);
});

Deno.test("a folder without models, or beside a model, is refused", async () => {
  await using folder = await tempFolder();
  const permissions = [`--allow-read=${folder.path}`];
  const args = ["serve", "--models-dir", folder.path];
  const empty = await runCli(args, { permissions });
  assert.match(empty.err, /it has no \.gguf file/);
  const both = await runCli([...args, "-m", model], { permissions });
  assert.match(both.err, /--models-dir or -m/);
  assert(empty.code !== 0 && both.code !== 0);
});

Deno.test("requests are told of in short lines, or logged to a file as JSON", async () => {
  await using folder = await tempFolder();
  const file = `${folder.path}/requests.log`;
  Deno.writeTextFileSync(file, "before\n");
  const args = ["--port", "0", "-t", "0"];
  const ask = async ({ url }: Served) => {
    const response = await post(`${url}/v1/completions?key=secret`, {
      prompt: "Tom had a",
      max_tokens: 2,
    });
    await response.json();
    return response.headers.get("x-request-id");
  };
  const run = async (
    more: readonly string[],
    permissions: readonly string[],
  ) => {
    await using served = await serve([...args, ...more], permissions);
    const id = await ask(served);
    served.child.kill("SIGTERM");
    const { code, err } = await served.ended();
    assert.equal(code, 0, err);
    return { id, err };
  };
  const net = "--allow-net=127.0.0.1";
  const short = await run([], [net]);
  assert.match(short.err, /^POST \/v1\/completions 200, \d+ \+ 2 tokens, /m);
  const none = await run(["--log-disable"], [net]);
  assert.doesNotMatch(none.err, /POST/);
  const json = await run(["--log-format", "json"], [net]);
  assert.match(json.err, new RegExp(`^\\{.*"id":"${json.id}".*\\}$`, "m"));
  const logged = await run(["--log-file", file], [
    net,
    `--allow-write=${file}`,
  ]);
  assert.doesNotMatch(logged.err, /POST/);
  const [before, line, end] = Deno.readTextFileSync(file).split("\n");
  assert.deepEqual([before, end], ["before", ""]);
  const { id, path, generated_tokens } = JSON.parse(line);
  assert.deepEqual([id, path, generated_tokens], [
    logged.id,
    "/v1/completions",
    2,
  ]);
});

Deno.test("a log that cannot be opened is said before a model is loaded", async () => {
  await using folder = await tempFolder();
  const file = `${folder.path}/none/requests.log`;
  const permissions = [`--allow-write=${folder.path}`];
  const run = (more: readonly string[]) =>
    runCli(["serve", "--log-file", file, ...more], { permissions });
  const missing = await run([]);
  assert.equal(missing.code, 1);
  assert.match(missing.err, /^error: Cannot write --log-file .*No such file/m);
  const both = await run(["--log-disable"]);
  assert.equal(both.code, 2);
  assert.match(both.err, /--log-file: --log-disable is given/);
});
