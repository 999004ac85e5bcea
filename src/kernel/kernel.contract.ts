// What every Kernel must do, the real one and the fake: an operation, and the state or the errno that follows.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isErrno } from "./errors.ts";
import { canonicalRule } from "./iptables/rule.ts";
import type { Ipvs, Kernel, LinkChange, NetworkNamespace } from "./kernel.ts";
import { localRoute } from "./route-diff.ts";
import {
  type FdbEntry,
  type IpSet,
  type IpvsService,
  type KernelState,
  type LinkKind,
  MAIN_TABLE,
  type Neighbour,
  ROUTE_PROTOCOL,
  type Route,
} from "./state.ts";

interface Row {
  readonly says: string;
  readonly given?: readonly LinkChange[];
  readonly change: LinkChange;
  readonly refused?: string;
  /** What to look at afterwards, and what it must be. */
  readonly look?: (state: KernelState) => unknown;
  readonly is?: unknown;
  /** The first Linux that can do it: "6.3". */
  readonly since?: string;
  readonly needsFastPath?: boolean;
}

const VXLAN: LinkKind = { type: "vxlan", vni: 1, port: 8472, local: "10.112.0.51", device: "eth0", learning: false };
const MAC = "02:00:00:00:00:02";

const bridge = (name = "cni0"): LinkChange => ({ op: "add", link: { name, kind: { type: "bridge" } } });
const vxlan = (name = "flannel.1", kind = VXLAN): LinkChange => ({ op: "add", link: { name, kind } });
const up = (name: string): LinkChange => ({ op: "set", link: { name, up: true } });
const address = (op: "add" | "delete", text: string, link = "cni0"): LinkChange => ({ op, address: { link, address: text } });
const route = (destination: string, hop: Route["nexthops"][number] | undefined, more: Partial<Route> = {}): Route => ({
  family: 4,
  destination,
  type: hop ? "unicast" : "blackhole",
  nexthops: hop ? [hop] : [],
  table: MAIN_TABLE,
  protocol: ROUTE_PROTOCOL.fairlead,
  ...more,
});
const addLocal = (text: string, link = "cni0"): LinkChange => ({ op: "add", route: localRoute(link, text) });
const neighbour = (text: string, mac = MAC): Neighbour => ({ link: "flannel.1", address: text, mac, state: "permanent" });
const fdb = (destination: string, mac = MAC): FdbEntry => ({ link: "flannel.1", mac, destination, table: "self", permanent: true });

const linkNames = (state: KernelState) => state.links.map((link) => link.name).sort();
const linkCalled = (name: string) => (state: KernelState) => state.links.find((link) => link.name === name);
const ours = (state: KernelState) => state.routes.filter((r) => r.protocol === ROUTE_PROTOCOL.fairlead).map((r) => r.destination);
const connected = (state: KernelState) =>
  state.routes
    .filter((r) => r.protocol === ROUTE_PROTOCOL.kernel && r.family === 4)
    .map((r) => `${r.destination} ${r.nexthops[0]?.link}`)
    .sort();
const toItself = (state: KernelState) =>
  state.routes.filter((r) => r.destination === "fd00:10:96::1/128").map((r) => [r.protocol, r.metric, r.type, r.nexthops[0]?.link]);
const locals = (state: KernelState) => state.localRoutes.map((r) => `${r.destination} ${r.nexthops[0]?.link} ${r.type} ${r.metric}`).sort();
const v4 = (state: KernelState) =>
  state.addresses
    .filter((a) => a.link === "cni0" && !a.address.includes(":"))
    .map((a) => a.address)
    .sort();
const neighbours = (state: KernelState) => state.neighbours.filter((n) => n.state === "permanent").map((n) => `${n.address} ${n.mac}`);
const tunnels = (state: KernelState) =>
  state.fdb
    .filter((entry) => entry.destination !== undefined)
    .map((entry) => `${entry.mac} ${entry.destination}`)
    .sort();

const VIA: Route["nexthops"][number] = { via: "10.244.2.0", link: "flannel.1", onlink: true };
const UNDERLAY = "10.112.0.0/24 eth0";

const route6 = (hop: Route["nexthops"][number]): Route => ({ ...route("fd00:2::/64", hop), family: 6 });

