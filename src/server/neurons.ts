/** `/v1/neurons`: which neurons fire while the server computes, as server-sent events. */
// @ts-types="../std/base64.d.ts"
import { encodeBase64 } from "deno-std/encoding/base64.js";
import { RequestError } from "./errors.ts";
import { eventStream, type StreamEvent } from "./event_stream.ts";
import type { FiredNeurons, NeuronWatch } from "../engine/neuron_watch.ts";
import { isSparse } from "../model/activation.ts";
import type { Model } from "../model/model.ts";
import type { NeuronOrder } from "../plan/neuron_order.ts";
import { followAborts } from "../platform/abort.ts";
import {
  askerOf,
  type ServerApp,
  type ServerCall,
  type ServerContext,
} from "./server_context.ts";

/** Ms between two events. */
const interval = 100;

/** Those who watch at the same time: each has counters of all neurons of its own. */
const mostWatchers = 16;

/** Groups of neurons that a layer is told in. */
const defaultBuckets = 256, mostBuckets = 1024;

/** Registers `/v1/neurons`. Neurons are counted as long as somebody reads it. */
export function neuronRoutes(app: ServerApp, context: ServerContext): void {
  let watchers = 0;
  app.get("/v1/neurons", async (call) => {
    const buckets = bucketsOf(call);
    if (watchers >= mostWatchers) {
      throw new RequestError(503, `${mostWatchers} clients watch already`, {
        retryAfter: 1,
      });
    }
    const { id, model: { model, engine }, closing } = context.models.watched(
      call.req.query("model"),
    );
    watchers++;
    const { signals, record } = askerOf(call);
    record.model = id;
    const held = record.hold();
    const gone = new AbortController();
    const following = followAborts(gone, [
      context.stopping,
      closing,
      ...signals,
    ]);
    const { signal } = gone;
    try {
      const watch = await engine.watchNeurons();
      const close = () => {
        watchers--;
        following[Symbol.dispose]();
        watch[Symbol.dispose]();
        held[Symbol.dispose]();
      };
      return eventStream(events(watch, { model, buckets, signal, close }), {
        pingInterval: context.options.pingInterval,
        onGone: () => gone.abort(),
        signal,
        mostWaiting: 1,
      });
    } catch (error) {
      watchers--;
      following[Symbol.dispose]();
      held[Symbol.dispose]();
      throw error;
    }
  });
}

function bucketsOf({ req }: ServerCall): number {
  const text = req.query("buckets") ?? String(defaultBuckets);
  const buckets = Number(text);
  if (/^\d+$/.test(text) && buckets >= 1 && buckets <= mostBuckets) {
    return buckets;
  }
  throw new RequestError(
    400,
    `Cannot use buckets ${
      JSON.stringify(text)
    }: needs a whole number from 1 to ${mostBuckets}`,
    { param: "buckets" },
  );
}

/** How a watch is told. */
interface Telling {
  readonly model: Model;
  readonly buckets: number;
  readonly signal: AbortSignal;
  readonly close: () => void;
}

async function* events(
  watch: NeuronWatch,
  { model, buckets, signal, close }: Telling,
): AsyncGenerator<StreamEvent, void, void> {
  let told: readonly NeuronOrder[] | undefined;
  try {
    while (!signal.aborted) {
      const fired = await watch.next();
      if (fired && fired.orders !== told) {
        told = fired.orders;
        yield { event: "layers", data: layersOf(model, told, buckets) };
      }
      if (fired) {
        yield { event: "fired", data: firedOf(model, fired, buckets) };
      }
      await pause(signal);
    }
  } finally {
    close();
  }
}

function pause(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(done, interval);
  signal.addEventListener("abort", done, { once: true });
  function done(): void {
    clearTimeout(timer);
    signal.removeEventListener("abort", done);
    resolve();
  }
  return promise;
}

/** What of each layer is counted: neurons that are not zero, or gates above zero where none ever is. */
function countedOf({ activation }: Model): "active" | "gatePositive" {
  return isSparse(activation) ? "active" : "gatePositive";
}

/** What an event `layers` says: of each layer its neurons, and how many of these the GPU holds and are hot. */
function layersOf(
  model: Model,
  orders: readonly NeuronOrder[],
  buckets: number,
) {
  return {
    counted: countedOf(model),
    buckets: Math.min(buckets, model.feedForwardSize),
    layers: orders.map(({ order, gpu, hot }) => ({
      neurons: order.length,
      gpu,
      hot,
    })),
  };
}

/**
 * What an event `fired` says of some tokens. `buckets`, `[layers, buckets]` bytes
 * in base64, has what share of each bucket's neurons fired, 255 for all; none
 * is 0 and anything more. A layer's neurons stand in it as `layers` counts them:
 * the GPU's, which are not counted, the hot ones, the others. `hot` and `cold`
 * are the shares of the CPU's neurons that fired.
 */
function firedOf(
  model: Model,
  { tokens, layers, orders }: FiredNeurons,
  asked: number,
) {
  const buckets = Math.min(asked, model.feedForwardSize);
  const bytes = new Uint8Array(layers.length * buckets);
  const shares = layers.map((counts, layer) => {
    const { order, gpu, hot } = orders[layer];
    const fired = counts[countedOf(model)];
    const sum = (start: number, end: number) => {
      let sum = 0;
      for (let i = start; i < end; i++) sum += fired[order[i]];
      return sum;
    };
    const share = (start: number, end: number) =>
      end > start ? sum(start, end) / (tokens * (end - start)) : 0;
    for (let i = 0; i < buckets; i++) {
      const start = Math.floor(i * order.length / buckets);
      const end = Math.floor((i + 1) * order.length / buckets);
      bytes[layer * buckets + i] = Math.ceil(255 * share(start, end));
    }
    return {
      hot: rounded(share(gpu, gpu + hot)),
      cold: rounded(share(gpu + hot, order.length)),
    };
  });
  return { tokens, layers: shares, buckets: encodeBase64(bytes) };
}

/** A share, to 1 in 10,000. */
function rounded(share: number): number {
  return Math.round(1e4 * share) / 1e4;
}
