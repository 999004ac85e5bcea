// A packet's walk through the KernelStates of a cluster, from the namespace that sends it to where it ends.
import { familyOf, formatAddress, parseAddress } from "../base/index.ts";
import {
  balancePacket,
  evaluateHook,
  type HookName,
  type HookResult,
  IPVS_OUTPUT_PRIORITY,
  isOwnAddress,
  type Link,
  makePacket,
  netfilterTables,
  type Owner,
  onTheWire,
  type Packet,
  ROUTE_PROTOCOL,
  type Route,
  type Routing,
  routePacket,
  sourceOn,
} from "../kernel/index.ts";
import type { Hop, Stage } from "./hop.ts";
import type { Place, Port, World } from "./world.ts";

/** Where a walk ended. */
export type Ending =
  | { readonly kind: "delivered"; readonly place: Place; readonly packet: Packet }
  | { readonly kind: "dropped" | "rejected" | "unroutable"; readonly reason: string; readonly remedy: string; readonly owner?: Owner };

/** Turns what a hook's rules did into hops, and says why a packet ends there. */
export interface Narrator {
  hook(place: Place, before: Packet, result: HookResult): { readonly hops: readonly Hop[]; readonly ending?: Ending };
  /** Whose an address is, in words. */
  nameOf(address: string): string;
}

/** Longer ways are loops: as much as a TTL allows. */
const MAX_HOPS = 64;

/** What a route look-up says about the way out. */
interface Way {
  readonly link: Link;
  readonly nexthop: string;
  /** The source address that the kernel would choose for it. */
  readonly source: string | undefined;
}

interface VxlanTunnelled {
  readonly vni: number;
  readonly mac: string;
  readonly packet: Packet;
}

/** What an outer packet carries: a VXLAN's frame, or (IPIP) a packet. */
type Tunnelled = VxlanTunnelled | { readonly packet: Packet };

/** Walks one packet. `choose` stands for chance: which of `mod` possibilities is taken, from 0. */
export function walkPacket(
  world: World,
  start: { readonly place: Place; readonly packet: Packet },
  narrator: Narrator,
  choose: (mod: number) => number = () => 0,
): { readonly hops: readonly Hop[]; readonly ending: Ending; readonly doubts: readonly string[] } {
  const walk = new Walk(world, narrator, choose);
  const ending = walk.send(start.place, start.packet);
  return { hops: walk.hops, ending, doubts: [...walk.doubts] };
}

class Walk {
  readonly hops: Hop[] = [];
  readonly doubts = new Set<string>();
  readonly #world: World;
  readonly #narrator: Narrator;
  readonly #choose: (mod: number) => number;
  #steps = 0;

  constructor(world: World, narrator: Narrator, choose: (mod: number) => number) {
    this.#world = world;
    this.#narrator = narrator;
    this.#choose = choose;
  }

  /** The output path: what a namespace's own program sends. */
  send(place: Place, packet: Packet, inner?: Tunnelled): Ending {
    const planned = routePacket(place.state, packet);
    const out = planned.kind === "forward" ? planned.link : planned.kind === "local" ? "lo" : "";
    const output = this.#output(place, packet, out);
    if ("kind" in output) return output;
    const routing = routePacket(place.state, output.packet);
    if (routing.kind === "local") {
      const input = this.#hook(place, "input", output.packet, "lo", "");
      return "kind" in input ? input : this.#deliver(place, input.packet, inner);
    }
    const way = this.#way(place, output.packet, routing);
    return "link" in way ? this.#leave(place, output.packet, way, inner) : way;
  }

