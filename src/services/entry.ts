// One Service and its EndpointSlices as entries: a port in one address family, with where it is reached and where it goes.
import { type Family, familyOf, formatAddress, formatPrefix, networkOf, tryParseAddress, tryParsePrefix } from "../base/index.ts";
import type { EndpointSlice, Service, ServicePort } from "../resources/index.ts";
import { widest } from "./settings.ts";

export interface ServiceEndpoint {
  readonly address: string;
  readonly port: number;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly node?: string;
  readonly zone?: string;
  /** Zones and nodes that it is meant for (topology hints); absent where the slice says nothing. */
  readonly forZones?: readonly string[];
  readonly forNodes?: readonly string[];
  /** "namespace/name" of the pod behind it. */
  readonly pod?: string;
}

/** Something in a Service, or in its slices, that is not followed. */
export interface Fault {
  readonly namespace: string;
  readonly name: string;
  /** One word, as an Event's reason. */
  readonly reason:
    | "InvalidAddress"
    | "InvalidPort"
    | "InvalidEndpoint"
    | "InvalidSourceRange"
    | "FamilyMismatch"
    | "AddressInUse"
    | "NodePortInUse"
    | "NoAddressLeft"
    | "AddressRefused"
    | "NoEndpoints";
  /** What, why, and what to do. */
  readonly says: string;
}

/** One port of a Service in one address family. */
export interface ServiceEntry {
  readonly namespace: string;
  readonly name: string;
  /** The port's name, else its number in text. */
  readonly portName: string;
  readonly family: Family;
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly port: number;
  readonly clusterIP?: string;
  readonly nodePort?: number;
  /** externalIPs and the load balancer's addresses. */
  readonly externalAddresses: readonly string[];
  /** Those of them that only clients in `sourceRanges` may use (loadBalancerSourceRanges); empty: no address is guarded. */
  readonly guardedAddresses: readonly string[];
  /** Those of `externalAddresses` that are the load balancer's. */
  readonly balancedAddresses: readonly string[];
  /** Prefixes of the entry's family, none within another. */
  readonly sourceRanges: readonly string[];
  /** Seconds that a client keeps its end point after its last connection; undefined: no affinity. */
  readonly affinitySeconds?: number;
  readonly internalLocal: boolean;
  readonly externalLocal: boolean;
  readonly publishNotReady: boolean;
  readonly endpoints: readonly ServiceEndpoint[];
}

/** One for all: there are many. */
const NONE: readonly string[] = [];

const AFFINITY_DEFAULT_SECONDS = 10_800;
const AFFINITY_MOST_SECONDS = 86_400;

/** Services and slices that another service proxy is meant to serve carry this label with its name. */
const PROXY_LABEL = "service.kubernetes.io/service-proxy-name";

/** The entries of a Service, in order of address and port. What is not valid is left out, and told. */
export function serviceEntries(service: Service, slices: readonly EndpointSlice[], faults: Fault[]): ServiceEntry[] {
  const { spec } = service;
  if (spec.type === "ExternalName" || spec.clusterIP === "None" || !spec.clusterIP) return [];
  if (service.metadata.labels?.[PROXY_LABEL] !== undefined) return [];
  const reader = new Reader(service, faults);
  const ports = (spec.ports ?? []).filter((port) => reader.takesPort(port));
  const entries = reader
    .addresses(spec.clusterIPs ?? [spec.clusterIP], "clusterIPs")
    .flatMap((clusterIP) => ports.map((port) => reader.entry(port, clusterIP, slices)));
  reader.checkFamilies(entries);
  return entries;
}

/** A Service whose selector finds nobody, which is seldom meant; undefined where it has end points, or asks for none. */
export function selectsNobody(service: Service, slices: Iterable<EndpointSlice>): Fault | undefined {
  const { selector, type } = service.spec;
  const labels = Object.entries(selector ?? {});
  if (labels.length === 0 || type === "ExternalName") return undefined;
  for (const slice of slices) if (slice.endpoints?.length) return undefined;
  const { namespace = "", name } = service.metadata;
  const says = `its selector ${labels.map(([key, value]) => `${key}=${value}`).join(",")} matches no pod of ${namespace} that has an address: connections are refused; compare it with the pods' labels`;
  return { namespace, name, reason: "NoEndpoints", says };
}

