import assert from "node:assert/strict";
import type { RequestError } from "../../src/server/errors.ts";
import { RequestQueue } from "../../src/server/request_queue.ts";

const never = new AbortController().signal;

/** Lets what is settled go on. */
const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("clients take turns, and each one's texts keep their order", async () => {
  const queue = new RequestQueue(1, 10);
  const first = await queue.enter("").place(never);
  const served: string[] = [];
  for (const client of ["a", "a", "a", "b", "c", "b"]) {
    const ticket = queue.enter(client);
    ticket.place(never).then(async (place) => {
      served.push(client);
      await turn();
      place[Symbol.dispose]();
      ticket[Symbol.dispose]();
    });
  }
  assert.equal(queue.waiting, 6);
  first[Symbol.dispose]();
  while (served.length < 6) await turn();
  assert.deepEqual(served, ["a", "b", "c", "a", "b", "a"]);
  await turn();
  assert.deepEqual([queue.running, queue.waiting], [0, 0]);
});

Deno.test("too many that wait are refused, and told when to come back", async () => {
  const queue = new RequestQueue(2, 1);
  const tickets = ["a", "b", "c"].map((client) => queue.enter(client));
  const places = await Promise.all(
    tickets.slice(0, 2).map((ticket) => ticket.place(never)),
  );
  assert.throws(() => queue.enter("d"), (error: RequestError) => {
    assert.equal(error.status, 503);
    assert.ok(error.details.retryAfter! >= 1);
    return true;
  });
  // One text more of a request that runs is no request that waits.
  const more = tickets[0].place(never);
  const third = tickets[2].place(never);
  places[0][Symbol.dispose]();
  places[1][Symbol.dispose]();
  for (const place of [await more, await third]) place[Symbol.dispose]();
  for (const ticket of tickets) ticket[Symbol.dispose]();
  queue.enter("d")[Symbol.dispose]();
});

Deno.test("who goes away leaves the line, also in the moment of being served", async () => {
  const queue = new RequestQueue(1, 10);
  const ticket = queue.enter("a");
  const place = await ticket.place(never);
  const gone = new AbortController();
  const waits = queue.enter("b").place(gone.signal);
  gone.abort(new Error("gone"));
  await assert.rejects(waits, /gone/);

  const late = new AbortController();
  const granted = queue.enter("c").place(late.signal);
  place[Symbol.dispose]();
  late.abort(new Error("late"));
  await granted.then((place) => place[Symbol.dispose](), () => {});
  await turn();
  assert.equal(queue.running, 0);
});

Deno.test("a queue that is closed takes nobody in, and ends when the last has gone", async () => {
  const queue = new RequestQueue(1, 10);
  const ticket = queue.enter("a");
  let isClosed = false;
  const closed = queue.close().then(() => isClosed = true);
  assert.throws(() => queue.enter("b"), /stopping/);
  await turn();
  assert.equal(isClosed, false);
  ticket[Symbol.dispose]();
  await closed;
  await queue.close();
});