const ROWS: readonly Row[] = [
  // Links
  { says: "a bridge is made", change: bridge(), look: linkNames, is: ["cni0", "eth0", "lo"] },
  { says: "a link's name is taken", given: [bridge()], change: bridge(), refused: "EEXIST" },
  { says: "a VXLAN device keeps its settings", change: vxlan(), look: (state) => linkCalled("flannel.1")(state)?.kind, is: VXLAN },
  {
    says: "a VXLAN device takes its MTU from the underlay",
    change: vxlan(),
    look: (state) => linkCalled("flannel.1")(state)?.mtu,
    is: 1450,
  },
  { says: "a VNI is taken once per port", given: [vxlan()], change: vxlan("flannel.2"), refused: "EEXIST" },
  {
    says: "a VNI and port may be taken once per family",
    given: [{ op: "add", address: { link: "eth0", address: "fd00:112::51/64", nodad: true } }, vxlan()],
    change: vxlan("vxlan-v6", { ...VXLAN, local: "fd00:112::51" }),
    look: linkNames,
    is: ["eth0", "flannel.1", "lo", "vxlan-v6"],
  },
  { says: "a VXLAN device needs its outer device", change: vxlan("flannel.1", { ...VXLAN, device: "none0" }), refused: "ENODEV" },
  {
    says: "a link is born with what is asked",
    change: { op: "add", link: { name: "cni0", kind: { type: "bridge" }, mtu: 1400, mac: MAC } },
    look: (state) => [linkCalled("cni0")(state)?.mtu, linkCalled("cni0")(state)?.mac, linkCalled("cni0")(state)?.up],
    is: [1400, MAC, false],
  },
  {
    says: "a link takes larger packets in one piece",
    since: "6.3",
    change: { op: "set", link: { name: "eth0", gsoIpv4MaxSize: 196_608 } },
    look: (state) => linkCalled("eth0")(state)?.gsoIpv4MaxSize,
    is: 196_608,
  },
  {
    says: "the usual size is not told",
    since: "6.3",
    given: [{ op: "set", link: { name: "eth0", gsoIpv4MaxSize: 196_608 } }],
    change: { op: "set", link: { name: "eth0", gsoIpv4MaxSize: 65_536 } },
    look: (state) => linkCalled("eth0")(state)?.gsoIpv4MaxSize,
    is: undefined,
  },
  {
    says: "a packet has a greatest size",
    since: "6.3",
    change: { op: "set", link: { name: "eth0", gsoIpv4MaxSize: 1_000_000 } },
    refused: "EINVAL",
  },
  {
    says: "a link gets the fast path",
    needsFastPath: true,
    change: { op: "set", link: { name: "eth0", fastPath: true } },
    look: (state) => linkCalled("eth0")(state)?.fastPath,
    is: true,
  },
  {
    says: "the fast path is taken away",
    needsFastPath: true,
    given: [{ op: "set", link: { name: "eth0", fastPath: true } }],
    change: { op: "set", link: { name: "eth0", fastPath: false } },
    look: (state) => linkCalled("eth0")(state)?.fastPath,
    is: undefined,
  },
  {
    says: "where there is no fast path, none can be taken away",
    change: { op: "set", link: { name: "eth0", fastPath: false } },
    look: (state) => linkCalled("eth0")(state)?.fastPath,
    is: undefined,
  },
  {
    says: "a link is born with the fast path",
    needsFastPath: true,
    change: { op: "add", link: { name: "cni0", kind: { type: "bridge" }, fastPath: true } },
    look: (state) => linkCalled("cni0")(state)?.fastPath,
    is: true,
  },
  {
    says: "a port gets its bridge and hairpin",
    given: [bridge()],
    change: { op: "set", link: { name: "eth0", master: "cni0", hairpin: true } },
    look: (state) => [linkCalled("eth0")(state)?.master, linkCalled("eth0")(state)?.hairpin],
    is: ["cni0", true],
  },
  {
    says: "a port is released",
    given: [bridge(), { op: "set", link: { name: "eth0", master: "cni0" } }],
    change: { op: "set", link: { name: "eth0", master: "" } },
    look: (state) => linkCalled("eth0")(state)?.master,
    is: undefined,
  },
  { says: "a master must be there", change: { op: "set", link: { name: "eth0", master: "cni0" } }, refused: "ENODEV" },
  { says: "setting needs a link", change: up("cni0"), refused: "ENODEV" },
  { says: "deleting needs a link", change: { op: "delete", link: { name: "cni0" } }, refused: "ENODEV" },
  { says: "an MTU has a least value", change: { op: "set", link: { name: "eth0", mtu: 10 } }, refused: "EINVAL" },
  {
    says: "a bridge that goes lets go of its ports",
    given: [bridge(), { op: "set", link: { name: "eth0", master: "cni0" } }],
    change: { op: "delete", link: { name: "cni0" } },
    look: (state) => linkCalled("eth0")(state)?.master,
    is: undefined,
  },
  {
    says: "an outer device takes its VXLAN devices along",
    given: [vxlan()],
    change: { op: "delete", link: { name: "eth0" } },
    look: linkNames,
    is: ["lo"],
  },

  // Addresses
  {
    says: "an address brings its connected route",
    given: [bridge(), up("cni0")],
    change: address("add", "10.244.1.1/24"),
    look: connected,
    is: [UNDERLAY, "10.244.1.0/24 cni0"],
  },
  {
    says: "an address on a link that is down brings none",
    given: [bridge()],
    change: address("add", "10.244.1.1/24"),
    look: connected,
    is: [UNDERLAY],
  },
  {
    says: "the connected route comes when the link goes up",
    given: [bridge(), address("add", "10.244.1.1/24")],
    change: up("cni0"),
    look: connected,
    is: [UNDERLAY, "10.244.1.0/24 cni0"],
  },
  {
    says: "a /32 brings no route",
    given: [bridge(), up("cni0")],
    change: address("add", "10.244.1.1/32"),
    look: connected,
    is: [UNDERLAY],
  },
  {
    says: "a /128 brings a route to itself",
    change: address("add", "fd00:10:96::1/128", "eth0"),
    look: toItself,
    is: [[ROUTE_PROTOCOL.kernel, 256, "unicast", "eth0"]],
  },
  {
    says: "a /128 takes its route along",
    given: [address("add", "fd00:10:96::1/128", "eth0")],
    change: address("delete", "fd00:10:96::1/128", "eth0"),
    look: toItself,
    is: [],
  },
  {
    says: "an address is there once",
    given: [bridge(), address("add", "10.244.1.1/24")],
    change: address("add", "10.244.1.1/24"),
    refused: "EEXIST",
  },
  {
    says: "an address that is not there can't go",
    given: [bridge()],
    change: address("delete", "10.244.1.1/24"),
    refused: "EADDRNOTAVAIL",
  },
  {
    says: "an address keeps who put it there, and that it is no source",
    given: [bridge()],
    change: { op: "add", address: { link: "cni0", address: "10.244.1.1/32", deprecated: true, protocol: ROUTE_PROTOCOL.fairlead } },
    look: (state) => state.addresses.filter((a) => a.link === "cni0" && a.address === "10.244.1.1/32"),
    is: [{ link: "cni0", address: "10.244.1.1/32", scope: "global", deprecated: true, protocol: ROUTE_PROTOCOL.fairlead }],
  },
  { says: "an address needs its link", change: address("add", "10.244.1.1/24"), refused: "ENODEV" },
  {
    says: "an address takes its connected route along",
    given: [bridge(), up("cni0"), address("add", "10.244.1.1/24")],
    change: address("delete", "10.244.1.1/24"),
    look: connected,
    is: [UNDERLAY],
  },
  {
    says: "a primary address takes its secondaries along",
    given: [bridge(), address("add", "10.244.1.1/24"), address("add", "10.244.1.2/24"), address("add", "10.245.1.1/24")],
    change: address("delete", "10.244.1.1/24"),
    look: v4,
    is: ["10.245.1.1/24"],
  },
  {
    says: "a secondary goes alone",
    given: [bridge(), address("add", "10.244.1.1/24"), address("add", "10.244.1.2/24")],
    change: address("delete", "10.244.1.2/24"),
    look: v4,
    is: ["10.244.1.1/24"],
  },

  // Routes
  {
    says: "a route over a gateway of the underlay",
    change: { op: "add", route: route("10.244.2.0/24", { via: "10.112.0.52" }) },
    look: ours,
    is: ["10.244.2.0/24"],
  },
  { says: "an unreachable gateway", change: { op: "add", route: route("10.244.2.0/24", { via: "192.0.2.1" }) }, refused: "ENETUNREACH" },
  {
    says: "an onlink gateway needs no address",
    given: [vxlan(), up("flannel.1")],
    change: { op: "add", route: route("10.244.2.0/24", VIA) },
    look: (state) =>
      state.routes.find((r) => r.destination === "10.244.2.0/24")?.nexthops.map(({ via, link, onlink }) => ({ via, link, onlink })),
    is: [VIA],
  },
  {
    says: "IPv6: an onlink gateway that another device's route leads to",
    given: [vxlan(), up("flannel.1"), { op: "add", route: route6({ link: "eth0" }) }],
    change: { op: "replace", route: route6({ via: "fd00:2::", link: "flannel.1", onlink: true }) },
    refused: "EINVAL",
  },
  {
    says: "a link that is down routes nothing",
    given: [vxlan()],
    change: { op: "add", route: route("10.244.2.0/24", VIA) },
    refused: "ENETDOWN",
  },
  { says: "a route's link must be there", change: { op: "add", route: route("10.244.2.0/24", { link: "none0" }) }, refused: "ENODEV" },
  {
    says: "a route is there once",
    given: [{ op: "add", route: route("10.244.2.0/24", undefined) }],
    change: { op: "add", route: route("10.244.2.0/24", { link: "eth0" }) },
    refused: "EEXIST",
  },
  {
    says: "metrics tell routes apart",
    given: [{ op: "add", route: route("10.244.2.0/24", undefined) }],
    change: { op: "add", route: route("10.244.2.0/24", { link: "eth0" }, { metric: 5 }) },
    look: ours,
    is: ["10.244.2.0/24", "10.244.2.0/24"],
  },
  {
    says: "a replaced route stays one",
    given: [{ op: "add", route: route("10.244.2.0/24", undefined) }],
    change: { op: "replace", route: route("10.244.2.0/24", { link: "eth0" }) },
    look: (state) => state.routes.filter((r) => r.destination === "10.244.2.0/24").map((r) => r.type),
    is: ["unicast"],
  },
  {
    says: "a route that is not there can't go",
    change: { op: "delete", route: route("10.244.2.0/24", { link: "eth0" }) },
    refused: "ESRCH",
  },
  {
    says: "a route's source must be an own address",
    change: { op: "add", route: route("10.244.2.0/24", { link: "eth0" }, { source: "192.0.2.7" }) },
    refused: "EINVAL",
  },
  { says: "a route has no host bits", change: { op: "add", route: route("10.244.2.1/24", { link: "eth0" }) }, refused: "EINVAL" },
  {
    says: "a link that goes down drops its routes",
    given: [vxlan(), up("flannel.1"), { op: "add", route: route("10.244.2.0/24", VIA) }],
    change: { op: "set", link: { name: "flannel.1", up: false } },
    look: ours,
    is: [],
  },

  // Local routes
  {
    says: "a local route stands in its own list",
    given: [bridge(), up("cni0")],
    change: addLocal("10.96.0.10"),
    look: locals,
    is: ["10.96.0.10/32 cni0 local 1024"],
  },
  {
    says: "IPv6: a local route",
    given: [bridge(), up("cni0")],
    change: addLocal("fd00:96::a"),
    look: locals,
    is: ["fd00:96::a/128 cni0 local 1024"],
  },
  {
    says: "a local route stands beside the kernel's for the same address",
    given: [bridge(), up("cni0"), address("add", "10.96.0.10/32", "eth0")],
    change: addLocal("10.96.0.10"),
    look: locals,
    is: ["10.96.0.10/32 cni0 local 1024"],
  },
  {
    says: "an address takes no other's local route along",
    given: [bridge(), up("cni0"), address("add", "10.96.0.10/32", "eth0"), addLocal("10.96.0.10")],
    change: address("delete", "10.96.0.10/32", "eth0"),
    look: locals,
    is: ["10.96.0.10/32 cni0 local 1024"],
  },
  {
    says: "a local route goes alone",
    given: [bridge(), up("cni0"), address("add", "10.96.0.10/32", "eth0"), addLocal("10.96.0.10"), addLocal("10.96.0.11")],
    change: { op: "delete", route: localRoute("cni0", "10.96.0.10") },
    look: (state) => [locals(state), state.addresses.some((a) => a.address === "10.96.0.10/32")],
    is: [["10.96.0.11/32 cni0 local 1024"], true],
  },
  {
    says: "a local route is there once",
    given: [bridge(), up("cni0"), addLocal("10.96.0.10")],
    change: addLocal("10.96.0.10"),
    refused: "EEXIST",
  },
  { says: "a local route needs its link", change: addLocal("10.96.0.10", "none0"), refused: "ENODEV" },
  {
    says: "IPv4: a link that is down has local routes",
    given: [bridge()],
    change: addLocal("10.96.0.10"),
    look: locals,
    is: ["10.96.0.10/32 cni0 local 1024"],
  },
  { says: "IPv6: a link that is down has none", given: [bridge()], change: addLocal("fd00:96::a"), refused: "ENETDOWN" },
  {
    says: "a link that goes down drops its local routes of IPv6 alone",
    given: [bridge(), up("cni0"), addLocal("10.96.0.10"), addLocal("fd00:96::a")],
    change: { op: "set", link: { name: "cni0", up: false } },
    look: locals,
    is: ["10.96.0.10/32 cni0 local 1024"],
  },
  {
    says: "a link takes its local routes along",
    given: [bridge(), up("cni0"), addLocal("10.96.0.10"), addLocal("fd00:96::a")],
    change: { op: "delete", link: { name: "cni0" } },
    look: locals,
    is: [],
  },

  // Rules
  {
    says: "a rule is there once",
    given: [{ op: "add", rule: { family: 4, priority: 100, table: 100, mark: 1, protocol: 84 } }],
    change: { op: "add", rule: { family: 4, priority: 100, table: 100, mark: 1, protocol: 84 } },
    refused: "EEXIST",
  },
  {
    says: "a rule that is not there can't go",
    change: { op: "delete", rule: { family: 4, priority: 100, table: 100, protocol: 84 } },
    refused: "ENOENT",
  },
  {
    says: "a rule is added",
    change: { op: "add", rule: { family: 4, priority: 100, table: 100, from: "10.0.0.0/8", protocol: 84 } },
    look: (state) => state.rules.filter((rule) => rule.protocol === 84).map((rule) => [rule.priority, rule.table, rule.from]),
    is: [[100, 100, "10.0.0.0/8"]],
  },

  // Neighbours and forwarding entries
  {
    says: "a neighbour is there once",
    given: [vxlan(), up("flannel.1"), { op: "add", neighbour: neighbour("10.244.2.0") }],
    change: { op: "add", neighbour: neighbour("10.244.2.0") },
    refused: "EEXIST",
  },
  {
    says: "a neighbour is replaced",
    given: [vxlan(), up("flannel.1"), { op: "add", neighbour: neighbour("10.244.2.0") }],
    change: { op: "replace", neighbour: neighbour("10.244.2.0", "02:00:00:00:00:03") },
    look: neighbours,
    is: ["10.244.2.0 02:00:00:00:00:03"],
  },
  {
    says: "a neighbour that is not there can't go",
    given: [vxlan(), up("flannel.1")],
    change: { op: "delete", neighbour: neighbour("10.244.2.0") },
    refused: "ENOENT",
  },
  {
    says: "a link that goes down drops its permanent neighbours",
    given: [vxlan(), up("flannel.1"), { op: "add", neighbour: neighbour("10.244.2.0") }],
    change: { op: "set", link: { name: "flannel.1", up: false } },
    look: neighbours,
    is: [],
  },
  {
    says: "a tunnel entry is added",
    given: [vxlan()],
    change: { op: "add", fdb: fdb("10.112.0.52") },
    look: tunnels,
    is: [`${MAC} 10.112.0.52`],
  },
  {
    says: "a MAC has one tunnel entry",
    given: [vxlan(), { op: "add", fdb: fdb("10.112.0.52") }],
    change: { op: "add", fdb: fdb("10.112.0.53") },
    refused: "EEXIST",
  },
  {
    says: "a tunnel entry is moved",
    given: [vxlan(), { op: "add", fdb: fdb("10.112.0.52") }],
    change: { op: "replace", fdb: fdb("10.112.0.53") },
    look: tunnels,
    is: [`${MAC} 10.112.0.53`],
  },
  {
    says: "the zero MAC floods to several",
    given: [vxlan(), { op: "add", fdb: fdb("10.112.0.52", "00:00:00:00:00:00") }],
    change: { op: "add", fdb: fdb("10.112.0.53", "00:00:00:00:00:00") },
    look: tunnels,
    is: ["00:00:00:00:00:00 10.112.0.52", "00:00:00:00:00:00 10.112.0.53"],
  },
  {
    says: "a tunnel entry that is not there can't go",
    given: [vxlan()],
    change: { op: "delete", fdb: fdb("10.112.0.52") },
    refused: "ENOENT",
  },
];

