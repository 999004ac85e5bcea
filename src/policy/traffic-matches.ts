// What a rule says of protocols, ports and ICMP types, as nft matches: a list of alternatives, each a list that must hold whole.
import type { Family } from "../base/index.ts";
import type { NftField, NftMatch } from "../kernel/index.ts";
import { portElements } from "./intervals.ts";
import type { PortMatch, Traffic } from "./rules.ts";

export type Alternatives = readonly (readonly NftMatch[])[];

export type Which = "source" | "destination";

/** Finds the set of named ports of the pods at one end. */
export type PortSet = (
  which: Which,
  names: readonly { readonly protocol: number | undefined; readonly name: string }[],
  family: Family,
) => string;

const PORTED: readonly string[] = ["tcp", "udp", "sctp", "136"];
const NAMES: Readonly<Record<number, string>> = { 1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp", 132: "sctp", 136: "136" };

/** Whether the matches depend on the family: named ports and ICMP do. */
export function needsFamily(traffic: readonly Traffic[] | "any"): boolean {
  if (traffic === "any") return false;
  return traffic.some(
    ({ icmp, notIcmp, ports, notPorts, sourcePorts, notSourcePorts }) =>
      icmp || notIcmp || [ports, notPorts, sourcePorts, notSourcePorts].some((list) => list?.some((port) => "name" in port)),
  );
}

/** The alternatives of which one holds for what is meant; none if nothing of the family is. */
export function trafficMatches(traffic: readonly Traffic[] | "any", family: Family | undefined, portSet: PortSet): Alternatives {
  if (traffic === "any") return [[]];
  return mergePorts(traffic).flatMap((each) => oneTraffic(each, family, portSet));
}

/** Entries that differ in the destination's ports alone become one. */
function mergePorts(traffic: readonly Traffic[]): Traffic[] {
  const merged = new Map<string, Traffic>();
  for (const each of traffic) {
    const { ports, ...rest } = each;
    const key = ports ? JSON.stringify(rest) : JSON.stringify([rest]);
    const before = merged.get(key);
    merged.set(key, before?.ports && ports ? { ...each, ports: [...before.ports, ...ports] } : each);
  }
  return [...merged.values()];
}

function oneTraffic(traffic: Traffic, family: Family | undefined, portSet: PortSet): (readonly NftMatch[])[] {
  const { protocol, notProtocol, ports, notPorts, sourcePorts, notSourcePorts, icmp, notIcmp } = traffic;
  const base: NftMatch[] = [];
  const ported = [ports, notPorts, sourcePorts, notSourcePorts].some((list) => list !== undefined);
  if (protocol !== undefined) {
    if (ported && !PORTED.includes(NAMES[protocol] ?? "")) return [];
    base.push({ left: "meta l4proto", op: "==", right: NAMES[protocol] ?? String(protocol) });
  } else if (ported) base.push({ left: "meta l4proto", op: "==", right: PORTED });
  if (notProtocol !== undefined) base.push({ left: "meta l4proto", op: "!=", right: NAMES[notProtocol] ?? String(notProtocol) });
  let found: (readonly NftMatch[])[] = [base];
  const every = (alternatives: Alternatives) => {
    found = found.flatMap((before) => alternatives.map((each) => [...before, ...each]));
  };
  const context = { protocol, family, portSet };
  if (ports) every(portAlternatives(ports, "destination", context));
  if (sourcePorts) every(portAlternatives(sourcePorts, "source", context));
  if (notPorts) every([notPortMatches(notPorts, "destination", context)]);
  if (notSourcePorts) every([notPortMatches(notSourcePorts, "source", context)]);
  if (icmp || notIcmp) every(icmpAlternatives(traffic, family));
  return found;
}

interface PortContext {
  readonly protocol: number | undefined;
  readonly family: Family | undefined;
  readonly portSet: PortSet;
}

function portAlternatives(ports: readonly PortMatch[], which: Which, context: PortContext): NftMatch[][] {
  const elements = numbers(ports);
  const found: NftMatch[][] = [];
  // Every port: the protocol says it all.
  if (elements.join() === "0-65535") return [[]];
  if (elements.length > 0)
    found.push([{ left: portField(which), op: "==", right: elements.length === 1 ? (elements[0] ?? "") : elements }]);
  const named = namedMatch(ports, which, "==", context);
  if (named) found.push([named]);
  return found;
}

function notPortMatches(ports: readonly PortMatch[], which: Which, context: PortContext): NftMatch[] {
  const elements = numbers(ports);
  const named = namedMatch(ports, which, "!=", context);
  return [
    ...(elements.length > 0
      ? [{ left: portField(which), op: "!=" as const, right: elements.length === 1 ? (elements[0] ?? "") : elements }]
      : []),
    ...(named ? [named] : []),
  ];
}

function numbers(ports: readonly PortMatch[]): string[] {
  return portElements(ports.flatMap((port) => ("name" in port ? [] : [port])));
}

function namedMatch(
  ports: readonly PortMatch[],
  which: Which,
  op: "==" | "!=",
  { protocol, family, portSet }: PortContext,
): NftMatch | undefined {
  const names = ports.flatMap((port) => ("name" in port ? [{ protocol, name: port.name }] : []));
  if (names.length === 0 || family === undefined) return undefined;
  const left: readonly NftField[] = [addressField(which, family), "meta l4proto", portField(which)];
  return { left, op, right: { set: portSet(which, names, family) } };
}

function portField(which: Which): NftField {
  return which === "source" ? "th sport" : "th dport";
}

export function addressField(which: Which, family: Family): NftField {
  if (family === 4) return which === "source" ? "ip saddr" : "ip daddr";
  return which === "source" ? "ip6 saddr" : "ip6 daddr";
}

/** ICMP goes with IPv4 and ICMPv6 with IPv6; the other way round there is none. */
function icmpAlternatives({ protocol, icmp, notIcmp }: Traffic, family: Family | undefined): NftMatch[][] {
  if (protocol !== undefined && protocol !== (family === 4 ? 1 : 58)) return [];
  const name = family === 4 ? "icmp" : "icmpv6";
  const is = (what: "type" | "code", op: "==" | "!=", value: number): NftMatch => ({ left: `${name} ${what}`, op, right: String(value) });
  const l4: NftMatch[] = protocol === undefined ? [{ left: "meta l4proto", op: "==", right: family === 4 ? "icmp" : "ipv6-icmp" }] : [];
  const positive = icmp ? [is("type", "==", icmp.type), ...(icmp.code === undefined ? [] : [is("code", "==", icmp.code)])] : [];
  if (!notIcmp) return [[...l4, ...positive]];
  const otherType = [...l4, ...positive, is("type", "!=", notIcmp.type)];
  if (notIcmp.code === undefined) return [otherType];
  return [otherType, [...l4, ...positive, is("type", "==", notIcmp.type), is("code", "!=", notIcmp.code)]];
}