  /** A packet that came in by a device (of the IP layer: the bridge, not its port). */
  #arrive(place: Place, inDevice: string, packet: Packet, inner?: Tunnelled): Ending {
    const prerouting = this.#hook(place, "prerouting", packet, inDevice, "");
    return "kind" in prerouting ? prerouting : this.#route(place, inDevice, prerouting.packet, inner);
  }

  #route(place: Place, inDevice: string, packet: Packet, inner?: Tunnelled): Ending {
    const routing = routePacket(place.state, packet, inDevice);
    if (routing.kind === "local") {
      const input = this.#hook(place, "input", packet, inDevice, "");
      if ("kind" in input) return input;
      const balanced = this.#balance(place, input.packet);
      if (!balanced) return this.#deliver(place, input.packet, inner);
      return "kind" in balanced ? balanced : this.#forwardBalanced(place, balanced);
    }
    const sysctl = packet.family === 4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding";
    if (place.state.sysctls[sysctl] === "0" || (place.state.sysctls[sysctl] === undefined && place.namespace !== "node")) {
      this.#hop(place, "route", "drop", `${packet.destination} is not ${place.node}'s own, and ${sysctl} is 0: nothing is forwarded`);
      return { kind: "dropped", reason: `${place.node} does not forward: ${sysctl} is 0`, remedy: `sysctl -w ${sysctl}=1` };
    }
    const out = this.#way(place, packet, routing);
    if (!("link" in out)) return out;
    const forward = this.#hook(place, "forward", packet, inDevice, out.link.name);
    return "kind" in forward ? forward : this.#leave(place, forward.packet, out, inner);
  }

  /** The output hook. IPVS stands in the middle of it, behind the nat chains. */
  #output(place: Place, packet: Packet, out: string): HookResult | Ending {
    if (place.state.ipvs.length === 0) return this.#hook(place, "output", packet, "", out);
    const first = this.#hook(place, "output", packet, "", out, { below: IPVS_OUTPUT_PRIORITY });
    if ("kind" in first) return first;
    const balanced = this.#balance(place, first.packet) ?? first.packet;
    return "kind" in balanced ? balanced : this.#hook(place, "output", balanced, "", out, { from: IPVS_OUTPUT_PRIORITY });
  }

  /** What IPVS does to a packet; undefined where it has no virtual service for it. */
  #balance(place: Place, packet: Packet): Packet | Ending | undefined {
    const found = balancePacket(place.state, packet, this.#choose);
    if (!found) return undefined;
    const { service, packet: sent } = found;
    const name = this.#narrator.nameOf(service.address);
    const what = `${service.address}:${service.port} is a virtual service of IPVS (${[service.scheduler, ...(name === service.address ? [] : [name])].join(", ")})`;
    if (!sent) {
      this.#hop(place, "service", "refused", `${what}, and no end point of it takes connections`);
      return { kind: "rejected", reason: `${what}, and no end point of it takes connections`, remedy: "look at: ipvsadm -L -n" };
    }
    const end = this.#narrator.nameOf(sent.destination);
    this.#hop(
      place,
      "service",
      `${sent.destination}:${sent.destinationPort}`,
      `${what}; the packet goes to an end point ${sent.destination}:${sent.destinationPort}, ${end}`,
    );
    return sent;
  }

  /** What IPVS took at the input hook leaves by the output hook. */
  #forwardBalanced(place: Place, packet: Packet): Ending {
    const routing = routePacket(place.state, packet);
    const out = routing.kind === "forward" ? routing.link : "lo";
    const output = this.#hook(place, "output", packet, "", out);
    if ("kind" in output) return output;
    if (routing.kind === "local") return this.#deliver(place, output.packet, undefined);
    const way = this.#way(place, output.packet, routing);
    return "link" in way ? this.#leave(place, output.packet, way) : way;
  }

  /** The device and next hop that a route names. */
  #way(place: Place, packet: Packet, routing: Exclude<Routing, { kind: "local" }>): Way | Ending {
    if (routing.kind !== "forward") {
      const says = routing.kind === "refused" ? sayRefused(place, routing.route, packet) : `no route to ${packet.destination}`;
      this.#hop(place, "route", "no route", says);
      return {
        kind: "unroutable",
        reason: `${where(place)}: ${says}`,
        remedy: place.namespace === "node" ? `look at: ip route get ${packet.destination}` : "",
      };
    }
    const { route, link, via, source } = routing;
    this.#sayRoute(place, packet, route.destination, link, via);
    const device = place.state.links.find(({ name }) => name === link);
    if (!device || device.up === false) {
      this.#hop(place, "route", "no route", `${link} is ${device ? "down" : "not there"}`);
      return {
        kind: "unroutable",
        reason: `${where(place)}: ${link} is ${device ? "down" : "not there"}`,
        remedy: `ip link set ${link} up`,
      };
    }
    return {
      link: device,
      nexthop: via ?? packet.destination,
      source: source ?? sourceOn(place.state, link, packet.family, via ?? packet.destination),
    };
  }

  /** Postrouting, and out by the device. */
  #leave(place: Place, packet: Packet, { link, nexthop, source: own }: Way, inner?: Tunnelled): Ending {
    const postrouting = this.#hook(place, "postrouting", packet, "", link.name);
    if ("kind" in postrouting) return postrouting;
    const left = postrouting.masquerade && own !== undefined ? { ...postrouting.packet, source: own } : postrouting.packet;
    if (postrouting.masquerade)
      this.#hop(
        place,
        "hook",
        "masquerade",
        `masquerade: ${packet.source} becomes ${left.source}, the address of ${place.node} on ${link.name}`,
      );
    return this.#transmit(place, link, nexthop, left, inner);
  }

  #sayRoute(place: Place, packet: Packet, destination: string, link: string, via: string | undefined): void {
    const to = destination === "0.0.0.0/0" || destination === "::/0" ? "default route" : `route ${destination}`;
    this.#hop(
      place,
      "route",
      via === undefined ? link : `${link} via ${via}`,
      `${packet.destination}: ${to} leads ${via === undefined ? "" : `to ${via} `}over ${link}`,
    );
  }

  #transmit(place: Place, device: Link, nexthop: string, packet: Packet, inner?: Tunnelled): Ending {
    if (++this.#steps > MAX_HOPS)
      return { kind: "dropped", reason: `the packet goes in a circle: ${MAX_HOPS} hops and no end`, remedy: "look at the routes above" };
    if (device.kind.type === "vxlan") return this.#encapsulate(place, device, device.kind, nexthop, packet);
    if (device.kind.type === "ipip") return this.#encapsulateIp(place, device, nexthop, packet);
    const framed = { ...packet, ...(device.mac === undefined ? {} : { sourceMac: device.mac }) };
    if (device.kind.type === "bridge") return this.#toPort(place, device.name, undefined, nexthop, framed, inner);
    const other = this.#world.peer(place, device.name);
    if (!other) return this.#underlay(place, device, nexthop, framed, inner);
    if (other.link.up === false) return this.#noNeighbour(place, nexthop, device.name, `${other.link.name} of ${other.place.node} is down`);
    if (other.link.master) return this.#bridge(other, other.link.master, nexthop, framed, inner);
    const silence = holds(other, nexthop) ? undefined : whySilent(other, nexthop);
    if (silence) return this.#noNeighbour(place, nexthop, device.name, silence.says, silence.remedy);
    return this.#arrive(other.place, other.link.name, carried(place, other.place, framed), inner);
  }

  /** A frame that came in by a port of a bridge: for the bridge itself, or for another port. */
  #bridge(port: Port, bridge: string, nexthop: string, packet: Packet, inner?: Tunnelled): Ending {
    const { place } = port;
    const addressed = { place, link: place.state.links.find(({ name }) => name === bridge) ?? port.link };
    if (holds(addressed, nexthop)) return this.#arrive(place, bridge, carried(undefined, place, packet), inner);
    const sysctl = `net.bridge.bridge-nf-call-ip${packet.family === 4 ? "" : "6"}tables`;
    if (place.state.sysctls[sysctl] === "0") {
      this.#hop(place, "hook", "passed over", `${sysctl} is 0: what stays within ${bridge} sees no Service and no policy`);
      return this.#toPort(place, bridge, port.link, nexthop, packet, inner);
    }
    const prerouting = this.#hook(place, "prerouting", carried(undefined, place, packet), bridge, "");
    if ("kind" in prerouting) return prerouting;
    // Translated on the bridge: the packet is routed from here.
    if (prerouting.packet.destination !== packet.destination) return this.#route(place, bridge, prerouting.packet, inner);
    const forward = this.#hook(place, "forward", prerouting.packet, bridge, bridge);
    if ("kind" in forward) return forward;
    const postrouting = this.#hook(place, "postrouting", forward.packet, "", bridge);
    return "kind" in postrouting ? postrouting : this.#toPort(place, bridge, port.link, nexthop, postrouting.packet, inner);
  }

  /** Out by the port of a bridge behind which an address answers. */
  #toPort(place: Place, bridge: string, from: Link | undefined, nexthop: string, packet: Packet, inner?: Tunnelled): Ending {
    for (const port of place.state.links) {
      if (port.master !== bridge || port.up === false || (port.name === from?.name && !port.hairpin)) continue;
      const other = this.#world.peer(place, port.name);
      if (!other || other.link.up === false || !holds(other, nexthop)) continue;
      return this.#arrive(other.place, other.link.name, carried(place, other.place, packet), inner);
    }
    return this.#noNeighbour(place, nexthop, bridge);
  }

  #encapsulate(place: Place, device: Link, tunnel: Extract<Link["kind"], { type: "vxlan" }>, nexthop: string, packet: Packet): Ending {
    const neighbour = place.state.neighbours.find(
      (each) => each.link === device.name && each.address === nexthop && each.mac !== undefined,
    );
    if (!neighbour?.mac)
      return this.#noNeighbour(place, nexthop, device.name, `${device.name} has no neighbour entry for ${nexthop}, and asks nobody`);
    const { mac } = neighbour;
    this.#hop(place, "neighbour", mac, `${nexthop} is at ${mac} on ${device.name}`);
    const entry = place.state.fdb.find((each) => each.link === device.name && each.mac === mac && each.destination !== undefined);
    if (!entry?.destination) {
      this.#hop(place, "fdb", "drop", `${device.name} has no forwarding entry for ${mac}`);
      return {
        kind: "dropped",
        reason: `${place.node}: ${device.name} does not know behind which node ${mac} is`,
        remedy: `look at: bridge fdb show dev ${device.name}`,
      };
    }
    this.#hop(place, "fdb", entry.destination, `${mac} is behind ${this.#narrator.nameOf(entry.destination)} (${entry.destination})`);
    this.#hop(
      place,
      "encapsulate",
      "VXLAN",
      `wrapped: VXLAN ${tunnel.vni}, UDP ${tunnel.port}, ${tunnel.local} → ${entry.destination}${mtuWarning(place, device, tunnel)}`,
    );
    const outer = makePacket({
      source: tunnel.local,
      destination: entry.destination,
      protocol: "udp",
      sourcePort: 50_000,
      destinationPort: tunnel.port,
    });
    return this.send(place, outer, { vni: tunnel.vni, mac, packet: onTheWire(packet) });
  }

  #decapsulate(place: Place, outer: Packet, { vni, mac, packet }: VxlanTunnelled): Ending {
    const device = place.state.links.find(
      ({ kind, up }) => kind.type === "vxlan" && kind.vni === vni && kind.port === outer.destinationPort && up !== false,
    );
    if (!device) {
      this.#hop(place, "encapsulate", "drop", `no VXLAN device with VNI ${vni} listens on UDP ${outer.destinationPort}`);
      return {
        kind: "dropped",
        reason: `${place.node} has no VXLAN device with VNI ${vni} that is up on UDP ${outer.destinationPort}`,
        remedy: "look at: ip -d link show type vxlan",
      };
    }
    if (device.mac !== undefined && device.mac !== mac) {
      this.#hop(place, "encapsulate", "drop", `the frame is for ${mac}, and ${device.name} is ${device.mac}`);
      return {
        kind: "dropped",
        reason: `${place.node}: ${device.name} has another MAC address (${device.mac}) than its peer thinks (${mac})`,
        remedy: device.name.endsWith(".calico")
          ? `the peer's entry is old: bridge fdb show; ip link show ${device.name}`
          : `compare the node's annotation flannel.alpha.coreos.com/backend-data with: ip link show ${device.name}`,
      };
    }
    this.#hop(place, "encapsulate", "unwrapped", `unwrapped by ${device.name}`);
    return this.#arrive(place, device.name, packet);
  }

  /** To any node that the route names: no neighbours, no forwarding entries. */
  #encapsulateIp(place: Place, device: Link, nexthop: string, packet: Packet): Ending {
    const way = routePacket(place.state, makePacket({ source: "0.0.0.0", destination: nexthop, protocol: "4" }));
    const source = way.kind === "forward" ? way.source : undefined;
    if (source === undefined)
      return this.#noNeighbour(place, nexthop, device.name, `${place.node} has no address for the outer packets of ${device.name}`);
    this.#hop(place, "encapsulate", "IPIP", `wrapped: IP in IP, ${source} → ${nexthop} (${this.#narrator.nameOf(nexthop)})`);
    const outer = makePacket({ source, destination: nexthop, protocol: "4" });
    return this.send(place, outer, { packet: onTheWire(packet) });
  }

  #decapsulateIp(place: Place, packet: Packet): Ending {
    const device = place.state.links.find(({ kind, up }) => kind.type === "ipip" && up !== false);
    if (!device) {
      this.#hop(place, "encapsulate", "drop", "no IPIP device takes the packet");
      return { kind: "dropped", reason: `${place.node} has no IPIP device that is up`, remedy: "look at: ip -d link show type ipip" };
    }
    this.#hop(place, "encapsulate", "unwrapped", `unwrapped by ${device.name}`);
    return this.#arrive(place, device.name, packet);
  }

  /** Between machines: the next hop itself, or whatever the underlay's own routers know. */
  #underlay(place: Place, device: Link, nexthop: string, packet: Packet, inner?: Tunnelled): Ending {
    const target = this.#world.onUnderlay(nexthop) ?? this.#world.onUnderlay(packet.destination);
    if (target && target.place !== place) return this.#arrive(target.place, target.link.name, onTheWire(packet), inner);
    const name = this.#narrator.nameOf(packet.destination);
    if (name === packet.destination && place !== this.#world.outside) {
      const outside = this.#world.outside;
      this.#hop(outside, "deliver", "delivered", `${packet.destination} is outside the cluster`);
      return { kind: "delivered", place: outside, packet };
    }
    this.#hop(place, "route", "no route", `the underlay knows no way to ${packet.destination} (${name})`);
    return {
      kind: "unroutable",
      reason: `beyond ${device.name} of ${place.node === "outside" ? "the outside client" : place.node}, nobody knows the way to ${packet.destination} (${name})`,
      remedy: "from outside, reach pods through a NodePort or LoadBalancer Service",
    };
  }

  #deliver(place: Place, packet: Packet, inner: Tunnelled | undefined): Ending {
    if (!inner) return { kind: "delivered", place, packet };
    return "vni" in inner ? this.#decapsulate(place, packet, inner) : this.#decapsulateIp(place, inner.packet);
  }

  #noNeighbour(
    place: Place,
    nexthop: string,
    device: string,
    says = `nobody on ${device} answers for ${nexthop}`,
    remedy?: string,
  ): Ending {
    this.#hop(place, "neighbour", "no route", says);
    return {
      kind: "unroutable",
      reason: `${where(place)}: ${says}`,
      remedy: remedy ?? (place.namespace === "node" ? `look at: ip neigh show ${nexthop}` : ""),
    };
  }

  #hook(
    place: Place,
    hook: HookName,
    packet: Packet,
    inDevice: string,
    outDevice: string,
    priorities: { readonly from?: number; readonly below?: number } = {},
  ): HookResult | Ending {
    const result = evaluateHook(netfilterTables(place.state), hook, packet, {
      inDevice,
      outDevice,
      isLocal: (address) => isOwnAddress(place.state, address),
      choose: this.#choose,
      ...priorities,
    });
    for (const doubt of result.doubts) this.doubts.add(`${place.node}: ${doubt}`);
    const told = this.#narrator.hook(place, packet, result);
    this.hops.push(...told.hops);
    return told.ending ?? result;
  }

  #hop(place: Place, stage: Stage, decision: string, says: string): void {
    this.hops.push({ node: place.node, namespace: place.namespace, stage, decision, says });
  }
}

