// The guide's four policies do what the guide says: in a lab, one after the other, by real packets between all pods.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { LabStatus, MatrixAnswer, ProbeResult } from "../src/lab/index.ts";
import { makePlace } from "./fairlead.ts";
import { tryPairs } from "./matrix.ts";
import { eventually } from "./patience.ts";

const GUIDE = join(import.meta.dirname, "../examples/guide");

const namespace = (name: string) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels: { name } } });
const pod = (key: string, labels: object, ...ports: number[]) => {
  const [space, name] = key.split("/");
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: space, name, labels },
    spec: { containers: [{ name: "c", image: "x", ports: ports.map((containerPort) => ({ containerPort })) }] },
  };
};
const WORLD = [
  ...["production", "monitoring", "other"].map(namespace),
  pod("production/api", { app: "api-server", role: "backend" }, 8080),
  pod("production/worker", { app: "worker", role: "backend" }, 9090),
  pod("production/web", { app: "web", role: "frontend" }, 80),
  pod("production/mysql", { app: "mysql" }, 3306, 9100),
  pod("monitoring/prometheus", { app: "prometheus" }, 9090),
  pod("monitoring/grafana", { app: "grafana" }, 3000),
  pod("other/exporter", { app: "exporter", role: "backend" }, 9100, 8080),
];

type Expectation = (from: string, to: string, port: number) => boolean;
const inside = (end: string) => end.startsWith("production/");
const backend = (end: string) => end === "production/api" || end === "production/worker";
const itself = (from: string, to: string) => from === to;

/** Two of Kubernetes' own: production is closed, but its back ends talk to each other. */
const isolated: Expectation = (from, to) => !inside(to) || itself(from, to) || (backend(from) && backend(to));
const scrape = (from: string, port: number) => from === "monitoring/prometheus" && (port === 9090 || port === 9100);
/** And monitoring's Prometheus may scrape everybody; for everybody else, every pod is closed now that a policy selects it. */
const scraped: Expectation = (from, to, port) => itself(from, to) || scrape(from, port) || (backend(from) && backend(to));
/** And the API server may reach MySQL. */
const served: Expectation = (from, to, port) =>
  scraped(from, to, port) || (from === "production/api" && to === "production/mysql" && port === 3306);

const place = makePlace();

describe("the guide's policies", () => {
  before(() => {
    const file = join(place.directory, "world.json");
    writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items: WORLD }));
    return place.ok("lab", "up", file, "--nodes", "2");
  });
  after(() => place.close());

  const steps: readonly (readonly [string, string, Expectation])[] = [
    ["production is closed, its back ends reach each other", "network-policies.yaml", isolated],
    ["monitoring's Prometheus scrapes 9090 and 9100 everywhere", "calico-allow-prometheus-scraping.yaml", scraped],
    ["the API server alone reaches MySQL", "calico-db-access-policy.yaml", served],
  ];
  for (const [title, file, expected] of steps)
    test(title, async () => {
      await place.ok("lab", "up", join(GUIDE, file));
      const should = ({ from, to, port }: ProbeResult) => expected(from, to, port ?? 0);
      const calculated = await place.json<MatrixAnswer>("matrix", "--all", "--static");
      for (const [how, pairs] of Object.entries({ packets: await tryPairs(place, should), calculated: calculated.pairs })) {
        const named = pairs.filter(({ from, to }) => [from, to].every((end) => !end.startsWith("kube-system/")));
        assert.ok(named.length > 40, `${named.length} pairs`);
        const wrong = named.filter((pair) => (pair.verdict === "connected") !== should(pair));
        assert.deepEqual(
          wrong.map(({ from, to, port, verdict }) => `${from} → ${to}:${port} ${verdict}`),
          [],
          how,
        );
      }
    });

  test("what the API server sends to MySQL is logged, with the policy and its rule; what is denied is not", async () => {
    const noted = async () => {
      const { nodes } = await place.json<LabStatus>("lab", "status");
      return nodes.flatMap((node) => node.policyLog.recent).filter(({ to }) => to === "production/mysql");
    };
    const count = (await noted()).length;
    await place.fairlead("probe", "production/web", "production/mysql:3306", "--timeout", "300");
    assert.equal(
      (await place.json<ProbeResult>("probe", "production/api", "production/mysql:3306", "--timeout", "20000")).verdict,
      "connected",
    );
    assert.ok(await eventually(async () => (await noted()).length > count));
    for (const flow of await noted()) {
      assert.deepEqual([flow.from, flow.destinationPort, flow.protocol, flow.direction], ["production/api", 3306, "TCP", "ingress"]);
      assert.deepEqual(flow.policy, {
        kind: "NetworkPolicy.projectcalico.org",
        namespace: "production",
        name: "db-access-policy",
        rule: 0,
      });
    }
  });
});