const NFT_BASE =
  "add table inet t\nadd chain inet t a\nadd chain inet t b\nadd set inet t s { type ipv4_addr; }\nadd map inet t m { type ipv4_addr : verdict; }\n";
const NFT_ROWS: readonly {
  readonly says: string;
  readonly given?: string;
  readonly run: string;
  readonly refused?: true;
  readonly is?: readonly string[];
}[] = [
  { says: "a jump to an absent chain", run: "add rule inet t a jump nowhere", refused: true },
  { says: "an absent table", run: "add chain inet nothing c", refused: true },
  { says: "a chain that is jumped to stays", given: "add rule inet t a jump b", run: "delete chain inet t b", refused: true },
  { says: "a set that is looked up stays", given: "add rule inet t a ip saddr @s drop", run: "delete set inet t s", refused: true },
  {
    says: "a key has one value",
    given: "add element inet t m { 10.0.0.1 : accept }",
    run: "add element inet t m { 10.0.0.1 : drop }",
    refused: true,
  },
  { says: "an absent element can't go", run: "delete element inet t s { 10.0.0.1 }", refused: true },
  { says: "nonsense", run: "add rule inet t a gibberish 7", refused: true },
  { says: "all or nothing", run: "add chain inet t c\nadd rule inet t c jump nowhere", refused: true, is: ["a", "b"] },
  {
    says: "chains in an order that makes sense only together",
    run: "add chain inet t c\nadd chain inet t d\nadd rule inet t c jump d",
    is: ["a", "b", "c", "d"],
  },
];

