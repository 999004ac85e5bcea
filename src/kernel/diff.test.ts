// The difference of two states: what is ours, what is compared, and in which order it is written.
import assert from "node:assert/strict";
import { test } from "node:test";
import { diffState } from "./diff.ts";
import type { Ownership } from "./reconcile.ts";
import { EMPTY_STATE, type KernelState, type Link, mergeStates, type Route } from "./state.ts";

const OWNS: Ownership = { links: (name) => name.startsWith("our"), routeProtocol: 84, tables: [{ family: "inet", name: "fairlead" }] };

const bridge = (name: string, more: Partial<Link> = {}): Link => ({ name, kind: { type: "bridge" }, ...more });
const veth = (name: string, more: Partial<Link> = {}): Link => ({ name, kind: { type: "veth" }, ...more });
const route = (destination: string, more: Partial<Route> = {}): Route => ({
  family: destination.includes(":") ? 6 : 4,
  destination,
  type: "unicast",
  nexthops: [{ link: "our0" }],
  table: 254,
  protocol: 84,
  ...more,
});
const MAC = "02:00:00:00:00:01";
const vxlan = (local: string): Link => ({
  name: "our1",
  kind: { type: "vxlan", vni: 1, port: 8472, local, device: "eth0", learning: false },
});

interface Row {
  readonly says: string;
  readonly desired: Partial<KernelState>;
  readonly observed: Partial<KernelState>;
  readonly steps: readonly string[];
}

const OUR0 = { links: [bridge("our0", { up: true })] };

