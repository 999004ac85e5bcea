// The cluster's names: what Kubernetes' DNS specification 1.1.0 answers, from a directory. Pure.
//
//   ZONE                         SOA, NS                 ns.dns.ZONE                     the server's addresses
//   dns-version.ZONE             TXT                     SERVICE.NS.svc.ZONE             addresses, SRV, CNAME
//   _PORT._PROTOCOL.SERVICE…     SRV of that port        HOST.SERVICE.NS.svc.ZONE        one end point
//   1-2-3-4.NS.pod.ZONE          a pod's address         4.3.2.1.in-addr.arpa            PTR
import { familyOf, formatAddress, tryParseAddress } from "../../../base/index.ts";
import type { Endpoint, EndpointSlice, Namespace, Service, ServicePort } from "../../../resources/index.ts";
import { CLASS, type Name, type RecordData, type ResourceRecord, TYPE } from "../../message.ts";
import { inZone, labelsOf } from "../../wire/names.ts";
import { clusterAddresses, type Directory, type Entry } from "./directory.ts";
import { reverseAddress } from "./reverse.ts";

export interface ZoneOptions {
  /** Zones that are answered for; the first that is no reverse zone is the cluster's domain. */
  readonly zones: readonly Name[];
  readonly domain: Name;
  /** Seconds. */
  readonly ttl: number;
  /** Names of pods' addresses: refused, parsed only, or checked against the pods of the namespace. */
  readonly pods: "disabled" | "insecure" | "verified";
  /** An end point without a hostname is called by its pod's name. */
  readonly endpointPodNames: boolean;
  /** Without end points there are no headless Services, and no names of end points. */
  readonly endpoints: boolean;
  /** A Service with cluster addresses and no ready end point does not exist. */
  readonly ignoreEmpty: boolean;
  /** Only these namespaces are shown; undefined for all. */
  readonly namespaces: ReadonlySet<string> | undefined;
  readonly namespaceLabels: ((labels: Labels) => boolean) | undefined;
  /** Only Services (and slices) with such labels are shown. */
  readonly labels: ((labels: Labels) => boolean) | undefined;
  /** Where the server itself answers, for NS: used where no kube-dns Service is there. */
  readonly own: readonly string[];
}

type Labels = Readonly<Record<string, string>>;

/** What a name and type stand for. "missing": there is no such name. */
export type Found =
  | { readonly kind: "records"; readonly records: readonly ResourceRecord[]; readonly additionals?: readonly ResourceRecord[] }
  /** An ExternalName: the answer goes on at the target. */
  | { readonly kind: "alias"; readonly record: ResourceRecord; readonly target: Name }
  | { readonly kind: "missing" };

const MISSING: Found = { kind: "missing" };
const EMPTY: Found = { kind: "records", records: [] };

/** Looks a name up; `zone` is the one of `options.zones` that it lies in, and the name is in lower case. */
export function findAnswer(
  directory: Directory,
  options: ZoneOptions,
  question: { readonly name: Name; readonly type: number; readonly zone: Name },
): Found {
  const lookup = new Lookup(directory, options, question.name, question.type);
  return lookup.find(question.zone);
}

/** The SOA record of a zone. */
export function soaRecord(directory: Directory, options: ZoneOptions, zone: Name): ResourceRecord {
  const of = zone === "." ? "" : zone;
  const data = {
    type: "SOA",
    primary: `ns.dns.${of}`,
    mailbox: `hostmaster.${of}`,
    serial: directory.serial,
    refresh: 7200,
    retry: 1800,
    expire: 86_400,
    minimum: options.ttl,
  } as const;
  return record(zone, data, Math.min(300, options.ttl));
}

function record(name: Name, data: RecordData, ttl: number): ResourceRecord {
  return { name, class: CLASS.IN, ttl, data };
}

/** One address of a Service, with the ports it serves. */
interface Point {
  readonly address: string;
  readonly host: string;
  readonly ports: NonNullable<EndpointSlice["ports"]>;
}

