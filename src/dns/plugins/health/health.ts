// Says by HTTP that the server is alive, and lets it serve on for a while when it is told to end.
import { TIME_BUCKETS } from "../../metrics.ts";
import type { Host, Installed } from "../../plugin.ts";

export interface HealthOptions {
  readonly address: string;
  readonly port: number;
  /** Milliseconds. */
  readonly lameduck: number;
  readonly host: Host;
}

const LOOK_EVERY = 1000;

export function createHealth({ address, port, lameduck, host }: HealthOptions): Installed {
  const { metrics, log, now } = host;
  const durations = metrics.histogram(
    "coredns_health_request_duration_seconds",
    "Histogram of the time (in seconds) each request took.",
    [],
    TIME_BUCKETS,
  );
  metrics.counter("coredns_health_request_failures_total", "The number of times the health check failed.", []).with();
  let timer: NodeJS.Timeout | undefined;
  let expected = 0;
  return {
    http: [{ address, port, path: "/health", respond: () => ({ status: 200, body: "OK" }) }],
    start: () => {
      expected = now() + LOOK_EVERY;
      // A request to itself waits as long as the event loop is late.
      timer = setInterval(() => {
        durations.with().observe(Math.max(0, now() - expected) / 1000);
        expected = now() + LOOK_EVERY;
      }, LOOK_EVERY).unref();
    },
    retire: async () => {
      if (lameduck === 0) return;
      log("info", "health", `Going into lameduck mode for ${lameduck / 1000}s`);
      await new Promise((resolve) => setTimeout(resolve, lameduck));
    },
    stop: () => clearInterval(timer),
  };
}
