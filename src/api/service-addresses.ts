// Cluster addresses and node ports of Services: given out, held, and given back within the store's transaction.
import {
  addressAt,
  FairleadError,
  type Family,
  familyOf,
  formatAddress,
  type IpPrefix,
  parseAddress,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
  prefixSize,
} from "../base/index.ts";
import type { KubeObject, Service, ServiceSpec } from "../resources/index.ts";
import type { AdmissionContext, AdmissionHook, MutableObject } from "./admission.ts";
import { invalid } from "./errors.ts";
import { groupVersionOf } from "./resource-table.ts";

export interface ServiceAddressOptions {
  /** One network per family; the first is the default family. */
  readonly serviceCidrs: readonly string[];
  readonly nodePorts?: { readonly first: number; readonly last: number };
}

const SERVICES = { group: "", version: "v1", plural: "services" } as const;
const FAMILY_NAMES = { 4: "IPv4", 6: "IPv6" } as const;
/** As many addresses at the start of a network are left to those who ask for one (KEP-3070), at most. */
const STATIC_BAND = 256n;

/** Refuses networks that overlap. @throws FairleadError `overlapping-networks` */
export function checkNetworks(networks: readonly { readonly name: string; readonly cidr: string }[]): void {
  for (const [index, a] of networks.entries()) {
    for (const b of networks.slice(index + 1)) {
      if (!prefixesOverlap(parsePrefix(a.cidr), parsePrefix(b.cidr))) continue;
      throw new FairleadError("overlapping-networks", `the ${a.name} ${a.cidr} and the ${b.name} ${b.cidr} overlap`, {
        remedy: "choose networks that have no address in common",
      });
    }
  }
}

type MutableSpec = { -readonly [K in keyof ServiceSpec]: ServiceSpec[K] };

/** The object by which a cluster tells its Services' networks, under the name that Kubernetes gives the first. */
export function serviceCidrObject(cidrs: readonly string[]) {
  return { apiVersion: "networking.k8s.io/v1", kind: "ServiceCIDR", metadata: { name: "kubernetes" }, spec: { cidrs } };
}

