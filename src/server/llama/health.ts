/** `/health`. */
import { RequestError } from "../errors.ts";
import type { ServerApp, ServerContext } from "../server_context.ts";

/** Registers `/health`: 200 as long as requests are answered. */
export function healthRoutes(
  app: ServerApp,
  { models, stopping }: ServerContext,
): void {
  app.on("GET", ["/health", "/v1/health"], (call) => {
    models.check();
    if (stopping.aborted) {
      throw new RequestError(503, "The server is stopping");
    }
    return call.json({ status: "ok" });
  });
}
