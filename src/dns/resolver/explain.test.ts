import assert from "node:assert/strict";
import { test } from "node:test";
import { snapshotOf } from "../../cluster/index.ts";
import type { KubeObject } from "../../resources/index.ts";
import { explainName } from "./explain.ts";

const namespace = (name: string) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
const service = (name: string, spec: object, ns = "shop") => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace: ns },
  spec,
});
const pod = (name: string, ip: string) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: "shop" },
  spec: { containers: [] },
  status: { phase: "Running", podIPs: [{ ip }] },
});
const slice = (of: string, endpoints: object[]) => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { name: `${of}-1`, namespace: "shop", labels: { "kubernetes.io/service-name": of } },
  addressType: "IPv4",
  endpoints,
  ports: [{ name: "sql", port: 3306, protocol: "TCP" }],
});
const point = (name: string, address: string, ready = true) => ({
  addresses: [address],
  hostname: name,
  conditions: { ready },
  targetRef: { kind: "Pod", name },
});
const snapshot = snapshotOf([
  namespace("shop"),
  namespace("data"),
  service("web", { clusterIP: "10.96.1.1", ports: [{ name: "http", port: 80 }] }),
  service("db", { clusterIP: "None", ports: [{ name: "sql", port: 3306 }] }),
  service("away", { type: "ExternalName", externalName: "db.example.org" }),
  service("ill", { clusterIP: "None" }),
  service("cache", { clusterIP: "10.96.1.2" }, "data"),
  pod("db-0", "10.244.0.5"),
  slice("db", [point("db-0", "10.244.0.5"), point("db-1", "10.244.0.6", false)]),
  slice("ill", [point("ill-0", "10.244.0.7", false)]),
] as unknown as KubeObject[]);

const cases: [string, string, string[]][] = [
  ["web.shop.svc.cluster.local.", "the cluster address of Service shop/web", ["Service web"]],
  ["WEB.shop.svc.cluster.local.", "the cluster address of Service shop/web", ["Service web"]],
  ["_http._tcp.web.shop.svc.cluster.local.", "port http/tcp of Service shop/web", ["Service web"]],
  ["_ftp._tcp.web.shop.svc.cluster.local.", "Service shop/web has no port ftp/tcp", []],
  ["db.shop.svc.cluster.local.", "1 ready end point of Service shop/db", ["Service db", "EndpointSlice db-1", "Pod db-0"]],
  ["db-0.db.shop.svc.cluster.local.", "1 ready end point of db-0 of Service shop/db", ["Service db", "EndpointSlice db-1", "Pod db-0"]],
  [
    "10-244-0-5.db.shop.svc.cluster.local.",
    "1 ready end point of 10-244-0-5 of Service shop/db",
    ["Service db", "EndpointSlice db-1", "Pod db-0"],
  ],
  ["db-1.db.shop.svc.cluster.local.", "no ready end point of db-1 of Service shop/db: 1 is not ready", ["Service db"]],
  ["ill.shop.svc.cluster.local.", "no ready end point of Service shop/ill: 1 is not ready", ["Service ill"]],
  ["away.shop.svc.cluster.local.", "Service shop/away is another name of db.example.org", ["Service away"]],
  ["x.away.shop.svc.cluster.local.", "Service shop/away is an ExternalName: nothing stands below it", []],
  ["cache.shop.svc.cluster.local.", "there is no Service shop/cache; there is one in data", []],
  ["web.none.svc.cluster.local.", "there is no namespace none", []],
  ["example.com.cluster.local.", "below cluster.local there are svc and pod only", []],
  ["shop.svc.cluster.local.", "a namespace: Services stand below it", ["Namespace shop"]],
  ["svc.cluster.local.", "a name without addresses: Services stand below it", []],
  ["10-244-0-5.shop.pod.cluster.local.", "the address of pod shop/db-0", ["Pod db-0"]],
  ["10-244-0-9.shop.pod.cluster.local.", "no pod of shop has the address 10.244.0.9", []],
  ["what.shop.pod.cluster.local.", "what is no address with dashes", []],
  ["1.1.96.10.in-addr.arpa.", "the cluster address of Service shop/web", ["Service web"]],
  ["5.0.244.10.in-addr.arpa.", "an end point of Service shop/db", ["EndpointSlice db-1"]],
  ["9.9.9.9.in-addr.arpa.", "no Service and no end point has the address 9.9.9.9", []],
];
for (const [name, says, objects] of cases)
  test(`${name}: ${says}`, () => {
    const origin = explainName(snapshot, name, "cluster.local");
    assert.equal(origin?.says, says);
    assert.deepEqual(
      origin?.objects.map((object) => `${object.kind} ${object.name}`),
      objects,
    );
  });

test("names beyond the cluster are not explained", () => {
  for (const name of ["example.com.", "cluster.localx.", "notcluster.local.", "in-addr.arpa."])
    assert.equal(explainName(snapshot, name, "cluster.local"), undefined, name);
});
