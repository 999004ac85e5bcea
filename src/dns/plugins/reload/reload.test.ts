import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../../../test/patience.ts";
import { createMetrics } from "../../metrics.ts";
import type { Host } from "../../plugin.ts";
import { createReload } from "./reload.ts";

function host(reload: () => Promise<boolean>) {
  const logged: string[] = [];
  const metrics = createMetrics();
  const made = {
    metrics,
    log: (level: string, _plugin: string, text: string) => logged.push(`${level} ${text}`),
    random: () => 0.5,
    reload,
    digest: () => "abc",
  };
  return { host: made as unknown as Host, logged, metrics };
}

test("it looks again and again; a fault is told once and counted each time, and a change is told", async () => {
  const results: (boolean | Error)[] = [false, new Error("Corefile:1:1: bad"), new Error("Corefile:1:1: bad"), true];
  let looks = 0;
  const {
    host: of,
    logged,
    metrics,
  } = host(async () => {
    const result = results[looks++] ?? false;
    if (result instanceof Error) throw result;
    return result;
  });
  const plugin = createReload({ interval: 5, jitter: 0, host: of });
  plugin.start?.();
  await until(() => looks > 5);
  plugin.stop?.();
  const after = looks;
  assert.deepEqual(logged, ["error Corefile changed but reload failed: Corefile:1:1: bad", "info Reloading complete"]);
  assert.match(metrics.print(), /coredns_reload_failed_total 2\n/);
  assert.match(metrics.print(), /coredns_reload_version_info\{hash="sha512",value="abc"\} 1/);
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(looks, after, "it has stopped");
});
