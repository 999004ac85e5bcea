// nodeSettings: who is heard first, and what is said about what can't be followed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { node } from "../../test/service-objects.ts";
import { snapshotOf } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { nodeSettings } from "./index.ts";

const said = (annotation?: string, config?: string) =>
  snapshotOf([
    node("node-1", [], [], annotation === undefined ? {} : { "fairlead.dev/services": annotation }),
    node("node-2", [], []),
    ...(config === undefined
      ? []
      : [
          {
            apiVersion: "v1",
            kind: "ConfigMap",
            metadata: { namespace: "kube-system", name: "fairlead" },
            data: { services: config },
          } as KubeObject,
        ]),
  ]);
const lacks = { services: { ipvs: "the kernel has none" } };

test("the node's annotation, else the cluster's ConfigMap, else the agent's option, else nftables", () => {
  const options = { services: "ipvs" as const };
  assert.equal(nodeSettings(said("iptables", "ipvs"), "node-1").services, "iptables");
  assert.equal(nodeSettings(said("iptables", "ipvs"), "node-2").services, "ipvs");
  assert.equal(nodeSettings(said(undefined, " iptables\n"), "node-2", { options }).services, "iptables");
  assert.equal(nodeSettings(said(), "node-1", { options }).services, "ipvs");
  assert.deepEqual(nodeSettings(said("", ""), "node-1"), { services: "nftables", network: "overlay", fastPath: "on", remarks: [] });
});

test("what is not known or not possible is a remark, and the next that is said holds", () => {
  assert.deepEqual(nodeSettings(said("ebtables", "iptables"), "node-1"), {
    services: "iptables",
    network: "overlay",
    fastPath: "on",
    remarks: [
      'Node node-1, annotation fairlead.dev/services: "ebtables" is not known and not followed; it may be nftables, iptables, ipvs',
    ],
  });
  assert.deepEqual(nodeSettings(said("ipvs"), "node-1", { lacks }), {
    services: "nftables",
    network: "overlay",
    fastPath: "on",
    remarks: ["Node node-1, annotation fairlead.dev/services: ipvs is not possible on this node and not followed: the kernel has none"],
  });
  assert.equal(nodeSettings(said("ipvs", "iptables"), "node-1", { lacks }).services, "iptables");
});

test("an Installation with a calicoNetwork asks for the routed network, before the agent's option", () => {
  const installation = (spec: object) =>
    ({ apiVersion: "operator.tigera.io/v1", kind: "Installation", metadata: { name: "default" }, spec }) as KubeObject;
  const asked = [node("node-1", [], []), node("node-2", [], [], { "fairlead.dev/network": "overlay" })];
  assert.equal(nodeSettings(snapshotOf([...asked, installation({ calicoNetwork: {} })]), "node-1").network, "routed");
  assert.equal(nodeSettings(snapshotOf([...asked, installation({ calicoNetwork: {} })]), "node-2").network, "overlay");
  assert.equal(nodeSettings(snapshotOf([...asked, installation({ cni: { type: "AmazonVPC" } })]), "node-1").network, "overlay");
  assert.equal(nodeSettings(snapshotOf(asked), "node-1", { options: { network: "routed" } }).network, "routed");
});

test("the fast path is there unless a node, or the cluster, says it is off", () => {
  const config = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace: "kube-system", name: "fairlead" },
    data: { "fast-path": "off" },
  } as KubeObject;
  const snapshot = snapshotOf([node("node-1", [], []), node("node-2", [], [], { "fairlead.dev/fast-path": "on" }), config]);
  assert.equal(nodeSettings(snapshot, "node-1").fastPath, "off");
  assert.equal(nodeSettings(snapshot, "node-2").fastPath, "on");
});
