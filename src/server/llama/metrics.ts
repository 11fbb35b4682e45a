/** `/metrics`. */
import { RequestError } from "../errors.ts";
import type { ServerApp, ServerContext } from "../server_context.ts";

/** Registers `/metrics`, in Prometheus' text format. */
export function metricsRoutes(
  app: ServerApp,
  { models, queue, metrics, options }: ServerContext,
): void {
  app.get("/metrics", (call) => {
    if (!options.metrics) {
      throw new RequestError(501, "Cannot give metrics: --metrics gives them");
    }
    const loaded = models.loaded.map(({ model }) => model);
    call.header("content-type", "text/plain; version=0.0.4");
    const started = Math.floor(metrics.startedAt / 1000);
    call.header("process-start-time-unix", String(started));
    return call.body(metrics.write(loaded, queue));
  });
}