/** The hook that allocates for Services. It is filled from the store by `adopt` at the start. */
export function serviceAddresses(options: ServiceAddressOptions): AdmissionHook & { adopt(services: Iterable<Service>): void } {
  const networks = options.serviceCidrs.map((cidr) => parsePrefix(cidr));
  const { first, last } = options.nodePorts ?? { first: 30_000, last: 32_767 };
  const holders = new Map<string, string>();
  const cursors = new Map<Family, bigint>();
  let portCursor = first;

  const networkOf = (family: Family): IpPrefix | undefined => networks.find((network) => network.family === family);
  const causeOf = (object: KubeObject, field: string, message: string) =>
    invalid("", "Service", object.metadata.name, [{ reason: "FieldValueInvalid", field, message }]);

  function hold(context: AdmissionContext, key: string, service: string): void {
    if (context.dryRun) return;
    holders.set(key, service);
    context.onRollback(() => holders.delete(key));
  }

  function allocateAddress(family: Family, object: KubeObject, context: AdmissionContext): string {
    const network = networkOf(family);
    if (!network) throw causeOf(object, "spec.ipFamilies[0]", `Invalid value: "${FAMILY_NAMES[family]}": not configured on this cluster`);
    const size = prefixSize(network);
    const band = size / 16n < STATIC_BAND ? size / 16n : STATIC_BAND;
    const end = size - 1n < 1n << 40n ? size - 1n : 1n << 40n;
    let offset = cursors.get(family) ?? band;
    for (let tries = 0; BigInt(tries) < end; tries++) {
      const address = formatAddress(addressAt(network, offset));
      offset = offset + 1n >= end ? 1n : offset + 1n;
      if (holders.has(address)) continue;
      cursors.set(family, offset);
      hold(context, address, idOf(object));
      return address;
    }
    throw causeOf(
      object,
      "spec.clusterIPs",
      `Invalid value: []: failed to allocate IP: no address is left in ${options.serviceCidrs.join(", ")}`,
    );
  }

  function claimAddress(address: string, index: number, object: KubeObject, context: AdmissionContext): void {
    const field = index === 0 ? "spec.clusterIP" : `spec.clusterIPs[${index}]`;
    const network = networkOf(familyOf(address));
    if (!network || !prefixContains(network, parseAddress(address))) {
      throw causeOf(
        object,
        field,
        `Invalid value: "${address}": the provided IP is not in the valid range ${options.serviceCidrs.join(", ")}`,
      );
    }
    const holder = holders.get(address);
    if (holder !== undefined && holder !== idOf(object))
      throw causeOf(object, field, `Invalid value: "${address}": provided IP is already allocated, to Service ${holder}`);
    if (holder === undefined) hold(context, address, idOf(object));
  }

  function allocatePort(protocol: string, object: KubeObject, context: AdmissionContext): number {
    for (let tries = first; tries <= last; tries++) {
      const port = portCursor;
      portCursor = portCursor >= last ? first : portCursor + 1;
      if (holders.has(`${protocol}/${port}`)) continue;
      hold(context, `${protocol}/${port}`, idOf(object));
      return port;
    }
    throw causeOf(object, "spec.ports", `Invalid value: []: no node port is left in ${first}-${last}`);
  }

  function setAddresses(spec: MutableSpec, object: KubeObject, old: ServiceSpec | undefined, context: AdmissionContext): void {
    if (spec.type === "ExternalName") {
      for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] as const) delete spec[field];
      return;
    }
    const given = spec.clusterIPs?.length
      ? [...spec.clusterIPs]
      : spec.clusterIP
        ? [spec.clusterIP]
        : old?.clusterIPs && old.type !== "ExternalName"
          ? [...old.clusterIPs]
          : [];
    if (spec.clusterIP && given[0] !== spec.clusterIP) given[0] = spec.clusterIP;
    const primary: Family =
      given[0] && given[0] !== "None"
        ? familyOf(given[0])
        : spec.ipFamilies?.[0]
          ? spec.ipFamilies[0] === "IPv6"
            ? 6
            : 4
          : (networks[0]?.family ?? 4);
    const both =
      networks.length > 1 &&
      (spec.ipFamilyPolicy === "PreferDualStack" ||
        spec.ipFamilyPolicy === "RequireDualStack" ||
        given.length > 1 ||
        (spec.ipFamilies?.length ?? 0) > 1);
    const families: Family[] = both ? [primary, primary === 4 ? 6 : 4] : [primary];
    spec.ipFamilyPolicy = both ? (spec.ipFamilyPolicy === "RequireDualStack" ? "RequireDualStack" : "PreferDualStack") : "SingleStack";
    spec.ipFamilies = families.map((family) => FAMILY_NAMES[family]);
    if (given[0] === "None") {
      spec.clusterIP = "None";
      spec.clusterIPs = ["None"];
      return;
    }
    const addresses = families.map((family, index) => {
      const wanted = given[index];
      if (wanted === undefined) return allocateAddress(family, object, context);
      claimAddress(wanted, index, object, context);
      return wanted;
    });
    spec.clusterIP = addresses[0] ?? "";
    spec.clusterIPs = addresses;
  }

  function setPorts(spec: MutableSpec, object: KubeObject, old: ServiceSpec | undefined, context: AdmissionContext): void {
    const wants = spec.type === "NodePort" || (spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false);
    const byProtocol = new Map<string, number>();
    spec.ports = (spec.ports ?? []).map((port, index) => {
      const protocol = port.protocol ?? "TCP";
      // A load balancer that wants none by itself may still ask for one.
      const asks = spec.type === "LoadBalancer" && Boolean(port.nodePort);
      if (!wants && !asks) {
        const { nodePort: _nodePort, ...rest } = port;
        return rest;
      }
      const before = old?.ports?.find((each) => each.port === port.port && (each.protocol ?? "TCP") === protocol)?.nodePort;
      // One number for TCP and UDP of the same port, as the API server gives.
      const nodePort = port.nodePort || before || byProtocol.get(String(port.port));
      if (!nodePort) {
        const allocated = allocatePort(protocol, object, context);
        byProtocol.set(String(port.port), allocated);
        return { ...port, nodePort: allocated };
      }
      const key = `${protocol}/${nodePort}`;
      const holder = holders.get(key);
      const field = `spec.ports[${index}].nodePort`;
      if (nodePort < first || nodePort > last)
        throw causeOf(
          object,
          field,
          `Invalid value: ${nodePort}: provided port is not in the valid range. The range of valid ports is ${first}-${last}`,
        );
      if (holder !== undefined && holder !== idOf(object))
        throw causeOf(object, field, `Invalid value: ${nodePort}: provided port is already allocated, to Service ${holder}`);
      if (holder === undefined) hold(context, key, idOf(object));
      byProtocol.set(String(port.port), nodePort);
      return { ...port, nodePort };
    });
    if (spec.ports.length === 0) delete spec.ports;
    if (spec.type === "LoadBalancer" && spec.externalTrafficPolicy === "Local" && !spec.healthCheckNodePort) {
      spec.healthCheckNodePort = old?.healthCheckNodePort ?? allocatePort("TCP", object, context);
    }
  }

  function release(service: KubeObject, keep: ReadonlySet<string>): void {
    const id = idOf(service);
    for (const key of keysOf((service as Service).spec)) if (!keep.has(key) && holders.get(key) === id) holders.delete(key);
  }

  return {
    name: "service-addresses",
    appliesTo: (resource) => resource.kind === "Service" && groupVersionOf(resource) === "v1",
    adopt(services) {
      for (const service of services) for (const key of keysOf(service.spec)) holders.set(key, idOf(service));
    },
    mutate(object: MutableObject, context: AdmissionContext) {
      const old = context.old as Service | undefined;
      if (context.operation === "delete") {
        const { namespace, name } = object.metadata;
        context.onCommit(() => {
          if (old && !context.store.get(SERVICES, namespace, name)) release(old, new Set());
        });
        return;
      }
      if (context.subresource !== undefined || typeof object.spec !== "object" || object.spec === null) return;
      const spec = object.spec as MutableSpec;
      const asObject = object as unknown as KubeObject;
      spec.type ??= "ClusterIP";
      setAddresses(spec, asObject, old?.spec, context);
      setPorts(spec, asObject, old?.spec, context);
      if (old) context.onCommit(() => release(old, new Set(keysOf(spec))));
    },
  };
}

function idOf(object: KubeObject): string {
  return `${object.metadata.namespace}/${object.metadata.name}`;
}

/** What a Service holds: addresses, "TCP/30080". */
function keysOf(spec: ServiceSpec): string[] {
  const ports = (spec.ports ?? []).flatMap((port) => (port.nodePort ? [`${port.protocol ?? "TCP"}/${port.nodePort}`] : []));
  const health = spec.healthCheckNodePort ? [`TCP/${spec.healthCheckNodePort}`] : [];
  return [...(spec.clusterIPs ?? []).filter((address) => address !== "None"), ...ports, ...health];
}
