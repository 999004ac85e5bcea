// The cluster's names: what Kubernetes' DNS specification 1.1.0 answers, from a snapshot. Pure.
import { familyOf, formatAddress, parseAddress, tryParseAddress } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Endpoint, EndpointSlice, Service } from "../resources/index.ts";
import { CLASS, type Question, RCODE, type RecordData, type ResourceRecord, TYPE } from "./message.ts";
import { labelsOf } from "./wire/names.ts";

export interface ZoneOptions {
  /** "cluster.local" */
  readonly domain: string;
  /** Seconds. */
  readonly ttl: number;
  /** Names of pods' addresses (10-244-0-7.ns.pod): refused, parsed only, or checked against the pods of the namespace. */
  readonly pods: "disabled" | "insecure" | "verified";
}

export interface Answer {
  readonly rcode: number;
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
  readonly authoritative: boolean;
}

const SOA_TIMES = { refresh: 7200, retry: 1800, expire: 86_400 };

/** The answer to a question about the cluster's zone or a reverse zone; undefined where the question is none of ours (to be forwarded). */
export function answerCluster(snapshot: ClusterSnapshot, question: Question, options: ZoneOptions): Answer | undefined {
  if (question.class !== CLASS.IN) return undefined;
  const name = question.name.toLowerCase();
  const zone = `${options.domain}.`;
  if (name === zone || name.endsWith(`.${zone}`)) {
    const rest = labelsOf(name).slice(0, -labelsOf(zone).length);
    return toAnswer(lookup(snapshot, rest, question, options), snapshot, question, options);
  }
  const address = reverseAddress(name);
  const names = address === undefined ? [] : reverseNames(snapshot, address, options);
  if (names.length === 0) return undefined;
  const records = names.map((target) => record(question.name, { type: "PTR", target }, options.ttl));
  return toAnswer(question.type === TYPE.PTR ? { records } : { records: [] }, snapshot, question, options);
}

/** undefined: the name does not exist. */
interface Found {
  readonly records: readonly ResourceRecord[];
  readonly additionals?: readonly ResourceRecord[];
}

function toAnswer(found: Found | undefined, snapshot: ClusterSnapshot, question: Question, options: ZoneOptions): Answer {
  const records = found?.records ?? [];
  return {
    rcode: found ? RCODE.NOERROR : RCODE.NXDOMAIN,
    answers: records,
    authorities: records.length > 0 ? [] : [soa(snapshot, options)],
    additionals: question.type === TYPE.SRV ? (found?.additionals ?? []) : [],
    authoritative: true,
  };
}

function soa(snapshot: ClusterSnapshot, options: ZoneOptions): ResourceRecord {
  const zone = `${options.domain}.`;
  const data = {
    type: "SOA",
    primary: `ns.dns.${zone}`,
    mailbox: `hostmaster.${zone}`,
    serial: snapshot.revision >>> 0,
    ...SOA_TIMES,
    minimum: options.ttl,
  } as const;
  return record(zone, data, options.ttl);
}

function record(name: string, data: RecordData, ttl: number): ResourceRecord {
  return { name, class: CLASS.IN, ttl, data };
}

/** `labels`: the name without the zone, outermost last, lower case. */
function lookup(snapshot: ClusterSnapshot, labels: readonly string[], question: Question, options: ZoneOptions): Found | undefined {
  const kind = labels.at(-1);
  if (kind === undefined) return apex(snapshot, question, options);
  if (labels.length === 1 && kind === "dns-version") {
    return { records: question.type === TYPE.TXT ? [record(question.name, { type: "TXT", texts: ["1.1.0"] }, 28_800)] : [] };
  }
  if (kind !== "svc" && kind !== "pod") return undefined;
  if (labels.length === 1) return { records: [] };
  const namespace = labels.at(-2) ?? "";
  if (!snapshot.namespaces.get(namespace)) return undefined;
  if (kind === "pod") return podName(snapshot, labels.slice(0, -2), namespace, question, options);
  if (labels.length === 2) return { records: [] };
  const service = snapshot.services.get(`${namespace}/${labels.at(-3)}`);
  return service ? serviceName(snapshot, service, labels.slice(0, -3), question, options) : undefined;
}

