/** Models on a web server, as the command line reads them. */
import assert from "node:assert/strict";
import { startCli } from "./run_cli.ts";
import { namesIn, tempFolder } from "./temp_folder.ts";

/** Runs the command line on a file of which the header never comes, and interrupts it once. */
async function interrupted(
  commandLine: (url: string) => string[],
): Promise<{ code: number; err: string }> {
  const stop = new AbortController();
  const asked = Promise.withResolvers<void>();
  const server = Deno.serve(
    {
      hostname: "127.0.0.1",
      port: 0,
      onListen: () => {},
      signal: stop.signal,
    },
    ({ headers }) => {
      if (headers.get("range") === "bytes=0-0") {
        return new Response("G", {
          status: 206,
          headers: { "content-range": "bytes 0-0/1000000" },
        });
      }
      asked.resolve();
      return new Promise<Response>(() => {});
    },
  );
  try {
    const url = `http://127.0.0.1:${server.addr.port}/model.gguf`;
    const child = startCli(commandLine(url), {
      permissions: ["--allow-read", "--allow-write", "--allow-net=127.0.0.1"],
    });
    await child.stdin.close();
    await asked.promise;
    child.kill("SIGINT");
    const { code, stderr } = await child.output();
    return { code, err: new TextDecoder().decode(stderr) };
  } finally {
    stop.abort();
    await server.finished;
  }
}

Deno.test({
  name: "the first Ctrl-C stops waiting for a server",
  ignore: Deno.build.os === "windows",
  fn: async (t) => {
    await using dir = await tempFolder();
    const text = `${dir.path}/text`;
    await Deno.writeTextFile(text, "Tom had a red ball.");
    const out = ["-o", `${dir.path}/out`], file = ["-f", text];
    const commands: Record<string, (url: string) => string[]> = {
      generate: (url) => ["generate", "-m", url, "-p", "Tom"],
      convert: (url) => ["convert", url, ...out],
      predictor: (url) => ["predictor", "-m", url, ...file, ...out],
      profile: (url) => ["profile", "-m", url, ...file, ...out],
      perplexity: (url) => ["perplexity", "-m", url, ...file],
      report: (url) => ["report", "-m", url, ...file, ...out],
    };
    for (const [name, commandLine] of Object.entries(commands)) {
      await t.step(name, async () => {
        const { code, err } = await interrupted(commandLine);
        assert.deepEqual([code, err], [130, "interrupted\n"]);
        assert.deepEqual(await namesIn(dir.path), ["text"]);
      });
    }
  },
});
