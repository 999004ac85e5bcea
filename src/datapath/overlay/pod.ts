// One pod's network as the overlay wires it: eth0 with its addresses, and the default routes through cni0.
import { createHash } from "node:crypto";
import { familyOf, formatPrefix, networkOf, parsePrefix } from "../../base/index.ts";
import { EMPTY_STATE, type KernelState, MAIN_TABLE, type Route, USUAL_GSO_MAX_SIZE } from "../../kernel/index.ts";
import { gatewayOf } from "./overlay.ts";

export interface PodNetwork {
  /** Name of the interface in the pod: "eth0". */
  readonly interface: string;
  /** "10.244.1.7/24" */
  readonly addresses: readonly string[];
  readonly mac: string;
  readonly mtu: number;
}

/** What the pod's namespace must hold. */
export function planPodNetwork(pod: PodNetwork): KernelState {
  const routes = pod.addresses.flatMap((address): Route[] => {
    const family = familyOf(address);
    const network = formatPrefix(networkOf(parsePrefix(address)));
    const base = { family, type: "unicast", table: MAIN_TABLE, protocol: 84 } as const;
    return [
      {
        ...base,
        destination: network,
        nexthops: [{ link: pod.interface }],
        ...(family === 4 ? { scope: "link" as const, source: address.replace(/\/.*/, "") } : {}),
      },
      { ...base, destination: family === 4 ? "0.0.0.0/0" : "::/0", nexthops: [{ via: gatewayOf(network), link: pod.interface }] },
    ];
  });
  return {
    ...EMPTY_STATE,
    links: [{ name: pod.interface, kind: { type: "veth" }, mac: pod.mac, mtu: pod.mtu, gsoIpv4MaxSize: USUAL_GSO_MAX_SIZE, up: true }],
    addresses: pod.addresses.map((address) => ({ link: pod.interface, address, nodad: true })),
    routes,
  };
}

/** The host's end of a pod's veth: the same for one attachment at every call, at most 15 bytes. */
export function hostLinkName(containerId: string, podInterface: string): string {
  return `veth${createHash("sha256").update(`${containerId}/${podInterface}`).digest("hex").slice(0, 8)}`;
}