const ROWS: readonly Row[] = [
  { says: "nothing to nothing", desired: {}, observed: {}, steps: [] },
  { says: "others' links stay", desired: {}, observed: { links: [bridge("docker0"), bridge("our0")] }, steps: ["delete link our0"] },
  {
    says: "fields left out are not compared",
    desired: { links: [bridge("our0")] },
    observed: { links: [bridge("our0", { mtu: 9, mac: MAC, up: true, master: "x" })] },
    steps: [],
  },
  {
    says: "a MAC's case is no difference",
    desired: { links: [bridge("our0", { mac: "AA:00:00:00:00:01" })] },
    observed: { links: [bridge("our0", { mac: "aa:00:00:00:00:01" })] },
    steps: [],
  },
  {
    says: "pods' links are adjusted, never made",
    desired: { links: [veth("a", { up: true }), veth("b", { up: true })] },
    observed: { links: [veth("a")] },
    steps: ["set link a"],
  },
  {
    says: "the fast path comes, also in place of another process'",
    desired: { links: ["a", "b", "c"].map((name) => veth(name, { fastPath: true })) },
    observed: { links: [veth("a"), veth("b", { fastPath: false }), veth("c", { fastPath: true })] },
    steps: ["set link a", "set link b"],
  },
  {
    says: "the fast path goes wherever it is not wanted, but with a link that goes",
    desired: { links: [veth("a")] },
    observed: { links: [veth("a", { fastPath: true }), veth("b", { fastPath: false }), bridge("our0", { fastPath: true })] },
    steps: ["delete link our0", "set link a", "set link b"],
  },
  {
    says: "what stands already on a link that is not known yet, stays",
    desired: { links: [veth("a")], routes: [route("10.0.0.1/32", { nexthops: [{ link: "a" }] })] },
    observed: { routes: [route("10.0.0.1/32", { nexthops: [{ link: "a" }] })] },
    steps: [],
  },
  {
    says: "what stands on an awaited link waits",
    desired: { links: [veth("a")], routes: [route("10.0.0.1/32", { nexthops: [{ link: "a" }] })] },
    observed: {},
    steps: [],
  },
  {
    says: "another kind is made anew, with all that stood on it",
    desired: { links: [vxlan("10.0.0.2")], addresses: [{ link: "our1", address: "10.1.0.0/32" }] },
    observed: {
      links: [vxlan("10.0.0.1")],
      addresses: [{ link: "our1", address: "10.1.0.0/32" }],
      neighbours: [{ link: "our1", address: "10.1.1.0", mac: MAC, state: "permanent" }],
      routes: [route("10.1.1.0/24", { nexthops: [{ link: "our1" }] })],
    },
    steps: ["delete link our1", "add link our1", "add address our1 10.1.0.0/32"],
  },
  {
    says: "a port of a bridge made anew is its port again",
    desired: { links: [bridge("our0"), veth("a", { master: "our0" })] },
    observed: { links: [{ name: "our0", kind: { type: "other", name: "dummy" } }, veth("a", { master: "our0" })] },
    steps: ["delete link our0", "add link our0", "set link a"],
  },
  {
    says: "the kernel's own addresses and neighbours stay",
    desired: OUR0,
    observed: {
      ...OUR0,
      addresses: [
        { link: "our0", address: "fe80::1/64" },
        { link: "our0", address: "10.9.9.9/24" },
        { link: "eth0", address: "10.8.8.8/24" },
      ],
      neighbours: [
        { link: "our0", address: "10.9.9.1", mac: MAC, state: "reachable" },
        { link: "our0", address: "10.9.9.2", mac: MAC, state: "noarp" },
        { link: "our0", address: "10.9.9.3", mac: MAC, state: "permanent" },
      ],
      fdb: [
        { link: "our0", mac: MAC, table: "self", permanent: true },
        { link: "our0", mac: MAC, destination: "10.0.0.9", table: "self", permanent: true },
      ],
    },
    steps: ["delete address our0 10.9.9.9/24", "delete neighbour our0 10.9.9.3", `delete fdb our0 ${MAC} 10.0.0.9 self`],
  },
  {
    says: "a route of another protocol counts as present",
    desired: { ...OUR0, routes: [route("10.1.0.0/24")] },
    observed: { ...OUR0, routes: [route("10.1.0.0/24", { protocol: 2, scope: "link", source: "10.1.0.1" })] },
    steps: [],
  },
  {
    says: "the kernel's IPv6 metric counts too",
    desired: { ...OUR0, routes: [route("fd00::/64")] },
    observed: { ...OUR0, routes: [route("fd00::/64", { protocol: 2, metric: 256 })] },
    steps: [],
  },
  {
    says: "the route that a new address brings is not written",
    desired: { ...OUR0, addresses: [{ link: "our0", address: "10.1.0.1/24" }], routes: [route("10.1.0.0/24")] },
    observed: OUR0,
    steps: ["add address our0 10.1.0.1/24"],
  },
  {
    says: "others' routes stay, ours go",
    desired: OUR0,
    observed: { ...OUR0, routes: [route("10.1.0.0/24"), route("10.2.0.0/24", { protocol: 4 })] },
    steps: ["delete route 254 10.1.0.0/24 0"],
  },
  {
    says: "another next hop is a replacement; the order of next hops is nothing",
    desired: {
      ...OUR0,
      routes: [
        route("10.1.0.0/24", { nexthops: [{ via: "10.0.0.1" }] }),
        route("10.2.0.0/24", { nexthops: [{ via: "10.0.0.1" }, { via: "10.0.0.2" }] }),
      ],
    },
    observed: {
      ...OUR0,
      routes: [
        route("10.1.0.0/24", { nexthops: [{ via: "10.0.0.9", link: "our0" }] }),
        route("10.2.0.0/24", {
          nexthops: [
            { via: "10.0.0.2", link: "our0", weight: 1 },
            { via: "10.0.0.1", link: "our0", weight: 1 },
          ],
        }),
      ],
    },
    steps: ["replace route 254 10.1.0.0/24 0"],
  },
  {
    says: "an IPv6 route that moves into a tunnel goes first: its gateway would be another device's",
    desired: { ...OUR0, routes: [route("fd00:2::/64", { nexthops: [{ via: "fd00:2::", link: "our0", onlink: true }] })] },
    observed: { ...OUR0, routes: [route("fd00:2::/64", { nexthops: [{ via: "fd00:112::52", link: "eth0" }] })] },
    steps: ["delete route 254 fd00:2::/64 1024", "add route 254 fd00:2::/64 1024"],
  },
  {
    says: "a moved peer is replaced without a gap",
    desired: { ...OUR0, fdb: [{ link: "our0", mac: MAC, destination: "10.0.0.2", table: "self", permanent: true }] },
    observed: { ...OUR0, fdb: [{ link: "our0", mac: MAC, destination: "10.0.0.1", table: "self", permanent: true }] },
    steps: [`replace fdb our0 ${MAC} 10.0.0.2 self`],
  },
  {
    says: "an address that we put on another's link goes when it is not wanted, and no other",
    desired: { addresses: [{ link: "eth0", address: "10.8.8.1/32" }] },
    observed: {
      links: [veth("eth0")],
      addresses: ["10.8.8.1/32", "10.8.8.2/32", "10.8.8.3/32"].map((address, index) => ({
        link: "eth0",
        address,
        ...(index < 2 ? { protocol: 84 } : {}),
      })),
    },
    steps: ["delete address eth0 10.8.8.2/32"],
  },
  {
    says: "an address with another length goes before it comes",
    desired: { ...OUR0, addresses: [{ link: "our0", address: "10.1.0.1/16" }] },
    observed: { ...OUR0, addresses: [{ link: "our0", address: "10.1.0.1/24" }] },
    steps: ["delete address our0 10.1.0.1/24", "add address our0 10.1.0.1/16"],
  },
  {
    says: "sysctls differ by value, not by blanks",
    desired: { sysctls: { "net.ipv4.ip_local_port_range": "1 2", "net.ipv4.ip_forward": "1" } },
    observed: { sysctls: { "net.ipv4.ip_local_port_range": "1\t2", "net.ipv4.ip_forward": "0" } },
    steps: ["sysctl net.ipv4.ip_forward"],
  },
  {
    says: "only our rules go",
    desired: {},
    observed: {
      rules: [
        { family: 4, priority: 1, table: 9, protocol: 84 },
        { family: 4, priority: 2, table: 9, protocol: 2 },
      ],
    },
    steps: ["delete rule 4 1 9 - - - -"],
  },
  {
    says: "only our tables go",
    desired: {},
    observed: {
      tables: [
        { family: "inet", name: "fairlead", chains: [], sets: [] },
        { family: "ip", name: "nat", chains: [], sets: [] },
      ],
    },
    steps: ["table inet fairlead"],
  },
];