/** Marks and connections stay within a namespace. */
function carried(from: Place | undefined, to: Place, packet: Packet): Packet {
  if (from === to) return packet;
  const { sourceMac } = packet;
  return { ...onTheWire(packet), ...(sourceMac === undefined ? {} : { sourceMac }) };
}

function holds(port: Port, address: string): boolean {
  if (address === linkLocalOf(port.link.mac)) return true;
  return port.place.state.addresses.some((each) => each.link === port.link.name && each.address.replace(/\/.*/, "") === address);
}

/** The address that a kernel makes of a device's MAC by itself (RFC 4291, appendix A). */
function linkLocalOf(mac: string | undefined): string | undefined {
  const bytes = mac?.split(":").map((part) => Number.parseInt(part, 16)) ?? [];
  const [first, ...rest] = bytes;
  if (first === undefined || bytes.length !== 6) return undefined;
  const [b = 0, c = 0, d = 0, e = 0, f = 0] = rest;
  const groups = [((first ^ 2) << 8) | b, (c << 8) | 0xff, 0xfe00 | d, (e << 8) | f].map((group) => group.toString(16));
  return formatAddress(parseAddress(`fe80::${groups.join(":")}`));
}

/** Why the other end of a pod's wire does not answer in another's name; undefined where it does (proxy ARP). */
function whySilent({ place, link }: Port, nexthop: string): { readonly says: string; readonly remedy?: string } | undefined {
  if (familyOf(nexthop) === 6) return { says: `nobody answers for ${nexthop}` };
  const key = `net.ipv4.conf.${link.name.replaceAll(".", "/")}.proxy_arp`;
  if (place.state.sysctls[key] !== "1")
    return link.name.startsWith("cali")
      ? {
          says: `nobody answers for ${nexthop}: proxy_arp of ${link.name} is off on ${place.node}`,
          remedy: `on ${place.node}: sysctl -w ${key}=1`,
        }
      : { says: `nobody answers for ${nexthop}` };
  const routing = routePacket(place.state, makePacket({ source: "0.0.0.0", destination: nexthop, protocol: "icmp" }));
  if (routing.kind === "forward" && routing.link !== link.name) return undefined;
  return {
    says: `${link.name} of ${place.node} answers for ${nexthop} only while the node has a route to it over another device, and it has none`,
    remedy: `give ${place.node} a default route`,
  };
}

/** A route that leads nowhere, in words. */
function sayRefused(place: Place, route: Route, packet: Packet): string {
  const says = `route ${route.destination} is ${route.type}`;
  const isBlock = route.type === "blackhole" && route.protocol === ROUTE_PROTOCOL.fairlead;
  return isBlock ? `${says}: the block is ${place.node}'s, and no pod there has ${packet.destination}` : says;
}

/** Bytes that VXLAN adds to an inner packet (RFC 7348 §5). */
const OVERHEAD = { 4: 50, 6: 70 } as const;

function mtuWarning(place: Place, device: Link, tunnel: { readonly device: string; readonly local: string }): string {
  const outer = place.state.links.find(({ name }) => name === tunnel.device)?.mtu;
  const room = outer === undefined || device.mtu === undefined ? 0 : outer - OVERHEAD[familyOf(tunnel.local)] - device.mtu;
  if (room >= 0) return "";
  return `; large packets are lost: MTU ${device.mtu} of ${device.name} and the wrapping are ${-room} bytes more than ${tunnel.device} takes (${outer})`;
}

function where(place: Place): string {
  return place.namespace === "node" ? place.node : place.namespace;
}
