// One pod's network as the routed data path wires it: its address alone, and one way out that the host answers for.
//
//   eth0 10.244.0.7/32    169.254.1.1 dev eth0 scope link    default via 169.254.1.1 ── proxy ARP of the host's end (ee:ee:ee:ee:ee:ee)
import { createHash } from "node:crypto";
import { addressBits, type Family, familyOf, formatPrefix, networkOf, parsePrefix } from "../../base/index.ts";
import { EMPTY_STATE, type KernelState, type Link, MAIN_TABLE, ROUTE_PROTOCOL, type Route } from "../../kernel/index.ts";

/** MAC of every host's end: each is alone with its pod. */
export const HOST_MAC = "ee:ee:ee:ee:ee:ee";
/** What pods have for their router: an address that nobody has, and the link-local one that follows from the host's MAC. */
export const POD_GATEWAYS: Readonly<Record<Family, string>> = { 4: "169.254.1.1", 6: "fe80::ecee:eeff:feee:eeee" };

export interface RoutedPod {
  /** Name of the interface in the pod: "eth0". */
  readonly interface: string;
  /** "10.244.0.7/32"; pods that were wired by the overlay keep the length that they were told: "10.244.0.7/24". */
  readonly addresses: readonly string[];
  readonly mac: string;
  readonly mtu: number;
  /** The largest TCP packet over IPv4 that is sent in one piece, in bytes. */
  readonly gsoIpv4MaxSize: number;
}

/** What the pod's namespace must hold. */
export function planRoutedPod(pod: RoutedPod): KernelState {
  return {
    ...EMPTY_STATE,
    links: [{ name: pod.interface, kind: { type: "veth" }, mac: pod.mac, mtu: pod.mtu, gsoIpv4MaxSize: pod.gsoIpv4MaxSize, up: true }],
    addresses: pod.addresses.map((address) => ({ link: pod.interface, address, nodad: true })),
    routes: pod.addresses.flatMap((address) => podRoutes(address, pod.interface)),
  };
}

function podRoutes(address: string, link: string): Route[] {
  const prefix = parsePrefix(address);
  const { family } = prefix;
  const via = POD_GATEWAYS[family];
  const base = { family, type: "unicast", table: MAIN_TABLE, protocol: ROUTE_PROTOCOL.fairlead } as const;
  return [
    ...(family === 4 ? [{ ...base, destination: `${via}/32`, nexthops: [{ link }], scope: "link" as const }] : []),
    { ...base, destination: family === 4 ? "0.0.0.0/0" : "::/0", nexthops: [{ via, link }] },
    // The kernel takes the address's network for its neighbours; they are behind the host. (Of IPv6 routes, the lower metric wins.)
    ...(prefix.length < addressBits(family)
      ? [{ ...base, destination: formatPrefix(networkOf(prefix)), nexthops: [{ via, link }], ...(family === 6 ? { metric: 1 } : {}) }]
      : []),
  ];
}

/** The host's end of a pod's veth: the same for one attachment at every call, 15 bytes. */
export function caliName(containerId: string, podInterface: string): string {
  return `cali${createHash("sha256").update(`${containerId}/${podInterface}`).digest("hex").slice(0, 11)}`;
}

/** The host's end, as it must be. It leaves the bridge that an overlay had it in. */
export function hostLink(
  name: string,
  { mtu, gsoIpv4MaxSize, fastPath }: Pick<RoutedPod, "mtu" | "gsoIpv4MaxSize"> & { readonly fastPath: boolean },
): Link {
  const link: Link = { name, kind: { type: "veth" }, mac: HOST_MAC, mtu, gsoIpv4MaxSize, up: true, master: "" };
  return fastPath ? { ...link, fastPath } : link;
}

/** Settings of the host's end: it answers the pod's questions for its router, forwards, and takes nothing but the pod's own packets. */
export function hostSysctls(name: string, families: ReadonlySet<Family>): Record<string, string> {
  const key = name.replaceAll(".", "/");
  return {
    ...(families.has(4)
      ? {
          [`net.ipv4.conf.${key}.proxy_arp`]: "1",
          [`net.ipv4.neigh.${key}.proxy_delay`]: "0",
          [`net.ipv4.conf.${key}.forwarding`]: "1",
          [`net.ipv4.conf.${key}.route_localnet`]: "1",
          [`net.ipv4.conf.${key}.rp_filter`]: "1",
        }
      : {}),
    ...(families.has(6)
      ? {
          [`net.ipv6.conf.${key}.proxy_ndp`]: "1",
          [`net.ipv6.conf.${key}.forwarding`]: "1",
          [`net.ipv6.conf.${key}.accept_ra`]: "0",
          // Alone with its pod, it can be sure of its address at once, and answers from the first packet on.
          [`net.ipv6.conf.${key}.accept_dad`]: "0",
        }
      : {}),
  };
}

/** The route to a pod: its address alone, straight to its interface. */
export function podRoute(address: string, link: string): Route {
  const family = familyOf(address);
  return {
    family,
    destination: `${address.replace(/\/.*/, "")}/${addressBits(family)}`,
    type: "unicast",
    nexthops: [{ link }],
    table: MAIN_TABLE,
    protocol: ROUTE_PROTOCOL.fairlead,
    ...(family === 4 ? { scope: "link" as const } : {}),
  };
}
