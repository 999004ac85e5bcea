// The virtual services of one entry of the service table on one node.
import type { IpvsDestination, IpvsService } from "../kernel/index.ts";
import type { ServiceEndpoint, ServiceEntry } from "./entry.ts";
import { type Choice, chooseEndpoints, entryAddresses, type Standpoint } from "./table.ts";

/** Schedulers of IPVS that a Service may ask for. */
export const SCHEDULERS = ["rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "mh"] as const;
export type Scheduler = (typeof SCHEDULERS)[number];

export interface BalanceOptions {
  readonly scheduler: Scheduler;
  /** Weights of end points that have another than 1, by pod. */
  readonly weights: ReadonlyMap<string, number>;
  /** The node's own addresses of the entry's family at which it serves node ports. */
  readonly nodeAddresses: readonly string[];
}

export interface EntryServices {
  /** By the address, or "node" for the node port, that they stand at: another Service may have it. */
  readonly groups: readonly { readonly at: string; readonly services: readonly IpvsService[] }[];
}

const kept = new WeakMap<ServiceEntry, { readonly place: string; readonly services: EntryServices }>();

/** What an entry is balanced by; kept with it, so that what did not change is the same object. */
export function ipvsServices(entry: ServiceEntry, standpoint: Standpoint, options: BalanceOptions): EntryServices {
  const weights = entry.endpoints.map(({ pod }) => options.weights.get(pod ?? "") ?? 1).join();
  const place = JSON.stringify([standpoint, options.scheduler, options.nodeAddresses, weights]);
  const before = kept.get(entry);
  if (before?.place === place) return before.services;
  const services = { groups: calculate(entry, standpoint, options) };
  kept.set(entry, { place, services });
  return services;
}

function calculate(entry: ServiceEntry, standpoint: Standpoint, options: BalanceOptions): EntryServices["groups"] {
  const { family, protocol, port, nodePort, affinitySeconds } = entry;
  const internal = chooseEndpoints(entry, standpoint, true);
  const external = chooseEndpoints(entry, standpoint, false);
  const destination = ({ address, port: target, pod }: ServiceEndpoint): IpvsDestination => ({
    address,
    port: target,
    weight: options.weights.get(pod ?? "") ?? 1,
  });
  const service = (address: string, at: number, choice: Choice): IpvsService[] =>
    "use" in choice
      ? [
          {
            family,
            protocol,
            address,
            port: at,
            scheduler: options.scheduler,
            ...(affinitySeconds === undefined ? {} : { persistence: affinitySeconds }),
            destinations: choice.use.map(destination),
          },
        ]
      : [];
  return [
    ...entryAddresses(entry).map((address) => ({
      at: address,
      services: service(address, port, address === entry.clusterIP ? internal : external),
    })),
    ...(nodePort === undefined
      ? []
      : [{ at: "node", services: options.nodeAddresses.flatMap((address) => service(address, nodePort, external)) }]),
  ];
}