class Lookup {
  readonly #directory: Directory;
  readonly #options: ZoneOptions;
  readonly #name: Name;
  readonly #type: number;

  constructor(directory: Directory, options: ZoneOptions, name: Name, type: number) {
    this.#directory = directory;
    this.#options = options;
    this.#name = name;
    this.#type = type;
  }

  find(zone: Name): Found {
    if (this.#name === zone) return this.#apex(zone);
    if (isReverse(zone)) return this.#reverse();
    const rest = zone === "." ? this.#name.slice(0, -1) : this.#name.slice(0, -zone.length - 1);
    return this.#forward(rest.includes("\\") ? labelsOf(rest) : rest.split("."), zone);
  }

  #apex(zone: Name): Found {
    if (this.#type === TYPE.SOA) return records([soaRecord(this.#directory, this.#options, zone)]);
    if (this.#type !== TYPE.NS) return EMPTY;
    const { name, addresses } = this.#server(zone);
    return {
      kind: "records",
      records: [record(this.#name, { type: "NS", target: name }, this.#options.ttl)],
      additionals: addresses.map((address) => this.#address(name, address)),
    };
  }

  /** How the DNS server is called: by its Service where it has one. */
  #server(zone: Name): { readonly name: Name; readonly addresses: readonly string[] } {
    const addresses = clusterAddresses(this.#directory.entry("kube-system", "kube-dns")?.service);
    const below = zone === "." ? "" : zone;
    if (addresses.length > 0 && !isReverse(zone)) return { name: `kube-dns.kube-system.svc.${below}`, addresses };
    return { name: `ns.dns.${below}`, addresses: addresses.length > 0 ? addresses : this.#options.own };
  }

  /** `labels`: the name without the zone, outermost last. */
  #forward(labels: readonly string[], zone: Name): Found {
    const count = labels.length;
    const kind = labels[count - 1];
    if (count === 1 && kind === "dns-version")
      return this.#type === TYPE.TXT ? records([record(this.#name, { type: "TXT", texts: ["1.1.0"] }, 28_800)]) : EMPTY;
    if (kind === "dns" && count <= 2) {
      if (count === 1) return EMPTY;
      return labels[0] === "ns" ? this.#addresses(this.#server(zone).addresses) : MISSING;
    }
    if (kind !== "svc" && kind !== "pod") return MISSING;
    if (count === 1) return EMPTY;
    const namespace = labels[count - 2] ?? "";
    if (!this.#shows(namespace)) return MISSING;
    if (kind === "pod") return this.#pod(labels.slice(0, -2), namespace);
    if (count === 2) return EMPTY;
    const entry = this.#directory.entry(namespace, labels[count - 3] ?? "");
    return entry ? this.#service(entry, labels.slice(0, -3), zone) : MISSING;
  }

  /** Whether the namespace is there and shown. */
  #shows(name: string): boolean {
    const { namespaces, namespaceLabels } = this.#options;
    const namespace: Namespace | undefined = this.#directory.namespaces.get(name);
    if (!namespace || (namespaces && !namespaces.has(name))) return false;
    return namespaceLabels === undefined || namespaceLabels(namespace.metadata.labels ?? {});
  }

  #pod(labels: readonly string[], namespace: string): Found {
    const { pods } = this.#options;
    if (pods === "disabled") return MISSING;
    const [dashed] = labels;
    if (dashed === undefined) return EMPTY;
    if (labels.length > 1) return MISSING;
    const v4 = /^\d+-\d+-\d+-\d+$/.test(dashed);
    const address = tryParseAddress(dashed.replaceAll("-", v4 ? "." : ":"));
    if (!address) return MISSING;
    const text = formatAddress(address);
    if (pods === "verified" && !this.#directory.podsByAddress(text).some((pod) => pod.metadata.namespace === namespace)) return MISSING;
    return this.#addresses([text]);
  }

  #service(entry: Entry, labels: readonly string[], zone: Name): Found {
    const service = this.#visible(entry);
    if (!service) return MISSING;
    if (service.spec.type === "ExternalName") return labels.length === 0 ? this.#external(service) : MISSING;
    const headless = service.spec.clusterIP === "None";
    if (this.#options.ignoreEmpty && !headless && this.#points(entry).length === 0) return MISSING;
    const domain = `${entry.name}.${entry.namespace}.svc.${zone === "." ? "" : zone}`;
    const [first, second] = labels;
    if (labels.length > 2) return MISSING;
    if (first !== undefined && second === undefined)
      return this.#endpoints(
        this.#points(entry).filter(({ host }) => host === first),
        domain,
      );
    const port = second === undefined ? undefined : { name: bare(first ?? ""), protocol: bare(second) };
    if (headless) return this.#endpoints(this.#pointsOfPort(entry, port), domain);
    const ports = (service.spec.ports ?? []).filter((each) => isPort(each, port));
    if (port && ports.length === 0) return MISSING;
    return this.#type === TYPE.SRV ? this.#clusterSrv(service, ports, domain) : this.#addresses(clusterAddresses(service));
  }

  /** The Service, if there is one that the block shows. */
  #visible({ service }: Entry): Service | undefined {
    const { labels } = this.#options;
    return service && (!labels || labels(service.metadata.labels ?? {})) ? service : undefined;
  }

  #external(service: Service): Found {
    const target = `${(service.spec.externalName ?? "").toLowerCase().replace(/\.$/, "")}.`;
    const wanted = this.#type === TYPE.A || this.#type === TYPE.AAAA || this.#type === TYPE.CNAME;
    // An address is no name, whatever the API took.
    if (!wanted || target === "." || tryParseAddress(target.slice(0, -1))) return EMPTY;
    const alias = record(this.#name, { type: "CNAME", target }, this.#options.ttl);
    return this.#type === TYPE.CNAME ? records([alias]) : { kind: "alias", record: alias, target };
  }

  #points(entry: Entry): Point[] {
    if (!this.#options.endpoints) return [];
    const points: Point[] = [];
    const notReadyToo = entry.service?.spec.publishNotReadyAddresses === true;
    for (const slice of entry.slices) {
      const ports = slice.ports ?? [];
      for (const endpoint of slice.endpoints ?? []) {
        if (endpoint.conditions?.ready === false && !notReadyToo) continue;
        for (const address of endpoint.addresses) points.push({ address, host: this.#host(endpoint, address), ports });
      }
    }
    return points;
  }

  #pointsOfPort(entry: Entry, port: WantedPort | undefined): Point[] {
    const points = this.#points(entry);
    if (!port) return points;
    return points
      .map((point) => ({ ...point, ports: point.ports.filter((each) => isPort(each, port)) }))
      .filter((point) => point.ports.length > 0);
  }

  /** First label of an end point's own name: its hostname, else its pod's name where that is asked for, else its address with dashes. */
  #host(endpoint: Endpoint, address: string): string {
    if (endpoint.hostname) return endpoint.hostname.toLowerCase();
    const pod = endpoint.targetRef?.kind === "Pod" ? endpoint.targetRef.name : undefined;
    if (this.#options.endpointPodNames && pod !== undefined && pod.length <= 63) return pod.toLowerCase();
    return dashedAddress(address);
  }

  #endpoints(points: readonly Point[], domain: Name): Found {
    if (points.length === 0) return MISSING;
    if (this.#type !== TYPE.SRV) return this.#addresses([...new Set(points.map((point) => point.address))]);
    const targets = new Set<string>();
    const glue = new Map<string, ResourceRecord>();
    const services: ResourceRecord[] = [];
    for (const { host, address, ports } of points) {
      const target = `${host}.${domain}`;
      for (const { port } of ports) {
        if (port === undefined || targets.has(`${port} ${target}`)) continue;
        targets.add(`${port} ${target}`);
        services.push(this.#srv(port, target));
      }
      glue.set(`${address} ${target}`, this.#address(target, address));
    }
    return { kind: "records", records: services, additionals: [...glue.values()] };
  }

  #clusterSrv(service: Service, ports: readonly ServicePort[], domain: Name): Found {
    const addresses = clusterAddresses(service);
    if (addresses.length === 0) return EMPTY;
    const distinct = [...new Set(ports.map(({ port }) => port))];
    return {
      kind: "records",
      records: distinct.map((port) => this.#srv(port, domain)),
      additionals: addresses.map((address) => this.#address(domain, address)),
    };
  }

  #reverse(): Found {
    const address = reverseAddress(this.#name);
    if (address === undefined) return MISSING;
    const names = this.#reverseNames(address);
    if (names.length === 0) return MISSING;
    if (this.#type !== TYPE.PTR) return EMPTY;
    return records(names.map((target) => record(this.#name, { type: "PTR", target }, this.#options.ttl)));
  }

  /** A Service by its cluster address, else the end point's name in each of its Services. */
  #reverseNames(address: string): Name[] {
    const below = this.#options.domain === "." ? "" : this.#options.domain;
    const entries = this.#directory.byAddress(address).filter((entry) => this.#shows(entry.namespace) && this.#visible(entry));
    const owner = entries.find((entry) => clusterAddresses(entry.service).some((each) => sameAddress(each, address)));
    if (owner) return [`${owner.name}.${owner.namespace}.svc.${below}`];
    const names = entries.flatMap((entry) =>
      this.#points(entry)
        .filter((point) => sameAddress(point.address, address))
        .map(({ host }) => `${host}.${entry.name}.${entry.namespace}.svc.${below}`),
    );
    return [...new Set(names)].sort();
  }

  #srv(port: number, target: Name): ResourceRecord {
    return record(this.#name, { type: "SRV", priority: 0, weight: 100, port, target }, this.#options.ttl);
  }

  #address(name: Name, address: string): ResourceRecord {
    return record(name, { type: familyOf(address) === 4 ? "A" : "AAAA", address }, this.#options.ttl);
  }

  /** The addresses of the family that is asked for. */
  #addresses(addresses: readonly string[]): Found {
    const family = this.#type === TYPE.A ? 4 : this.#type === TYPE.AAAA ? 6 : undefined;
    if (family === undefined) return EMPTY;
    return records(addresses.filter((address) => familyOf(address) === family).map((address) => this.#address(this.#name, address)));
  }
}

interface WantedPort {
  readonly name: string;
  readonly protocol: string;
}

function isPort(port: { readonly name?: string; readonly protocol?: string }, wanted: WantedPort | undefined): boolean {
  if (!wanted) return true;
  return (port.name ?? "").toLowerCase() === wanted.name && (port.protocol ?? "TCP").toLowerCase() === wanted.protocol;
}

/** The underscore of a port's or protocol's label may be left out. */
function bare(label: string): string {
  return label.startsWith("_") ? label.slice(1) : label;
}

function records(list: readonly ResourceRecord[]): Found {
  return { kind: "records", records: list };
}

/** 10-244-1-7, fd00--1; a label that would end in a dash gets a zero. */
function dashedAddress(address: string): string {
  const dashed = address.replace(/[.:]/g, "-").toLowerCase();
  return dashed.endsWith("-") ? `${dashed}0` : dashed;
}

function sameAddress(a: string, b: string): boolean {
  if (a === b) return true;
  const left = a.includes(":") ? tryParseAddress(a) : undefined;
  return left !== undefined && formatAddress(left) === b;
}

/** Whether the zone is one of addresses. */
export function isReverse(zone: Name): boolean {
  return inZone(zone, "in-addr.arpa.") || inZone(zone, "ip6.arpa.");
}