/** Declares the suite. `nft: false` leaves nftables out where the kernel at hand has none; `lacks`: why a row of the release can't be asked of it. */
export function describeKernelContract(
  name: string,
  makeKernel: () => Kernel,
  options: { readonly nft?: boolean; readonly lacks?: (since: string) => string | false } = {},
): void {
  describe(`kernel contract: ${name}`, () => {
    const lackOf = ({ since, needsFastPath }: Row): string | false =>
      (since !== undefined && options.lacks?.(since)) || (needsFastPath && makeKernel().hostNamespace().fastPath.lack()) || false;
    for (const row of ROWS) test(row.says, { skip: lackOf(row) }, () => withNode(makeKernel(), (namespace) => check(namespace, row)));

    test("a veth pair spans namespaces, and goes with either end", () =>
      withNode(makeKernel(), (namespace, fabric) => {
        assert.equal(fabric.listLinks().find((link) => link.name === "n1")?.kind.type, "veth");
        fabric.apply({ op: "delete", link: { name: "n1" } });
        assert.deepEqual(linkNames(namespace.observe()), ["lo"]);
        assert.deepEqual(namespace.listRoutes({ family: 4 }), []);
      }));

    for (const watched of [true, false])
      test(`a link that is removed has gone when that is told, ${watched ? "watched" : "not watched"}`, () =>
        withNode(makeKernel(), async (namespace, fabric) => {
          const stop = watched ? namespace.watch(["link"], () => {}) : () => {};
          for (const name of ["b1", "b2", "b3", "b4"]) namespace.apply(bridge(name));
          const all = ["b1", "b2", "b3", "b4"].map((name) => namespace.removeLink(name));
          await Promise.all([...all, fabric.removeLink("n1")]);
          assert.deepEqual([linkNames(namespace.observe()), linkNames(fabric.observe()).includes("n1")], [["lo"], false]);
          await assert.rejects(namespace.removeLink("b1"), (error) => isErrno(error, "ENODEV"));
          stop();
        }));

    test("a moved link leaves its addresses behind and is down", () =>
      withNode(makeKernel(), (namespace, fabric) => {
        namespace.moveLink("eth0", fabric, "uplink");
        const moved = fabric.listLinks().find((link) => link.name === "uplink");
        assert.deepEqual([moved?.kind.type, moved?.up], ["veth", false]);
        assert.deepEqual(
          fabric.listAddresses().filter((a) => a.link === "uplink"),
          [],
        );
        refused(() => namespace.moveLink("eth0", fabric), "ENODEV");
      }));

    test("sysctls: unknown keys, wrong values, forwarding for all", () =>
      withNode(makeKernel(), (namespace) => {
        assert.equal(namespace.readSysctl("net.ipv4.no_such_key"), undefined);
        refused(() => namespace.writeSysctl("net.ipv4.no_such_key", "1"), "ENOENT");
        refused(() => namespace.writeSysctl("net.ipv4.ip_forward", "yes"), "EINVAL");
        namespace.writeSysctl("net.ipv4.ip_forward", "1");
        assert.equal(namespace.readSysctl("net.ipv4.conf.eth0.forwarding"), "1");
        namespace.apply({ op: "add", link: { name: "flannel.1", kind: VXLAN } });
        assert.equal(namespace.readSysctl("net.ipv4.conf.flannel/1.forwarding"), "1");
      }));

    test("handles of one namespace see the same and know each other by inode", () =>
      withNode(makeKernel(), (namespace, _fabric, kernel) => {
        const again = kernel.openNamespace(namespace.path);
        assert.equal(again.inode, namespace.inode);
        again.apply(bridge());
        assert.ok(linkNames(namespace.observe()).includes("cni0"));
        again.close();
        again.close();
        refused(() => kernel.openNamespace("/nowhere/at/all"), "ENOENT");
      }));

    test("a watcher hears of others' changes and not of its own", () =>
      withNode(makeKernel(), async (namespace, _fabric, kernel) => {
        const heard: string[] = [];
        // Of routes only: what the kernel does to links by itself, a moment later, is nobody's own.
        const stop = namespace.watch(["route"], (topic) => heard.push(topic));
        namespace.apply({ op: "add", route: route("10.9.0.0/24", undefined) });
        await new Promise((resolve) => setTimeout(resolve, 100));
        assert.deepEqual(heard, []);
        const other = kernel.openNamespace(namespace.path);
        other.apply({ op: "add", route: route("10.9.1.0/24", undefined) });
        const deadline = Date.now() + 2000;
        while (heard.length === 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
        assert.deepEqual([...new Set(heard)], ["route"]);
        stop();
        other.close();
      }));

    test("local routes have a topic of their own, and what the kernel does for addresses is none of it", () =>
      withNode(makeKernel(), async (namespace, _fabric, kernel) => {
        const heard: string[] = [];
        const stop = namespace.watch(["route", "local"], (topic) => heard.push(topic));
        const other = kernel.openNamespace(namespace.path);
        other.apply(address("add", "10.96.0.10/32", "eth0"));
        namespace.apply(addLocal("10.96.0.10", "eth0"));
        await new Promise((resolve) => setTimeout(resolve, 100));
        assert.ok(!heard.includes("local"));
        other.apply({ op: "delete", route: localRoute("eth0", "10.96.0.10") });
        const deadline = Date.now() + 2000;
        while (!heard.includes("local") && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
        assert.ok(heard.includes("local"));
        stop();
        other.close();
      }));

    if (options.nft === false) return;
    test("a group of logged packets has one reader, and is free again afterwards", () =>
      withNode(makeKernel(), (namespace, fabric) => {
        const read = (of: NetworkNamespace, group = 7) => of.readPacketLog(group, () => {});
        const stop = read(namespace);
        refused(() => read(namespace), "EPERM");
        read(namespace, 8)();
        read(fabric)();
        stop();
        stop();
        read(namespace)();
      }));

    for (const { says, given, run, refused: isRefused, is } of NFT_ROWS) {
      test(`nftables: ${says}`, () =>
        withNode(makeKernel(), ({ nft }) => {
          nft.run(NFT_BASE + (given ?? ""));
          if (isRefused) assert.throws(() => nft.run(run));
          else nft.run(run);
          if (is)
            assert.deepEqual(
              nft
                .readTable("inet", "t")
                ?.chains.map((chain) => chain.name)
                .sort(),
              is,
            );
        }));
    }

    test("iptables: what was restored is saved, in the kernel's chains and in others", () =>
      withNode(makeKernel(), ({ iptables }) => {
        assert.deepEqual(iptables.save(4), []);
        iptables.restore(4, IPTABLES_BASE);
        const nat = iptables.save(4).find(({ name }) => name === "nat");
        const rulesOf = (name: string) => nat?.chains.find((chain) => chain.name === name)?.rules.map(canonicalRule);
        assert.deepEqual(rulesOf("T-A"), [...IPTABLES_RULES].map(canonicalRule));
        assert.deepEqual(rulesOf("PREROUTING"), ["-j T-A"].map(canonicalRule));
        assert.deepEqual(iptables.save(6), []);
      }));

    for (const { says, run, refused: isRefused, is } of IPTABLES_ROWS)
      test(`iptables: ${says}`, () =>
        withNode(makeKernel(), ({ iptables }) => {
          iptables.restore(4, IPTABLES_BASE);
          const commands = `*nat\n${run}\nCOMMIT\n`;
          if (isRefused) assert.throws(() => iptables.restore(4, commands), { code: "iptables" });
          else iptables.restore(4, commands);
          const nat = iptables.save(4).find(({ name }) => name === "nat");
          const counts = (nat?.chains ?? [])
            .filter(({ name }) => name.startsWith("T-"))
            .map(({ name, rules }) => `${name} ${rules.length}`);
          assert.deepEqual(counts.sort(), is ?? ["T-A 4", "T-B 0"]);
        }));

    test("ipset: sets of every type hold what they are given, and no more", () =>
      withNode(makeKernel(), ({ ipsets }) => {
        const ours = (name: string) => name.startsWith("T-");
        for (const { elements: _elements, ...set } of IP_SETS) ipsets.create(set);
        for (const { name, elements } of IP_SETS) ipsets.change(name, { add: elements });
        const sorted = () => ipsets.list(ours).map((set) => ({ ...set, elements: [...set.elements].sort() }));
        assert.deepEqual(sorted().sort(byName), [...IP_SETS].sort(byName));
        refused(() => ipsets.create({ name: "T-A", type: "hash:ip", family: 4 }), "EEXIST");
        ipsets.change("T-A", { add: ["10.96.0.10,tcp:53"], delete: ["10.96.0.10,udp:53", "10.96.0.11,sctp:7", "10.96.0.99,udp:53"] });
        assert.deepEqual(ipsets.list((name) => name === "T-A")[0]?.elements, ["10.96.0.10,tcp:53"]);
        ipsets.destroy("T-A");
        refused(() => ipsets.destroy("T-A"), "ENOENT");
        refused(() => ipsets.change("T-A", { add: ["10.96.0.10,tcp:53"] }), "ENOENT");
        assert.equal(ipsets.list(ours).length, IP_SETS.length - 1);
      }));

    // The second kernel has it: npm run test:vm.
    if (makeKernel().hostNamespace().ipvs.lack() === undefined) describeIpvs(makeKernel);

    test("nftables: an absent table reads as undefined, and a deleted one is gone", () =>
      withNode(makeKernel(), ({ nft }) => {
        assert.equal(nft.readTable("inet", "t"), undefined);
        nft.run(NFT_BASE);
        assert.deepEqual(nft.listTables(), [{ family: "inet", name: "t" }]);
        nft.run("delete table inet t");
        assert.deepEqual(nft.listTables(), []);
      }));
  });
}

const IP_SETS: readonly IpSet[] = [
  { name: "T-A", type: "hash:ip,port", family: 4, elements: ["10.96.0.10,tcp:53", "10.96.0.10,udp:53", "10.96.0.11,sctp:7"] },
  { name: "T-B", type: "hash:ip,port", family: 6, elements: ["fd00:10:96::10,tcp:53"] },
  { name: "T-C", type: "hash:ip,port,ip", family: 4, elements: ["10.244.1.2,tcp:8080,10.244.1.2"] },
  { name: "T-D", type: "hash:ip,port,net", family: 4, elements: ["203.0.113.80,tcp:80,10.0.0.0/8"] },
  { name: "T-E", type: "bitmap:port", family: 4, elements: ["30080", "30081"] },
  { name: "T-F", type: "hash:ip", family: 6, elements: ["fd00:10:96::10"] },
];
const byName = (a: { readonly name: string }, b: { readonly name: string }) => (a.name < b.name ? -1 : 1);

function describeIpvs(makeKernel: () => Kernel): void {
  const key = { protocol: "tcp", port: 80 } as const;
  const v4: IpvsService = { ...key, family: 4, address: "10.96.0.80", scheduler: "rr", destinations: [] };
  const v6: IpvsService = { ...key, family: 6, address: "fd00:10:96::80", scheduler: "rr", destinations: [] };
  const to = (address: string, weight = 1) => ({ address, port: 8080, weight });
  const list = ({ ipvs }: NetworkNamespace) =>
    ipvs.list().map(({ destinations, ...service }) => ({
      ...service,
      destinations: destinations.map(({ address, port, weight }) => `${address}:${port} ${weight}`).sort(),
    }));

  for (const scheduler of ["rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "mh"])
    test(`IPVS: scheduler ${scheduler}, of both families, with a client's persistence`, () =>
      withNode(makeKernel(), (namespace) => {
        for (const service of [
          { ...v4, scheduler },
          { ...v6, scheduler, protocol: "udp" as const, persistence: 10_800 },
        ]) {
          namespace.ipvs.apply({ op: "add", service });
          assert.deepEqual(
            list(namespace).find(({ family }) => family === service.family),
            service,
          );
        }
      }));

  test("IPVS: destinations come, get another weight, and go; a service goes with them", () =>
    withNode(makeKernel(), (namespace) => {
      const { ipvs } = namespace;
      ipvs.apply({ op: "add", service: v4 });
      for (const address of ["10.244.1.2", "10.244.1.3"]) ipvs.apply({ op: "add", service: v4, destination: to(address) });
      ipvs.apply({ op: "set", service: v4, destination: to("10.244.1.2", 0) });
      assert.deepEqual(list(namespace)[0]?.destinations, ["10.244.1.2:8080 0", "10.244.1.3:8080 1"]);
      ipvs.apply({ op: "set", service: { ...v4, scheduler: "wlc", persistence: 60 } });
      assert.deepEqual(list(namespace), [
        { ...v4, scheduler: "wlc", persistence: 60, destinations: ["10.244.1.2:8080 0", "10.244.1.3:8080 1"] },
      ]);
      ipvs.apply({ op: "set", service: v4 });
      assert.equal(list(namespace)[0]?.persistence, undefined);
      ipvs.apply({ op: "delete", service: v4, destination: to("10.244.1.2") });
      assert.deepEqual(list(namespace)[0]?.destinations, ["10.244.1.3:8080 1"]);
      ipvs.apply({ op: "delete", service: v4 });
      assert.deepEqual(list(namespace), []);
    }));

  test("IPVS: one service is read as it stands in the list, and one that is not there is none", () =>
    withNode(makeKernel(), ({ ipvs }) => {
      const sticky: IpvsService = { ...v6, protocol: "udp", scheduler: "sh", persistence: 10_800 };
      assert.equal(ipvs.read(v4), undefined);
      for (const service of [v4, sticky, { ...v4, port: 81 }]) ipvs.apply({ op: "add", service });
      for (const address of ["10.244.1.2", "10.244.1.3"]) ipvs.apply({ op: "add", service: v4, destination: to(address) });
      ipvs.apply({ op: "add", service: sticky, destination: to("fd00:10:244::2", 0) });
      for (const service of ipvs.list()) assert.deepEqual(ipvs.read(service), service);
      assert.equal(ipvs.read(v4)?.destinations.length, 2);
      assert.deepEqual(ipvs.read(sticky), {
        ...sticky,
        destinations: [{ ...to("fd00:10:244::2", 0), active: 0, inactive: 0 }],
      });
      ipvs.apply({ op: "delete", service: v4 });
      assert.equal(ipvs.read(v4), undefined);
      assert.equal(ipvs.read({ ...sticky, protocol: "tcp" }), undefined);
    }));

  test("IPVS: a list is whole, where another namespace has as many", () =>
    withNode(makeKernel(), ({ ipvs }, others) => {
      const many = Array.from({ length: 60 }, (_, index): IpvsService => ({ ...v4, port: 1000 + index }));
      const hosts = [2, 3, 4, 5].map((host) => `10.244.1.${host}`);
      for (const service of many)
        for (const balancer of [ipvs, others.ipvs]) {
          balancer.apply({ op: "add", service });
          for (const host of hosts) balancer.apply({ op: "add", service, destination: to(host) });
        }
      const told = (balancer: Ipvs) => balancer.list().map(({ port, destinations }) => `${port} ${destinations.length}`);
      for (const balancer of [ipvs, others.ipvs])
        assert.deepEqual(
          told(balancer).sort(),
          many.map(({ port }) => `${port} ${hosts.length}`),
        );
    }));

  test("IPVS: what is there twice, or not there, is refused", () =>
    withNode(makeKernel(), ({ ipvs }) => {
      refused(() => ipvs.apply({ op: "delete", service: v4 }), "ESRCH");
      refused(() => ipvs.apply({ op: "add", service: v4, destination: to("10.244.1.2") }), "ESRCH");
      ipvs.apply({ op: "add", service: v4 });
      refused(() => ipvs.apply({ op: "add", service: v4 }), "EEXIST");
      refused(() => ipvs.apply({ op: "add", service: { ...v4, port: 81, scheduler: "nosuch" } }), "ENOENT");
      refused(() => ipvs.apply({ op: "delete", service: v4, destination: to("10.244.1.2") }), "ENOENT");
      ipvs.apply({ op: "add", service: v4, destination: to("10.244.1.2") });
      refused(() => ipvs.apply({ op: "add", service: v4, destination: to("10.244.1.2") }), "EEXIST");
    }));
}

const IPTABLES_RULES = [
  '-d 10.96.0.10/32 -p udp -m comment --comment "shop/web:dns cluster IP" -m udp --dport 53 -j T-B',
  "! -s 10.244.0.0/16 -m statistic --mode random --probability 0.3333333333 -j T-B",
  "-p tcp -m addrtype --dst-type LOCAL -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080",
  "-m mark ! --mark 0x4000/0x4000 -j RETURN",
];
const IPTABLES_BASE = `*nat\n:T-A - [0:0]\n:T-B - [0:0]\n${IPTABLES_RULES.map((rule) => `-A T-A ${rule}`).join("\n")}\n-I PREROUTING 1 -j T-A\nCOMMIT\n`;

const IPTABLES_ROWS: readonly { says: string; run: string; refused?: true; is?: readonly string[] }[] = [
  { says: "naming a chain empties it and no other", run: ":T-A - [0:0]\n-A T-A -j T-B", is: ["T-A 1", "T-B 0"] },
  { says: "a rule is deleted by what it says", run: "-D T-A -m mark ! --mark 0x4000/0x4000 -j RETURN", is: ["T-A 3", "T-B 0"] },
  { says: "a rule that is not there can't be deleted", run: "-D T-A -j RETURN", refused: true },
  { says: "a rule is put in its place", run: "-I T-A 2 -j RETURN", is: ["T-A 5", "T-B 0"] },
  { says: "a jump needs its chain", run: "-A T-A -j T-NONE", refused: true },
  { says: "a chain that is jumped to can't be deleted", run: "-X T-B", refused: true },
  { says: "a chain goes once nothing leads to it", run: "-D PREROUTING -j T-A\n:T-A - [0:0]\n-X T-A\n-X T-B", is: [] },
  { says: "a transaction with a refused line changes nothing", run: ":T-C - [0:0]\n-A T-C -j ACCEPT\n-D T-A -j RETURN", refused: true },
];

function check(namespace: NetworkNamespace, row: Row): void {
  for (const change of row.given ?? []) namespace.apply(change);
  const expected = row.refused;
  if (expected !== undefined) {
    refused(() => namespace.apply(row.change), expected);
    return;
  }
  namespace.apply(row.change);
  assert.deepEqual(row.look?.(namespace.observe()), row.is);
}

function refused(action: () => unknown, errnoName: string): void {
  assert.throws(action, (error: { errnoName?: string }) => {
    assert.equal(error.errnoName, errnoName, String(error));
    return true;
  });
}

/** A namespace whose eth0 (10.112.0.51/24, up) ends in another namespace as n1. */
async function withNode(
  kernel: Kernel,
  action: (namespace: NetworkNamespace, fabric: NetworkNamespace, kernel: Kernel) => void | Promise<void>,
): Promise<void> {
  const namespace = kernel.createNamespace();
  const fabric = kernel.createNamespace();
  try {
    namespace.addVethPair({ name: "eth0", up: true }, { name: "n1", namespace: fabric, up: true });
    namespace.apply(address("add", "10.112.0.51/24", "eth0"));
    await action(namespace, fabric, kernel);
  } finally {
    namespace.close();
    fabric.close();
  }
}
