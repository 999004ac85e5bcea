// The overlay's plan: how every other node's pods are reached, and what bad objects do to it (nothing, but a remark).
import assert from "node:assert/strict";
import { test } from "node:test";
import { node } from "../../../test/service-objects.ts";
import { snapshotOf } from "../../cluster/index.ts";
import type { KubeObject, Node } from "../../resources/index.ts";
import { planOverlay, podCidrs } from "./index.ts";

const FLANNEL = "flannel.alpha.coreos.com";
const vtep = (number: number) => ({ [`${FLANNEL}/backend-data`]: JSON.stringify({ VNI: 1, VtepMAC: `02:00:00:00:00:0${number}` }) });
const me = node("node-1", ["10.244.1.0/24", "fd00:10:244:1::/64"], ["10.112.0.51"]);
const near = node("node-2", ["10.244.2.0/24", "fd00:10:244:2::/64"], ["10.112.0.52"], vtep(2));
const far = node("node-3", ["10.244.3.0/24", "fd00:10:244:3::/64"], ["10.113.0.53"], vtep(3));

function flannel(configuration: unknown): KubeObject {
  const text = typeof configuration === "string" ? configuration : JSON.stringify(configuration);
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { namespace: "kube-flannel", name: "kube-flannel-cfg" },
    data: { "net-conf.json": text },
  } as KubeObject;
}

function planOf(objects: readonly KubeObject[], addresses: readonly string[] = ["10.112.0.51/24"]) {
  const facts = { node: "node-1", underlay: { link: "ens160", mtu: 1500, addresses }, hostLinks: ["veth1"] };
  const plan = planOverlay(snapshotOf(objects), facts);
  return {
    ...plan,
    routes: (plan.state.routes ?? []).map(({ destination, nexthops: [hop] }) => `${destination} ${hop?.via ?? "-"} ${hop?.link}`).sort(),
  };
}
const OWN = ["10.244.1.0/24 - cni0", "fd00:10:244:1::/64 - cni0"];

test("a peer is reached through the tunnel by neighbour, FDB entry and route", () => {
  const plan = planOf([me, near]);
  assert.deepEqual(plan.routes, [...OWN, "10.244.2.0/24 10.244.2.0 flannel.1", "fd00:10:244:2::/64 fd00:10:244:2:: flannel.1"].sort());
  assert.deepEqual(plan.state.fdb, [
    { link: "flannel.1", mac: "02:00:00:00:00:02", destination: "10.112.0.52", table: "self", permanent: true },
  ]);
  assert.deepEqual(
    plan.state.neighbours?.map(({ address, mac }) => `${address} ${mac}`),
    ["10.244.2.0 02:00:00:00:00:02", "fd00:10:244:2:: 02:00:00:00:00:02"],
  );
  assert.equal(plan.podMtu, 1450);
  assert.deepEqual(plan.remarks, []);
});

test("a peer that has not told its tunnel end is a remark", () => {
  const plan = planOf([me, node("node-2", ["10.244.2.0/24"], ["10.112.0.52"])]);
  assert.deepEqual(plan.routes, OWN);
  assert.match(plan.remarks.join(), /^node node-2 has not told its tunnel end yet/);
});

test("DirectRouting: straight where the peer is on the link in the network's own family, else the tunnel", () => {
  const direct = flannel({ Network: "10.244.0.0/16", Backend: { Type: "vxlan", DirectRouting: true } });
  assert.deepEqual(
    planOf([me, near, far, direct]).routes,
    [
      ...OWN,
      "10.244.2.0/24 10.112.0.52 ens160",
      "10.244.3.0/24 10.244.3.0 flannel.1",
      "fd00:10:244:2::/64 fd00:10:244:2:: flannel.1",
      "fd00:10:244:3::/64 fd00:10:244:3:: flannel.1",
    ].sort(),
  );
  const both = node("node-2", ["10.244.2.0/24", "fd00:10:244:2::/64"], ["10.112.0.52", "fd00:112::52"], vtep(2));
  const plan = planOf([me, both, direct], ["10.112.0.51/24", "fd00:112::51/64"]);
  assert.deepEqual(plan.routes, [...OWN, "10.244.2.0/24 10.112.0.52 ens160", "fd00:10:244:2::/64 fd00:112::52 ens160"].sort());
  assert.deepEqual(plan.state.fdb, []);
});

test("host-gw: no tunnel, no overhead; who can't be reached is a remark", () => {
  const plan = planOf([me, near, far, flannel({ Backend: { Type: "host-gw" } })]);
  assert.deepEqual(plan.routes, [...OWN, "10.244.2.0/24 10.112.0.52 ens160"].sort());
  assert.equal(plan.podMtu, 1500);
  assert.deepEqual(
    plan.state.links?.map(({ name }) => name),
    ["cni0", "veth1"],
  );
  assert.deepEqual(
    plan.remarks.map((remark) => remark.replace(/ on the link.*reach/, "").replace(/;.*/, "")),
    [
      "node node-2 has no IPv6 address fd00:10:244:2::/64",
      "node node-3 has no IPv4 address 10.244.3.0/24",
      "node node-3 has no IPv6 address fd00:10:244:3::/64",
    ],
  );
});