function apex(snapshot: ClusterSnapshot, question: Question, options: ZoneOptions): Found {
  if (question.type === TYPE.SOA) return { records: [{ ...soa(snapshot, options), name: question.name }] };
  if (question.type === TYPE.NS)
    return { records: [record(question.name, { type: "NS", target: `ns.dns.${options.domain}.` }, options.ttl)] };
  return { records: [] };
}

function podName(
  snapshot: ClusterSnapshot,
  labels: readonly string[],
  namespace: string,
  question: Question,
  options: ZoneOptions,
): Found | undefined {
  if (options.pods === "disabled" || labels.length > 1) return undefined;
  const dashed = labels[0];
  if (dashed === undefined) return { records: [] };
  const address = tryParseAddress(dashed.replaceAll("-", ".")) ?? tryParseAddress(dashed.replaceAll("-", ":"));
  if (!address) return undefined;
  const text = formatAddress(address);
  if (options.pods === "verified" && snapshot.pods.byAddress(text)?.metadata.namespace !== namespace) return undefined;
  return { records: addressRecords(question, [text], options.ttl) };
}

function serviceName(
  snapshot: ClusterSnapshot,
  service: Service,
  labels: readonly string[],
  question: Question,
  options: ZoneOptions,
): Found | undefined {
  if (service.spec.type === "ExternalName") {
    if (labels.length > 0) return undefined;
    const target = `${(service.spec.externalName ?? "").replace(/\.$/, "")}.`;
    const wanted = question.type === TYPE.A || question.type === TYPE.AAAA || question.type === TYPE.CNAME;
    return { records: wanted && target !== "." ? [record(question.name, { type: "CNAME", target }, options.ttl)] : [] };
  }
  const headless = service.spec.clusterIP === "None";
  const points = headless ? readyPoints(snapshot, service) : [];
  if (labels.length === 2) return portName(service, points, labels, question, options);
  if (labels.length > 2) return undefined;
  const host = labels[0];
  if (host !== undefined) {
    const matching = points.filter((point) => pointName(point) === host);
    return matching.length > 0 ? pointsFound(service, matching, question, options) : undefined;
  }
  if (headless) return points.length > 0 ? pointsFound(service, points, question, options) : undefined;
  if (question.type === TYPE.SRV) return clusterSrv(service, service.spec.ports ?? [], question, options);
  return { records: addressRecords(question, clusterAddresses(service), options.ttl) };
}

/** `_port._protocol`: the underscores may be left out. */
function portName(
  service: Service,
  points: readonly Point[],
  labels: readonly string[],
  question: Question,
  options: ZoneOptions,
): Found | undefined {
  const [port, protocol] = labels.map((label) => label.replace(/^_/, ""));
  const matches = (candidate: { name?: string; protocol?: string }) =>
    (port === "*" || (candidate.name ?? "").toLowerCase() === port) &&
    (protocol === "*" || (candidate.protocol ?? "TCP").toLowerCase() === protocol);
  if (service.spec.clusterIP === "None") {
    const matching = points.map((point) => ({ ...point, ports: point.ports.filter(matches) })).filter((point) => point.ports.length > 0);
    return matching.length > 0 ? pointsFound(service, matching, question, options) : undefined;
  }
  const ports = (service.spec.ports ?? []).filter(matches);
  if (ports.length === 0) return undefined;
  return question.type === TYPE.SRV
    ? clusterSrv(service, ports, question, options)
    : { records: addressRecords(question, clusterAddresses(service), options.ttl) };
}

function clusterSrv(service: Service, ports: NonNullable<Service["spec"]["ports"]>, question: Question, options: ZoneOptions): Found {
  const target = serviceDomain(service, options);
  return {
    records: ports.map((port) => record(question.name, { type: "SRV", priority: 0, weight: 100, port: port.port, target }, options.ttl)),
    additionals: clusterAddresses(service).map((address) => addressRecord(target, address, options.ttl)),
  };
}

/** One address of a headless Service, with the ports it serves. */
interface Point {
  readonly address: string;
  readonly endpoint: Endpoint;
  readonly ports: readonly { readonly name?: string; readonly port?: number; readonly protocol?: string }[];
}

function readyPoints(snapshot: ClusterSnapshot, service: Service): Point[] {
  const points: Point[] = [];
  for (const slice of snapshot.endpointSlices.ofService(service.metadata.namespace ?? "", service.metadata.name)) {
    for (const endpoint of usableEndpoints(slice, service)) {
      for (const address of endpoint.addresses) points.push({ address, endpoint, ports: slice.ports ?? [] });
    }
  }
  return points;
}

