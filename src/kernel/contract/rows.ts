// What every Kernel must do, row by row: changes, and the state or the errno that follows.
import type { LinkChange } from "../kernel.ts";
import { localRoute } from "../route-diff.ts";
import { type FdbEntry, type KernelState, type LinkKind, MAIN_TABLE, type Neighbour, ROUTE_PROTOCOL, type Route } from "../state.ts";

export interface Row {
  readonly says: string;
  readonly given?: readonly LinkChange[];
  readonly change: LinkChange;
  readonly refused?: string;
  /** What to look at afterwards, and what it must be. */
  readonly look?: (state: KernelState) => unknown;
  readonly is?: unknown;
  /** The first Linux that can do it: "6.3". */
  readonly since?: string;
  /** The first Linux that does otherwise. */
  readonly before?: string;
  readonly needsFastPath?: boolean;
}

export const VXLAN: LinkKind = { type: "vxlan", vni: 1, port: 8472, local: "10.112.0.51", device: "eth0", learning: false };
const MAC = "02:00:00:00:00:02";

export const bridge = (name = "cni0"): LinkChange => ({ op: "add", link: { name, kind: { type: "bridge" } } });
const vxlan = (name = "flannel.1", kind = VXLAN): LinkChange => ({ op: "add", link: { name, kind } });
const up = (name: string): LinkChange => ({ op: "set", link: { name, up: true } });
export const address = (op: "add" | "delete", text: string, link = "cni0"): LinkChange => ({ op, address: { link, address: text } });
export const route = (destination: string, hop: Route["nexthops"][number] | undefined, more: Partial<Route> = {}): Route => ({
  family: 4,
  destination,
  type: hop ? "unicast" : "blackhole",
  nexthops: hop ? [hop] : [],
  table: MAIN_TABLE,
  protocol: ROUTE_PROTOCOL.fairlead,
  ...more,
});
export const addLocal = (text: string, link = "cni0"): LinkChange => ({ op: "add", route: localRoute(link, text) });
const neighbour = (text: string, mac = MAC): Neighbour => ({ link: "flannel.1", address: text, mac, state: "permanent" });
const fdb = (destination: string, mac = MAC): FdbEntry => ({ link: "flannel.1", mac, destination, table: "self", permanent: true });

export const linkNames = (state: KernelState) => state.links.map((link) => link.name).sort();
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

export const ROWS: readonly Row[] = [
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
    before: "7",
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
