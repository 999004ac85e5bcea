// Connections that are open when a policy denies them: they are cut, also those through a Service and from another node; what is allowed goes on.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type PodName, podAddress, ServiceNetwork } from "../../test/service-network.ts";
import { service, slice } from "../../test/service-objects.ts";
import { snapshotOf } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { createFlowCutter, type FlowCutter } from "./flow-cutter.ts";

const skip = process.getuid?.() !== 0 ? "NOT RUN: it needs root, or root of a user namespace" : false;
const NODES = ["node-1", "node-2"] as const;
/** Without an answer for so long, a connection is cut. */
const SILENCE_MS = 3000;

const pod = (name: PodName, node: (typeof NODES)[number]) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "shop", name, labels: { pod: name } },
  spec: { nodeName: node, containers: [] },
  status: { phase: "Running", podIPs: [{ ip: podAddress(name) }] },
});
const CLUSTER = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
  pod("a", "node-1"),
  pod("b", "node-1"),
  pod("c", "node-2"),
  pod("d", "node-1"),
  service("chat", { clusterIP: "10.96.0.81", ports: [{ port: 80 }] }),
  slice("chat", { endpoints: [{ address: podAddress("a"), node: "node-1" }], port: 8081 }),
];
const only = (peer: PodName) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { namespace: "shop", name: "only" },
  spec: { podSelector: { matchLabels: { pod: "a" } }, ingress: [{ from: [{ podSelector: { matchLabels: { pod: peer } } }] }] },
});

let net: ServiceNetwork;
let cutters: FlowCutter[];
before(() => {
  if (skip) return;
  net = new ServiceNetwork();
  cutters = NODES.map((node) => createFlowCutter(net.at(node).conntrack, (message) => assert.fail(message)));
});
after(() => {
  for (const cutter of cutters ?? []) cutter.close();
  net?.close();
});

/** What an agent does with new objects: the kernel first, then the flows. */
function follow(...objects: object[]): void {
  const all = objects as KubeObject[];
  net.set(all);
  for (const cutter of cutters) cutter.follow(snapshotOf(all), true);
}

test("an open connection that a new policy denies is cut, and one that it allows goes on", { skip }, async () => {
  follow(...CLUSTER);
  const held = {
    far: await net.hold("c", podAddress("a"), 8081),
    near: await net.hold("b", podAddress("a"), 8081),
    service: await net.hold("b", "10.96.0.81", 80),
    allowed: await net.hold("d", podAddress("a"), 8081),
    allowedService: await net.hold("d", "10.96.0.81", 80),
  };
  for (const each of Object.values(held)) assert.equal(await each.say("before"), "before");
  follow(...CLUSTER, only("d"));
  // One look at once, one more a moment later.
  await new Promise((resolve) => setTimeout(resolve, 300));
  const after = async (name: keyof typeof held) =>
    await held[name].say("after", name.startsWith("allowed") ? undefined : SILENCE_MS).then(
      () => "goes on",
      () => "cut",
    );
  // What a denied connection's server still has to say does not bring it back the other way round.
  const names = Object.keys(held) as (keyof typeof held)[];
  assert.deepEqual(Object.fromEntries(await Promise.all(names.map(async (name) => [name, await after(name)]))), {
    far: "cut",
    near: "cut",
    service: "cut",
    allowed: "goes on",
    allowedService: "goes on",
  });
  for (const each of Object.values(held)) each.close();
});
