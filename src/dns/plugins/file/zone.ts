// One zone's records, and what a question about it finds: RFC 1034 §4.3.2 with wildcards (RFC 4592) and DNAME (RFC 6672). Pure.
import { CLASS, type Name, type ResourceRecord, TYPE, typeOf } from "../../message.ts";
import { inZone } from "../../wire/names.ts";

export interface Zone {
  readonly origin: Name;
  readonly soa: ResourceRecord;
  readonly serial: number;
  /** Records of a name by type. */
  readonly nodes: ReadonlyMap<Name, ReadonlyMap<number, readonly ResourceRecord[]>>;
  /** Every name that exists: those with records, and those between them and the apex. */
  readonly names: ReadonlySet<Name>;
}

export interface Found {
  readonly kind: "answer" | "no-data" | "no-name" | "delegation";
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
  /** A CNAME leads here, out of the zone: somebody else knows the rest. */
  readonly leadsTo?: Name;
}

/** CNAMEs that are followed within a zone. */
const MAX_CHAIN = 8;

/** @throws Error where the zone has no SOA at its apex */
export function makeZone(origin: Name, records: readonly ResourceRecord[]): Zone {
  const nodes = new Map<Name, Map<number, ResourceRecord[]>>();
  const names = new Set<Name>([origin]);
  for (const record of records) {
    // What is outside of the zone is nobody's.
    if (!inZone(record.name, origin)) continue;
    const types = nodes.get(record.name) ?? new Map<number, ResourceRecord[]>();
    nodes.set(record.name, types);
    const type = typeOf(record);
    types.set(type, [...(types.get(type) ?? []), record]);
    for (let name: Name = record.name; name !== origin && !names.has(name); name = parent(name)) names.add(name);
  }
  const soa = nodes.get(origin)?.get(TYPE.SOA)?.[0];
  if (soa?.data.type !== "SOA") throw new Error(`the zone ${origin} has no SOA record at its apex`);
  return { origin, soa, serial: soa.data.serial, nodes, names };
}

/** Name and zone in lower case; the name lies in the zone. */
export function lookupZone(zone: Zone, name: Name, type: number): Found {
  const cut = zoneCut(zone, name, type);
  if (cut) return cut;
  const exists = zone.names.has(name);
  const node = zone.nodes.get(name);
  if (exists) return node ? atNode(zone, { owner: name, node, type }) : noData(zone);
  const wildcard = zone.nodes.get(`*.${closestEncloser(zone, name)}`);
  if (wildcard) return atNode(zone, { owner: name, node: wildcard, type });
  return { ...noData(zone), kind: "no-name" };
}

type Node = ReadonlyMap<number, readonly ResourceRecord[]>;

/** A delegation or a DNAME between the apex and the name; the one nearest to the apex counts. */
function zoneCut(zone: Zone, name: Name, type: number): Found | undefined {
  const above: Name[] = [];
  for (let each = name; each !== zone.origin; each = parent(each)) above.unshift(each);
  for (const each of above) {
    const node = zone.nodes.get(each);
    const servers = node?.get(TYPE.NS);
    // DS belongs to the parent's side of the cut.
    if (servers && !(each === name && type === TYPE.DS))
      return { kind: "delegation", answers: [], authorities: servers, additionals: addressesOf(zone, servers) };
  }
  for (const each of [zone.origin, ...above]) {
    const alias = each === name ? undefined : zone.nodes.get(each)?.get(TYPE.DNAME)?.[0];
    if (alias?.data.type !== "DNAME") continue;
    const target = name.slice(0, -each.length) + (alias.data.target === "." ? "" : alias.data.target);
    const synthetic: ResourceRecord = { name, class: CLASS.IN, ttl: alias.ttl, data: { type: "CNAME", target } };
    return follow(zone, { records: [alias, synthetic], target: target.toLowerCase(), type });
  }
  return undefined;
}

function atNode(zone: Zone, at: { readonly owner: Name; readonly node: Node; readonly type: number }): Found {
  const { owner, node, type } = at;
  // A wildcard's records get the asked name (RFC 4592 §3.3.1).
  const owned = (records: readonly ResourceRecord[]) =>
    records.map((record) => (record.name === owner ? record : { ...record, name: owner }));
  const alias = node.get(TYPE.CNAME)?.[0];
  if (alias?.data.type === "CNAME" && type !== TYPE.CNAME && type !== TYPE.ANY)
    return follow(zone, { records: owned([alias]), target: alias.data.target.toLowerCase(), type });
  const records = type === TYPE.ANY ? [...node.values()].flat() : (node.get(type) ?? []);
  if (records.length === 0) return noData(zone);
  const answers = owned(records);
  const isApexNs = type === TYPE.NS && owner === zone.origin;
  return { kind: "answer", answers, authorities: isApexNs ? [] : apexServers(zone), additionals: addressesOf(zone, answers) };
}

function follow(zone: Zone, from: { readonly records: readonly ResourceRecord[]; readonly target: Name; readonly type: number }): Found {
  let { target } = from;
  const answers = [...from.records];
  for (let step = 0; step < MAX_CHAIN && inZone(target, zone.origin); step++) {
    const node = zone.nodes.get(target) ?? (zone.names.has(target) ? undefined : zone.nodes.get(`*.${closestEncloser(zone, target)}`));
    const alias = node?.get(TYPE.CNAME)?.[0];
    const owned = (records: readonly ResourceRecord[]) => records.map((record) => ({ ...record, name: target }));
    if (alias?.data.type !== "CNAME") {
      answers.push(...owned(node?.get(from.type) ?? []));
      return { kind: "answer", answers, authorities: apexServers(zone), additionals: [] };
    }
    answers.push(...owned([alias]));
    target = alias.data.target.toLowerCase();
  }
  const outside = !inZone(target, zone.origin);
  return { kind: "answer", answers, authorities: apexServers(zone), additionals: [], ...(outside ? { leadsTo: target } : {}) };
}

function noData(zone: Zone): Found {
  return { kind: "no-data", answers: [], authorities: [zone.soa], additionals: [] };
}

function apexServers(zone: Zone): readonly ResourceRecord[] {
  return zone.nodes.get(zone.origin)?.get(TYPE.NS) ?? [];
}

/** Addresses in the zone of the hosts that records point to. */
function addressesOf(zone: Zone, records: readonly ResourceRecord[]): readonly ResourceRecord[] {
  const hosts = new Set(
    records.flatMap(({ data }) => (data.type === "NS" || data.type === "MX" || data.type === "SRV" ? [data.target.toLowerCase()] : [])),
  );
  return [...hosts].flatMap((host) => [...(zone.nodes.get(host)?.get(TYPE.A) ?? []), ...(zone.nodes.get(host)?.get(TYPE.AAAA) ?? [])]);
}

/** The longest existing name above one that does not exist. */
function closestEncloser(zone: Zone, name: Name): Name {
  let each = parent(name);
  while (each !== zone.origin && !zone.names.has(each)) each = parent(each);
  return each;
}

/** The name without its first label. */
function parent(name: Name): Name {
  let dot = name.indexOf(".");
  while (dot > 0 && name[dot - 1] === "\\" && name[dot - 2] !== "\\") dot = name.indexOf(".", dot + 1);
  return dot < 0 || dot + 1 >= name.length ? "." : name.slice(dot + 1);
}
