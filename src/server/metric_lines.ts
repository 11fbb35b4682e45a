/** Figures in Prometheus' text format. */

/** What a figure is where there is one of each of several: by its labels, as `name="value"`. */
export type ByLabels = readonly (readonly [labels: string, value: number])[];

/** One figure: what it is called, what it says, and its value. */
export type Metric = readonly [
  name: string,
  help: string,
  value: number | ByLabels,
];

/** The lines of some figures, whose names begin with a prefix. */
export function metricLines(
  prefix: string,
  type: "counter" | "gauge",
  metrics: readonly Metric[],
): string[] {
  return metrics.map(([name, help, value]) => {
    const full = `${prefix}:${name}`;
    const lines = typeof value === "number"
      ? [`${full} ${value}\n`]
      : value.map(([labels, each]) => `${full}{${labels}} ${each}\n`);
    return `# HELP ${full} ${help}\n# TYPE ${full} ${type}\n${lines.join("")}`;
  });
}

/** How busy a server is, by the names that vLLM's have, which gateways read. */
export function loadGauges(
  running: number,
  waiting: number,
  cacheUsage: number,
): Metric[] {
  return [
    ["num_requests_running", "Number of requests that are answered", running],
    ["num_requests_waiting", "Number of requests that wait", waiting],
    ["kv_cache_usage_perc", "Share of the KV cache that is used", cacheUsage],
  ];
}
