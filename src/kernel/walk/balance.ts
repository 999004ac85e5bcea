// IPVS, evaluated for one packet: the virtual service that takes it, and the end point that it goes to.
import { ipvsKey } from "../netlink/ipvs.ts";
import type { IpvsService, KernelState } from "../state.ts";
import type { Packet } from "./packet.ts";

/** IPVS stands behind the nat chains of the output hook (ip_vs_core.c: NF_IP_PRI_NAT_DST + 1). */
export const IPVS_OUTPUT_PRIORITY = -99;

export interface Balanced {
  readonly service: IpvsService;
  /** As it goes on; absent where the service has no end point that takes connections. */
  readonly packet?: Packet;
}

const indexes = new WeakMap<readonly IpvsService[], ReadonlyMap<string, IpvsService>>();

/** Undefined where no virtual service takes the packet. Schedulers differ in whom they choose, never in who may be chosen: chance stands for them. */
export function balancePacket(state: KernelState, packet: Packet, choose: (mod: number) => number): Balanced | undefined {
  const { protocol, family, destination: address, destinationPort: port } = packet;
  if (state.ipvs.length === 0 || (protocol !== "tcp" && protocol !== "udp" && protocol !== "sctp")) return undefined;
  let index = indexes.get(state.ipvs);
  if (!index) {
    index = new Map(state.ipvs.map((service) => [ipvsKey(service), service]));
    indexes.set(state.ipvs, index);
  }
  const service = index.get(ipvsKey({ family, protocol, address, port }));
  if (!service) return undefined;
  const open = service.destinations.filter(({ weight }) => weight > 0);
  const chosen = open[open.length === 0 ? 0 : choose(open.length)];
  if (!chosen) return { service };
  return {
    service,
    packet: {
      ...packet,
      original: packet.original ?? { destination: address, port },
      destination: chosen.address,
      destinationPort: chosen.port,
      translated: [...packet.translated, "destination"],
    },
  };
}
