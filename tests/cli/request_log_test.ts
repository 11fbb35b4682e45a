import assert from "node:assert/strict";
import { RequestLog, shortLine } from "../../cli/http/request_log.ts";
import type { RequestEntry } from "../../server.ts";

const entry: RequestEntry = {
  time: "2026-01-01T00:00:00.000Z",
  id: "1",
  method: "POST",
  path: "/v1/completions",
  status: 200,
  prompt_tokens: 3,
  generated_tokens: 8,
  total_ms: 41.6,
  finish_reason: "length",
  aborted: false,
};

Deno.test("lines that cannot be written are lost, which is said once, and later ones are whole", async () => {
  let written = "", isFull = false;
  const said: string[] = [];
  const write = (bytes: Uint8Array) => {
    const text = new TextDecoder().decode(bytes);
    written += isFull ? text.slice(0, 10) : text;
    return isFull
      ? Promise.reject(new Error("No space left on device (os error 28)"))
      : Promise.resolve();
  };
  const log = new RequestLog("requests.log", write, (text) => said.push(text));
  const add = async (id: string) => {
    log.add({ ...entry, id });
    await log[Symbol.asyncDispose]();
  };
  await add("first");
  isFull = true;
  await add("lost");
  await add("lost too");
  isFull = false;
  await add("last");
  const lines = written.split("\n");
  const whole = lines.filter((line) => line.endsWith("}"));
  assert.deepEqual(whole.map((line) => JSON.parse(line).id), ["first", "last"]);
  assert.equal(said.length, 1);
  assert.match(said[0], /requests\.log: No space left on device; the server/);
});

Deno.test("a log that is too slow holds so many lines, and loses others", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let written = 0;
  const write = (bytes: Uint8Array) => {
    written += bytes.length;
    return promise;
  };
  const said: string[] = [];
  const log = new RequestLog("slow.log", write, (text) => said.push(text));
  const request = "x".repeat(2 ** 20);
  for (let i = 0; i < 20; i++) log.add({ ...entry, request });
  resolve();
  await log[Symbol.asyncDispose]();
  assert.ok(written < 8 * 2 ** 20, `${written} bytes`);
  assert.equal(said.length, 1);
});

Deno.test("people read a short line of requests that are not made all the time", () => {
  assert.equal(
    shortLine(entry),
    "POST /v1/completions 200, 3 + 8 tokens, 42 ms, length",
  );
  const { prompt_tokens: _, finish_reason: __, ...other } = entry;
  const health = { ...other, method: "GET", path: "/health" };
  assert.equal(shortLine(health), undefined);
  const error = "authentication_error";
  assert.equal(
    shortLine({ ...health, path: "/props", status: 401, error }),
    "GET /props 401, 42 ms, authentication_error",
  );
});
