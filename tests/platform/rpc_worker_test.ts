/** Requests to workers, and the errors that come back. */
import assert from "node:assert/strict";
import * as errors from "../../src/errors.ts";
import type { QuantiserService } from "../../src/convert/quantiser_service.ts";
import { loadKernels } from "../../src/kernels/kernels.ts";
import { errorData, errorFrom } from "../../src/platform/rpc_server.ts";
import {
  RpcWorker,
  startWorkers,
  workerText,
} from "../../src/platform/rpc_worker.ts";

const { PlaceError, UsageError } = errors;
const options = {
  role: "quantiser",
  name: "culm test",
  foreign: (message: string) => new PlaceError(`Cannot test: ${message}`),
} as const;

const request = {
  bytes: new Uint8Array(4 * 32),
  from: "F32",
  to: "Q4_0",
  count: 32,
} as const;

Deno.test("every error of culm keeps its class and its name from thread to thread", () => {
  const classes = Object.entries(errors).flatMap(([name, value]) =>
    /Error$/.test(name) ? [[name, value as typeof PlaceError] as const] : []
  );
  assert(classes.length >= 9);
  for (const [name, type] of classes) {
    const error = new type("so it is");
    assert.equal(error.name, name);
    const posted = structuredClone(errorData(error));
    const arrived = errorFrom(posted, options.foreign);
    assert.equal(Object.getPrototypeOf(arrived), type.prototype);
    assert.equal(arrived.message, "so it is");
  }
  for (const name of ["RangeError", "constructor", "__proto__"]) {
    const arrived = errorFrom({ name, message: "broken" }, options.foreign);
    assert.equal(arrived.constructor, PlaceError);
    assert.equal(arrived.message, "Cannot test: broken");
  }
});

Deno.test("each request has its own answer or error, and buffers are handed over", async () => {
  const worker = new RpcWorker<QuantiserService>(await workerText(), options);
  try {
    // Before it has kernels it can do without them.
    const bytes = request.bytes.slice();
    const nan = new Uint8Array(new Float32Array(32).fill(NaN).buffer);
    const answers = [
      worker.call("store", [{ ...request, bytes }], [bytes.buffer]),
      worker.call("store", [{ ...request, bytes: nan }]),
      worker.call("store", [{ ...request, to: "Q4_K", count: 256 }]),
      worker.call("store", [request]),
    ];
    const [first, second, third, fourth] = await Promise.allSettled(answers);
    assert.equal(bytes.length, 0);
    assert(second.status === "rejected" && third.status === "rejected");
    assert.equal(second.reason.constructor, UsageError);
    assert.equal(third.reason.constructor, PlaceError);
    assert.match(third.reason.message, /^Cannot test: /);
    assert(first.status === "fulfilled" && fourth.status === "fulfilled");
    assert.equal(first.value.length, 18);
    assert.deepEqual(first.value, fourth.value);
  } finally {
    worker.terminate(new Error("done"));
  }
  await assert.rejects(worker.call("store", [request]), /^Error: done$/);
});

Deno.test("a request that cannot be posted fails those before it and those after it", async () => {
  const worker = new RpcWorker<QuantiserService>(await workerText(), options);
  const bytes = request.bytes.slice();
  structuredClone(bytes, { transfer: [bytes.buffer] });
  const answers = await Promise.allSettled([
    worker.call("store", [request]),
    worker.call("store", [{ ...request, bytes }], [bytes.buffer]),
    worker.call("store", [request]),
  ]);
  for (const answer of answers) {
    assert(answer.status === "rejected");
    assert.equal(answer.reason.constructor, PlaceError);
    assert.match(answer.reason.message, /^Cannot test: /);
  }
  worker.terminate(new Error("done"));
});

Deno.test("where one worker cannot be made ready there is none", async () => {
  const { module } = await loadKernels();
  let started = 0;
  const start = (worker: RpcWorker<QuantiserService>) =>
    started++ === 1
      ? Promise.reject(new PlaceError("not this one"))
      : worker.call("start", [module]);
  assert.deepEqual(await startWorkers(3, options, start), []);
  assert.equal(started, 3);
});