class Reader {
  readonly #service: Service;
  readonly #faults: Fault[];
  readonly #external: readonly string[];
  readonly #balanced: readonly string[];

  constructor(service: Service, faults: Fault[]) {
    this.#service = service;
    this.#faults = faults;
    const balanced = (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip, ipMode }) => (ip && ipMode !== "Proxy" ? [ip] : []));
    this.#balanced = this.addresses(balanced, "status.loadBalancer.ingress");
    this.#external = [...this.addresses(service.spec.externalIPs ?? [], "externalIPs"), ...this.#balanced];
  }

  #fault(reason: Fault["reason"], says: string): void {
    const { namespace = "", name } = this.#service.metadata;
    if (!this.#faults.some((fault) => fault.reason === reason && fault.says === says)) this.#faults.push({ namespace, name, reason, says });
  }

  /** External addresses of a family in which the Service has no ClusterIP lead nowhere. */
  checkFamilies(entries: readonly ServiceEntry[]): void {
    if (entries.length === 0) return;
    for (const address of this.#external) {
      const family = familyOf(address);
      if (!entries.some((entry) => entry.family === family))
        this.#fault(
          "FamilyMismatch",
          `${address} is not served: the Service has no IPv${family} ClusterIP; set ipFamilyPolicy to PreferDualStack`,
        );
    }
  }

  /** The source ranges of a family, the wider ones only; undefined where the Service has none at all. */
  #sourceRanges(family: Family): readonly string[] | undefined {
    const given = (this.#service.spec.loadBalancerSourceRanges ?? []).map((text) => text.trim()).filter((text) => text !== "");
    if (given.length === 0) return undefined;
    const ranges = given.flatMap((text) => {
      const prefix = tryParsePrefix(text);
      if (!prefix)
        this.#fault("InvalidSourceRange", `loadBalancerSourceRanges "${text}" is no prefix: it lets nobody in; write it like 192.0.2.0/24`);
      return prefix?.family === family ? [formatPrefix(networkOf(prefix))] : [];
    });
    return widest(ranges);
  }

  /** The valid ones of a list, in canonical text. */
  addresses(list: readonly string[], where: string): string[] {
    return list.flatMap((text) => {
      const address = tryParseAddress(text);
      if (!address) this.#fault("InvalidAddress", `${where} "${text}" is no IP address and is left out`);
      return address ? [canonical(text, formatAddress(address))] : [];
    });
  }

  takesPort(port: ServicePort): boolean {
    const known = /^(tcp|udp|sctp)$/i.test(port.protocol ?? "TCP");
    if (!known)
      this.#fault(
        "InvalidPort",
        `port ${port.name ?? port.port} has protocol "${port.protocol}" and is left out: TCP, UDP and SCTP are served`,
      );
    else if (!isPort(port.port))
      this.#fault("InvalidPort", `port ${port.name ?? ""} number ${port.port} is not within 1–65535 and is left out`);
    return known && isPort(port.port);
  }

  entry(port: ServicePort, clusterIP: string, slices: readonly EndpointSlice[]): ServiceEntry {
    const { spec, metadata } = this.#service;
    const family = familyOf(clusterIP);
    const sourceRanges = this.#sourceRanges(family);
    const ofFamily = (addresses: readonly string[]): readonly string[] =>
      addresses.length === 0 ? NONE : [...new Set(addresses.filter((address) => familyOf(address) === family && address !== clusterIP))];
    return {
      namespace: metadata.namespace ?? "",
      name: metadata.name,
      portName: port.name ?? textOfPort(port.port),
      family,
      protocol: protocolOf(port),
      port: port.port,
      clusterIP,
      ...(port.nodePort !== undefined && isPort(port.nodePort) ? { nodePort: port.nodePort } : {}),
      externalAddresses: ofFamily(this.#external),
      balancedAddresses: ofFamily(this.#balanced),
      guardedAddresses: sourceRanges ? ofFamily(this.#balanced) : NONE,
      sourceRanges: sourceRanges ?? NONE,
      ...(spec.sessionAffinity === "ClientIP" ? { affinitySeconds: affinitySeconds(this.#service) } : {}),
      internalLocal: spec.internalTrafficPolicy === "Local",
      externalLocal: spec.externalTrafficPolicy === "Local",
      publishNotReady: spec.publishNotReadyAddresses === true,
      endpoints: this.#endpoints(port, family, slices),
    };
  }

  #endpoints(port: ServicePort, family: Family, slices: readonly EndpointSlice[]): ServiceEndpoint[] {
    const found = new Map<string, ServiceEndpoint>();
    for (const slice of slices) {
      if (slice.addressType !== (family === 4 ? "IPv4" : "IPv6") || slice.metadata.labels?.[PROXY_LABEL] !== undefined) continue;
      const match = slice.ports?.find(
        (candidate) => (candidate.name ?? "") === (port.name ?? "") && (candidate.protocol ?? "TCP") === (port.protocol ?? "TCP"),
      );
      if (match?.port === undefined) continue;
      if (!isPort(match.port)) {
        this.#fault("InvalidEndpoint", `EndpointSlice ${slice.metadata.name}: port ${match.port} is not within 1–65535 and is left out`);
        continue;
      }
      for (const endpoint of slice.endpoints ?? []) {
        const ready = endpoint.conditions?.ready ?? true;
        const pod = endpoint.targetRef?.kind === "Pod" ? `${endpoint.targetRef.namespace}/${endpoint.targetRef.name}` : undefined;
        for (const text of endpoint.addresses) {
          const address = tryParseAddress(text);
          if (address?.family !== family) {
            this.#fault(
              "InvalidEndpoint",
              `EndpointSlice ${slice.metadata.name}: "${text}" is no ${slice.addressType} address and is left out`,
            );
            continue;
          }
          const written = canonical(text, formatAddress(address));
          found.set(`${written} ${match.port}`, {
            address: written,
            port: match.port,
            ready,
            serving: endpoint.conditions?.serving ?? ready,
            terminating: endpoint.conditions?.terminating ?? false,
            ...(endpoint.nodeName === undefined ? {} : { node: endpoint.nodeName }),
            ...(endpoint.zone === undefined ? {} : { zone: endpoint.zone }),
            ...(endpoint.hints?.forZones?.length ? { forZones: endpoint.hints.forZones.map(({ name }) => name) } : {}),
            ...(endpoint.hints?.forNodes?.length ? { forNodes: endpoint.hints.forNodes.map(({ name }) => name) } : {}),
            ...(pod === undefined ? {} : { pod }),
          });
        }
      }
    }
    return [...found.values()].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : a.port - b.port)).slice();
  }
}

/** The object's own text where it says the same: one string less for each of many addresses. */
function canonical(given: string, text: string): string {
  return given === text ? given : text;
}

const PORTS: string[] = [];

/** A port's number in text, the same string each time. */
function textOfPort(port: number): string {
  PORTS[port] ??= String(port);
  return PORTS[port];
}

function protocolOf({ protocol = "TCP" }: ServicePort): ServiceEntry["protocol"] {
  const is = protocol.toLowerCase();
  return is === "udp" ? "udp" : is === "sctp" ? "sctp" : "tcp";
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535;
}

function affinitySeconds(service: Service): number {
  const given = service.spec.sessionAffinityConfig?.clientIP?.timeoutSeconds;
  if (given === undefined || !Number.isInteger(given) || given < 1) return AFFINITY_DEFAULT_SECONDS;
  return Math.min(given, AFFINITY_MOST_SECONDS);
}
