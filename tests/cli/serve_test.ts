import assert from "node:assert/strict";
import { type CliResult, decoded, runCli, startCli } from "./run_cli.ts";

const model = new URL(
  "../fixtures/small-bamboo/f16.gguf",
  import.meta.url,
).pathname;

/** A server in a process of its own. */
interface Served extends AsyncDisposable {
  readonly url: string;
  readonly child: Deno.ChildProcess;
  /** Waits for its end. */
  readonly ended: () => Promise<CliResult>;
}

/** A port that was free a moment ago. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Starts a server, and waits until it says that it listens. */
async function serve(
  args: readonly string[],
  permissions: readonly string[],
): Promise<Served> {
  const child = startCli(["serve", ...args], { permissions });
  await child.stdin.close();
  const [watched, kept] = child.stderr.tee();
  let said = "", url: string | undefined;
  for await (const text of watched.pipeThrough(new TextDecoderStream())) {
    said += text;
    url = said.match(/^listening on (\S+)$/m)?.[1];
    if (url) break;
  }
  const err = new Response(kept).bytes(),
    out = new Response(child.stdout).bytes();
  const ended = async () =>
    decoded({
      code: (await child.status).code,
      stdout: await out,
      stderr: await err,
    });
  assert.ok(url, said);
  return {
    url,
    child,
    ended,
    async [Symbol.asyncDispose]() {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await ended();
    },
  };
}

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
