/** What a gateway does, for Prometheus. */
import {
  loadGauges,
  type Metric,
  metricLines,
} from "../server/metric_lines.ts";
import type { Fleet } from "./fleet.ts";
import type { Upstream } from "./upstream.ts";

/** What is counted by the gateway itself. */
export class GatewayMetrics {
  /** Requests that were sent to another upstream after one could not answer */
  retried = 0;

  /** All figures: those of vLLM's names are of all upstreams together. */
  write(fleet: Fleet, underway: number): string {
    const upstreams = fleet.all;
    const each = (figure: (upstream: Upstream) => number | boolean) =>
      upstreams.map((upstream) =>
        [`upstream="${upstream.url}"`, Number(figure(upstream))] as const
      );
    const waiting = upstreams.reduce(
      (sum, { reported }) => sum + reported.waiting,
      0,
    );
    const usages = upstreams.map(({ reported }) => reported.cacheUsage);
    const gauges: Metric[] = [
      [
        "gateway_upstream_up",
        "Whether an upstream answers",
        each(({ isUp }) => isUp),
      ],
      [
        "gateway_upstream_requests_running",
        "Requests that an upstream was sent, and that have not ended",
        each(({ running }) => running),
      ],
      [
        "gateway_upstream_load",
        "The same, and those that others have sent it",
        each(({ load }) => load),
      ],
    ];
    const counters: Metric[] = [
      [
        "gateway_requests_total",
        "Requests that an upstream has begun to answer",
        each(({ answered }) => answered),
      ],
      [
        "gateway_failures_total",
        "Requests that an upstream could not be sent, or did not answer",
        each(({ failed }) => failed),
      ],
      [
        "gateway_retries_total",
        "Requests that were sent to another upstream",
        this.retried,
      ],
    ];
    const load = loadGauges(
      Math.max(0, underway - waiting),
      waiting,
      Math.max(0, ...usages),
    );
    return [
      ...metricLines("vllm", "gauge", load),
      ...metricLines("culm", "gauge", gauges),
      ...metricLines("culm", "counter", counters),
    ].join("");
  }
}
