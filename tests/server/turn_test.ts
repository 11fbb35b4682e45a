import assert from "node:assert/strict";
import { beginTurn } from "../../src/server/turn.ts";
import { serverOptions } from "../../src/server/options.ts";
import { checkOptions } from "../../src/options.ts";
import type { Models } from "../../src/server/models.ts";
import { RequestRecord } from "../../src/server/request_record.ts";
import { RequestQueue } from "../../src/server/request_queue.ts";
import type { ServerContext } from "../../src/server/server_context.ts";

const take = () => Promise.resolve({ [Symbol.dispose]: () => {} });

/** A server without a model. */
function contextOf(signal: AbortSignal, options = {}): ServerContext {
  return {
    models: { take } as unknown as Models,
    queue: new RequestQueue(1, 0),
    options: checkOptions("createServer", serverOptions, options),
    signal,
  } as ServerContext;
}

const record = new RequestRecord(
  new Request("http://localhost"),
  false,
  () => {},
);

const none = new AbortController().signal;

Deno.test("a turn ends with its client, its server and its time, by the reason of each", async () => {
  const client = new AbortController(), server = new AbortController();
  const asker = { client: "", signals: [client.signal], record };
  const context = contextOf(server.signal);
  for (const each of [client, server]) {
    const { turn } = await beginTurn(context, asker, () => {});
    using _ = turn;
    assert.equal(turn.signal.aborted, false);
    const reason = new Error("enough");
    each.abort(reason);
    assert.equal(turn.signal.reason, reason);
    if (each === client) Object.assign(asker, { signals: [] });
  }
  const hasty = contextOf(none, { timeLimit: 0.001 });
  const { turn } = await beginTurn(hasty, asker, () => {});
  using _ = turn;
  await new Promise((resolve) =>
    turn.signal.addEventListener("abort", resolve, { once: true })
  );
  assert.match(turn.signal.reason.message, /more than 0\.001 seconds/);
});

Deno.test("a request that is refused gives its model back", async () => {
  let held = 0;
  const models = {
    take() {
      held++;
      return Promise.resolve({ [Symbol.dispose]: () => held-- });
    },
  } as unknown as Models;
  const context = { ...contextOf(none), models } as ServerContext;
  const asker = { client: "", signals: [], record };
  const wrong = () => {
    throw new Error("wrong");
  };
  await assert.rejects(beginTurn(context, asker, wrong), /wrong/);
  const { turn } = await beginTurn(context, asker, () => {});
  await assert.rejects(beginTurn(context, asker, () => {}), /requests wait/);
  assert.equal(held, 1);
  turn[Symbol.dispose]();
  assert.equal(held, 0);
});

Deno.test("turns that have ended take no memory, however long their server runs", async () => {
  const script = `
    import { beginTurn } from ${JSON.stringify(moduleUrl("turn.ts"))};
    const { signal } = new AbortController();
    const take = () => Promise.resolve({ [Symbol.dispose]() {} });
    const queue = { enter: () => ({ [Symbol.dispose]() {} }) };
    const context = { models: { take }, queue, options: { timeLimit: 60 }, signal };
    const record = { hold: () => ({ [Symbol.dispose]() {} }) };
    const asker = { client: "", signals: [signal], record };
    async function turns(count) {
      for (let i = 0; i < count; i++) {
        const { turn } = await beginTurn(context, asker, () => {});
        turn[Symbol.dispose]();
        if (i % 1000 === 0) await new Promise((r) => setTimeout(r, 0));
      }
      gc();
      return Deno.memoryUsage().heapUsed;
    }
    const before = await turns(2000);
    console.log((await turns(20000) - before) / 20000);
  `;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--v8-flags=--expose-gc", script],
    cwd: new URL("../..", import.meta.url),
  }).output();
  const bytes = new TextDecoder().decode(stdout);
  assert.notEqual(bytes, "", new TextDecoder().decode(stderr));
  assert.ok(Number(bytes) < 50, `${bytes} bytes a turn`);
});

function moduleUrl(name: string): string {
  return new URL(`../../src/server/${name}`, import.meta.url).href;
}
