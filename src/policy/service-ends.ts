// The end points of Services as peers of rules: addresses, with protocol and port, ready or not.
import { formatAddress, PORT_PROTOCOLS, tryParseAddress } from "../base/index.ts";
import type { ClusterSnapshot, Part } from "../cluster/index.ts";
import type { Owner } from "../kernel/index.ts";
import type { EndpointSlice, Service } from "../resources/index.ts";
import { testLabels } from "./labels.ts";
import type { ServicePeer } from "./rules.ts";

export interface ServiceEnd {
  readonly address: string;
  /** IANA's number. */
  readonly protocol: number;
  /** 0: the slice names no port. */
  readonly port: number;
  readonly owner: Owner;
}

/** The end points of the Services that a peer means. */
export function serviceEnds(
  snapshot: ClusterSnapshot,
  { namespace, name, labels }: Pick<ServicePeer, "namespace" | "name" | "labels">,
): readonly ServiceEnd[] {
  if (namespace !== undefined && name !== undefined && labels === undefined) return endsOfService(snapshot, namespace, name);
  const services: Iterable<Service> = namespace === undefined ? snapshot.services.values() : snapshot.services.inNamespace(namespace);
  const found: ServiceEnd[] = [];
  for (const { metadata } of services) {
    if (name !== undefined && metadata.name !== name) continue;
    if (labels && !testLabels(labels.test, metadata.labels ?? {})) continue;
    found.push(...endsOfService(snapshot, metadata.namespace ?? "default", metadata.name));
  }
  return found;
}

const kept = new WeakMap<Part<EndpointSlice>, Map<string, readonly ServiceEnd[]>>();

function endsOfService(snapshot: ClusterSnapshot, namespace: string, name: string): readonly ServiceEnd[] {
  let known = kept.get(snapshot.endpointSlices);
  if (!known) {
    known = new Map();
    kept.set(snapshot.endpointSlices, known);
  }
  const key = `${namespace}/${name}`;
  let ends = known.get(key);
  if (!ends) {
    ends = [...snapshot.endpointSlices.ofService(namespace, name)].flatMap((slice) =>
      endsOfSlice(slice, { kind: "Service", namespace, name }),
    );
    known.set(key, ends);
  }
  return ends;
}

function endsOfSlice(slice: EndpointSlice, owner: Owner): ServiceEnd[] {
  const ports = slice.ports?.length ? slice.ports : [{ protocol: "TCP", port: 0 }];
  return (slice.endpoints ?? []).flatMap((endpoint) =>
    endpoint.addresses.flatMap((text) => {
      const address = tryParseAddress(text);
      if (!address) return [];
      return ports.flatMap(({ protocol, port }) => {
        const number = PORT_PROTOCOLS.get(protocol ?? "TCP");
        return number === undefined ? [] : [{ address: formatAddress(address), protocol: number, port: port ?? 0, owner }];
      });
    }),
  );
}