test("an IPv6 underlay: outer packets over IPv6, the larger overhead", () => {
  const peer = node("node-2", ["10.244.2.0/24"], ["fd00:112::52"], {
    [`${FLANNEL}/backend-v6-data`]: '{"VNI":1,"VtepMAC":"02:00:00:00:00:02"}',
  });
  const plan = planOf([me, peer], ["fd00:112::51/64"]);
  assert.equal(plan.podMtu, 1430);
  assert.equal(plan.state.fdb?.[0]?.destination, "fd00:112::52");
});

test("bad objects never stop the plan", () => {
  const peers: readonly [Node, RegExp][] = [
    [node("node-2", ["10.244.2.0/33"], ["10.112.0.52"], vtep(2)), /node-2: podCIDR "10\.244\.2\.0\/33" is no pod network/],
    [node("node-2", ["10.244.2.2/32"], ["10.112.0.52"], vtep(2)), /podCIDR "10\.244\.2\.2\/32" is no pod network/],
    [node("node-2", ["", "x", "10.244.2.0/24", "10.244.9.0/24"], ["10.112.0.52"], vtep(2)), /one pod network per address family/],
    [node("node-2", ["10.244.1.0/24"], ["10.112.0.52"], vtep(2)), /podCIDR 10\.244\.1\.0\/24 is node node-1's already/],
    [
      node("node-2", ["10.244.2.0/24"], ["10.112.0.52"], { ...vtep(2), [`${FLANNEL}/public-ip`]: "10.112.0" }),
      /public-ip "10\.112\.0" is no IPv4 address/,
    ],
    [
      node("node-2", ["10.244.2.0/24"], ["10.112.0.52"], { ...vtep(2), [`${FLANNEL}/public-ip`]: "fd00::1" }),
      /public-ip "fd00::1" is no IPv4 address/,
    ],
    [node("node-2", ["10.244.2.0/24"], ["here"], vtep(2)), /node-2 has no IPv4 address/],
    [node("node-2", ["10.244.2.0/24"], ["10.112.0.52"], { [`${FLANNEL}/backend-data`]: "{" }), /node-2 has not told its tunnel end/],
  ];
  for (const [peer, says] of peers) {
    const plan = planOf([me, peer, far]);
    assert.match(plan.remarks.join("\n"), says);
    assert.ok(plan.routes.includes("10.244.3.0/24 10.244.3.0 flannel.1"), String(says));
    assert.equal(new Set(plan.routes.map((route) => route.split(" ")[0])).size, plan.routes.length, "one route for a network");
  }
  assert.deepEqual(podCidrs(node("x", ["10.244.1.0/24", "nonsense", "fd00::/64"], [])), ["10.244.1.0/24", "fd00::/64"]);
});

test("the set of pod networks has no interval within another", () => {
  const wide = node("wide", ["10.244.0.0/16"], ["10.112.0.60"], vtep(6));
  const plan = planOf([me, near, wide, node("other", ["10.9.0.5/24"], [])]);
  const set = plan.table.sets.find(({ name }) => name === "pod-networks4");
  assert.deepEqual(
    set?.elements.map(({ key }) => key.join()),
    ["10.9.0.0/24", "10.244.0.0/16"],
  );
});

const CONFIGURATIONS: readonly [unknown, { readonly link: string; readonly port: number; readonly mtu: number }, RegExp][] = [
  [{ Network: "10.244.0.0/16", Backend: { Type: "vxlan" } }, { link: "flannel.1", port: 8472, mtu: 1450 }, /^$/],
  [{ Backend: { Type: "vxlan", VNI: 4096, Port: 4789 } }, { link: "flannel.4096", port: 4789, mtu: 1450 }, /^$/],
  [
    { Backend: { Type: "vxlan", VNI: "one" } },
    { link: "flannel.1", port: 8472, mtu: 1450 },
    /Backend\.VNI "one" is no number from 1 to 9999999; 1 is used/,
  ],
  [{ Backend: { Type: "vxlan", Port: 70_000 } }, { link: "flannel.1", port: 8472, mtu: 1450 }, /Backend\.Port "70000"/],
  [{ Backend: { Type: "udp" } }, { link: "flannel.1", port: 8472, mtu: 1450 }, /backend "udp" is not served; vxlan is used/],
  [{ Network: "10.244.0.0" }, { link: "flannel.1", port: 8472, mtu: 1450 }, /Network "10\.244\.0\.0" is no prefix/],
  [{ Netwrok: "10.244.0.0/16" }, { link: "flannel.1", port: 8472, mtu: 1450 }, /"Netwrok" is not known/],
  ["{ Network: 10.244.0.0/16 }", { link: "flannel.1", port: 8472, mtu: 1450 }, /not JSON/],
  ["[]", { link: "flannel.1", port: 8472, mtu: 1450 }, /not an object/],
  ["7", { link: "flannel.1", port: 8472, mtu: 1450 }, /not an object/],
];

test("Flannel's ConfigMap is followed, and what is not is a remark", () => {
  for (const [configuration, expected, says] of CONFIGURATIONS) {
    const plan = planOf([me, flannel(configuration)]);
    const tunnel = plan.state.links?.find(({ kind }) => kind.type === "vxlan");
    const port = tunnel?.kind.type === "vxlan" ? tunnel.kind.port : undefined;
    assert.deepEqual({ link: tunnel?.name, port, mtu: plan.podMtu }, expected, JSON.stringify(configuration));
    assert.match(plan.remarks.join("\n"), says);
  }
});