for (const { says, desired, observed, steps } of ROWS) {
  test(says, () => {
    const found = diffState(mergeStates(EMPTY_STATE, desired), mergeStates(EMPTY_STATE, observed), OWNS);
    assert.deepEqual(
      found.map((step) => ("change" in step ? `${step.change.op} ${step.kind} ${step.object}` : `${step.kind} ${step.object}`)),
      steps,
    );
  });
}

test("the order: policy before links, gateways after what they stand on, routes last", () => {
  const desired = mergeStates({
    links: [{ ...vxlan("10.0.0.1"), up: true, master: "our0" }, bridge("our0", { up: true })],
    addresses: [{ link: "our1", address: "10.1.0.0/32" }],
    neighbours: [{ link: "our1", address: "10.1.1.0", mac: MAC, state: "permanent" }],
    fdb: [{ link: "our1", mac: MAC, destination: "10.0.0.2", table: "self", permanent: true }],
    routes: [route("10.2.0.0/24", { nexthops: [{ via: "10.9.0.1" }] }), route("10.9.0.0/24")],
    rules: [{ family: 4, priority: 1, table: 9, protocol: 84 }],
    sysctls: { "net.ipv4.conf.our0.rp_filter": "0", "net.ipv4.ip_forward": "1" },
    tables: [{ family: "inet", name: "fairlead", chains: [], sets: [] }],
  });
  const kinds = diffState(desired, EMPTY_STATE, OWNS).map((step) => `${step.kind} ${step.object}`);
  assert.deepEqual(kinds, [
    "sysctl net.ipv4.ip_forward",
    "table inet fairlead",
    "link our0",
    "link our1",
    "link our1",
    "link our0",
    "sysctl net.ipv4.conf.our0.rp_filter",
    "address our1 10.1.0.0/32",
    "neighbour our1 10.1.1.0",
    `fdb our1 ${MAC} 10.0.0.2 self`,
    "route 254 10.9.0.0/24 0",
    "route 254 10.2.0.0/24 0",
    "rule 4 1 9 - - - -",
  ]);
});
