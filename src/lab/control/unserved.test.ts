import assert from "node:assert/strict";
import { test } from "node:test";
import { snapshotOf } from "../../cluster/index.ts";
import type { KubeObject } from "../../resources/index.ts";
import { unserved } from "./unserved.ts";

const service = (selector: object): KubeObject =>
  ({ apiVersion: "v1", kind: "Service", metadata: { name: "web", namespace: "shop" }, spec: { selector } }) as KubeObject;
const pod = (name: string, ready: boolean): KubeObject =>
  ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "shop", uid: `uid-${name}`, labels: { app: "web" } },
    spec: { containers: [] },
    status: { podIP: "10.244.0.2", conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
  }) as KubeObject;
const slice = (uid: string, ready: boolean): KubeObject =>
  ({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "web-1", namespace: "shop", labels: { "kubernetes.io/service-name": "web" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.244.0.2"], conditions: { ready }, targetRef: { kind: "Pod", name: "a", uid } }],
    ports: [],
  }) as KubeObject;

test("a ready pod that its Service selects is served once an end point says that it is ready", () => {
  const of = (...objects: KubeObject[]) => unserved(snapshotOf(objects));
  assert.deepEqual(of(service({ app: "web" }), pod("a", true)), ["shop/a"]);
  assert.deepEqual(of(service({ app: "web" }), pod("a", true), slice("uid-a", false)), ["shop/a"]);
  assert.deepEqual(of(service({ app: "web" }), pod("a", true), slice("uid-a", true)), []);
  assert.deepEqual(of(service({ app: "web" }), pod("a", false)), [], "one that is not ready is not waited for");
  assert.deepEqual(of(service({}), pod("a", true)), [], "a Service without selector is somebody else's");
});
