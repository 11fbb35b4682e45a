import assert from "node:assert/strict";
import { ClientLimits, type Limits } from "../../src/gateway/client_limits.ts";
import { RequestError } from "../../src/server/errors.ts";

const none: Limits = {
  maxParallelRequests: 0,
  requestsPerMinute: 0,
  tokensPerMinute: 0,
};

/** Limits, by a clock that is set. */
function limited(limits: Partial<Limits>) {
  const clock = { ms: 0 };
  const all = new ClientLimits({ ...none, ...limits }, () => clock.ms);
  const refused = (client: string, tokens = 0) => {
    try {
      using _ = all.enter(client, tokens);
      return "let in";
    } catch (error) {
      assert.ok(error instanceof RequestError);
      return `${error.status} ${error.details.retryAfter}`;
    }
  };
  return { all, clock, refused };
}

Deno.test("as many requests at a time as a client may have, each client by itself", () => {
  const { all, refused } = limited({ maxParallelRequests: 2 });
  const [first, second] = [all.enter("a", 0), all.enter("a", 0)];
  assert.equal(refused("a"), "429 1");
  assert.equal(refused("b"), "let in");
  first[Symbol.dispose]();
  assert.equal(refused("a"), "let in");
  second[Symbol.dispose]();
});

Deno.test("a minute's requests come back evenly, and no more than a minute's", () => {
  const { clock, refused } = limited({ requestsPerMinute: 3 });
  const asks = (count: number) =>
    Array.from({ length: count }, () => refused("a"));
  assert.deepEqual(asks(4), ["let in", "let in", "let in", "429 20"]);
  clock.ms = 15_000;
  assert.deepEqual(asks(1), ["429 5"]);
  clock.ms = 20_000;
  assert.deepEqual(asks(2), ["let in", "429 20"]);
  clock.ms = 1e9;
  assert.deepEqual(asks(4), ["let in", "let in", "let in", "429 20"]);
});

Deno.test("tokens count before they are written, and what is refused takes nothing", () => {
  const { clock, refused } = limited({
    requestsPerMinute: 9,
    tokensPerMinute: 600,
  });
  assert.equal(refused("a", 601), "413 undefined");
  assert.equal(refused("a", 500), "let in");
  assert.equal(refused("a", 200), "429 10");
  assert.equal(refused("a", 100), "let in");
  clock.ms = 10_000;
  assert.equal(refused("a", 100), "let in");
  assert.equal(refused("a", 1), "429 1");
});

Deno.test("of clients that ask for nothing any more ten thousand are remembered, the last ones", () => {
  const { all, refused } = limited({ requestsPerMinute: 1 });
  const running = all.enter("running", 0);
  for (let i = 0; i < 10_010; i++) refused(`${i}`);
  assert.equal(all.size, 10_001);
  assert.equal(refused("running"), "429 60");
  assert.equal(refused("10009"), "429 60");
  assert.equal(refused("0"), "let in");
  running[Symbol.dispose]();
});
