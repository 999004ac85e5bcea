// Traces to Services in each of the nodes' modes: the same end, told in the mode's own words.
import assert from "node:assert/strict";
import { test } from "node:test";
import { node, service, slice } from "../../test/service-objects.ts";
import { type ClusterSnapshot, snapshotOf } from "../cluster/index.ts";
import { SERVICE_MODES, type ServiceMode } from "../plan/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { trace } from "./index.ts";

function cluster(mode: ServiceMode, ...more: KubeObject[]): ClusterSnapshot {
  const place = (number: number) =>
    node(`node-${number}`, [`10.244.${number}.0/24`], [`10.112.0.5${number}`], {
      "fairlead.dev/services": mode,
      "flannel.alpha.coreos.com/backend-data": `{"VNI":1,"VtepMAC":"02:00:00:00:00:0${number}"}`,
    });
  const pod = (name: string, number: number, ip: string) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "shop", name, labels: { app: name } },
    spec: { nodeName: `node-${number}`, containers: [{ name: "c", ports: [{ containerPort: 8080 }] }] },
    status: { phase: "Running", podIP: ip, podIPs: [{ ip }] },
  });
  return snapshotOf([
    place(1),
    place(2),
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
    pod("front", 1, "10.244.1.2"),
    pod("back", 2, "10.244.2.2"),
    service("back", { type: "NodePort", clusterIP: "10.96.0.50", clusterIPs: ["10.96.0.50"], ports: [{ port: 80, nodePort: 30_080 }] }),
    slice("back", { endpoints: [{ address: "10.244.2.2", node: "node-2" }], port: 8080 }),
    service("nobody", { clusterIP: "10.96.0.51", clusterIPs: ["10.96.0.51"], ports: [{ port: 80 }] }),
    ...more,
  ] as KubeObject[]);
}

const deny = (podSelector: object, policyTypes: readonly string[]) =>
  ({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { namespace: "shop", name: "deny" },
    spec: { podSelector, policyTypes },
  }) as KubeObject;

for (const mode of SERVICE_MODES) {
  const ask = (from: string, to: string, ...more: KubeObject[]) => {
    const snapshot = cluster(mode, ...more);
    return trace(snapshot, { from, to, protocol: "tcp" });
  };
  test(`${mode}: a pod, a node and the outside reach the end point, and it is told by what`, () => {
    for (const [from, to] of [
      ["shop/front", "svc/shop/back:80"],
      ["node/node-1", "svc/shop/back:80"],
      ["outside", "10.112.0.51:30080"],
    ] as const) {
      const { verdict, hops } = ask(from, to);
      assert.equal(verdict, "delivered", `${from}: ${hops.map(({ says }) => says).join("\n")}`);
      const told = hops.find(({ stage }) => stage === "service")?.says ?? "";
      assert.match(told, /10\.244\.2\.2:8080/);
      if (mode === "ipvs") assert.match(told, /virtual service of IPVS \(rr/);
    }
  });

  test(`${mode}: a Service without end points refuses`, () => {
    assert.equal(ask("shop/front", "svc/shop/nobody:80").verdict, "rejected");
    assert.equal(ask("node/node-1", "svc/shop/nobody:80").verdict, "rejected");
  });

  test(`${mode}: policies hold behind it, for what leaves and for what comes in`, () => {
    for (const policy of [deny({ matchLabels: { app: "front" } }, ["Egress"]), deny({ matchLabels: { app: "back" } }, ["Ingress"])]) {
      const { verdict, reason } = ask("shop/front", "svc/shop/back:80", policy);
      assert.deepEqual([verdict, /deny/.test(reason)], ["dropped", true], reason);
    }
  });
}
