/** `/health`. */
import type { ServerApp, ServerContext } from "../server_context.ts";

/** Registers `/health`: 200 as soon as requests are answered. */
export function healthRoutes(app: ServerApp, { models }: ServerContext): void {
  app.on("GET", ["/health", "/v1/health"], (call) => {
    models.check();
    return call.json({ status: "ok" });
  });
}