function usableEndpoints(slice: EndpointSlice, service: Service): Endpoint[] {
  if (slice.addressType === "FQDN") return [];
  return (slice.endpoints ?? []).filter((endpoint) => service.spec.publishNotReadyAddresses || endpoint.conditions?.ready !== false);
}

/** First label of an end point's own name: its hostname, else its address with dashes. */
function pointName(point: Point): string {
  return (point.endpoint.hostname ?? point.address.replace(/[.:]/g, "-")).toLowerCase();
}

function pointsFound(service: Service, points: readonly Point[], question: Question, options: ZoneOptions): Found {
  if (question.type !== TYPE.SRV)
    return { records: addressRecords(question, [...new Set(points.map((point) => point.address))], options.ttl) };
  const domain = serviceDomain(service, options);
  const seen = new Set<string>();
  const records: ResourceRecord[] = [];
  const additionals: ResourceRecord[] = [];
  for (const point of points) {
    const target = `${pointName(point)}.${domain}`;
    for (const { port } of point.ports) {
      if (port === undefined || seen.has(`${target} ${port}`)) continue;
      seen.add(`${target} ${port}`);
      records.push(record(question.name, { type: "SRV", priority: 0, weight: 100, port, target }, options.ttl));
    }
    additionals.push(addressRecord(target, point.address, options.ttl));
  }
  return { records, additionals };
}

function serviceDomain(service: Service, options: ZoneOptions): string {
  return `${service.metadata.name}.${service.metadata.namespace}.svc.${options.domain}.`;
}

function clusterAddresses(service: Service): readonly string[] {
  return service.spec.clusterIPs ?? (service.spec.clusterIP ? [service.spec.clusterIP] : []);
}

function addressRecord(name: string, address: string, ttl: number): ResourceRecord {
  return record(name, { type: familyOf(address) === 4 ? "A" : "AAAA", address }, ttl);
}

function addressRecords(question: Question, addresses: readonly string[], ttl: number): ResourceRecord[] {
  const family = question.type === TYPE.A ? 4 : question.type === TYPE.AAAA ? 6 : undefined;
  return addresses.filter((address) => familyOf(address) === family).map((address) => addressRecord(question.name, address, ttl));
}

/** The address that an in-addr.arpa or ip6.arpa name stands for. */
function reverseAddress(name: string): string | undefined {
  const labels = labelsOf(name).reverse();
  if (labels[0] !== "arpa") return undefined;
  const parts = labels.slice(2);
  let text: string | undefined;
  if (labels[1] === "in-addr" && parts.length === 4) text = parts.join(".");
  if (labels[1] === "ip6" && parts.length === 32) text = (parts.join("").match(/.{4}/g) ?? []).join(":");
  return text !== undefined && tryParseAddress(text) ? formatAddress(parseAddress(text)) : undefined;
}

function reverseNames(snapshot: ClusterSnapshot, address: string, options: ZoneOptions): string[] {
  const index = reverseIndex(snapshot);
  return (index.get(address) ?? []).map(({ service, host }) =>
    host === undefined ? serviceDomain(service, options) : `${host}.${serviceDomain(service, options)}`,
  );
}

interface Reverse {
  readonly service: Service;
  readonly host?: string;
}

const reverseIndexes = new WeakMap<object, { slices: object; index: Map<string, Reverse[]> }>();

/** Address → Services and end points, kept while neither kind changes. */
function reverseIndex(snapshot: ClusterSnapshot): Map<string, Reverse[]> {
  const kept = reverseIndexes.get(snapshot.services);
  if (kept?.slices === snapshot.endpointSlices) return kept.index;
  const index = new Map<string, Reverse[]>();
  const add = (address: string, reverse: Reverse) => {
    const known = index.get(address);
    if (known) known.push(reverse);
    else index.set(address, [reverse]);
  };
  for (const service of snapshot.services.values()) {
    if (service.spec.clusterIP !== "None") for (const address of clusterAddresses(service)) add(address, { service });
    else for (const point of readyPoints(snapshot, service)) add(point.address, { service, host: pointName(point) });
  }
  reverseIndexes.set(snapshot.services, { slices: snapshot.endpointSlices, index });
  return index;
}
