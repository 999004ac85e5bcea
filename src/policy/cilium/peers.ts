// Whom a Cilium rule names at the other end: end points, blocks, entities, nodes, Services, DNS names.

import { addressBits, type Family, familyOf, formatAddress, prefixContains, tryParseAddress, tryParsePrefix } from "../../base/index.ts";
import type { Place } from "../calico/place.ts";
import { networkText } from "../network-text.ts";
import type { CidrPeer, Direction, EntityPeer, Peer, Side } from "../rules.ts";
import { readEntity, readGroups, readLabels, readNodes, readPeer } from "./selector.ts";

/** A side of a rule, in one family where it is about one only. */
export interface PeerSide {
  readonly side: Side;
  readonly family?: Family;
}

/** Blocks and names are about whoever is not of the cluster: pods and nodes are told by their labels. */
const CLUSTER: EntityPeer = { kind: "entity", entity: "cluster" };

type Reader = (place: Place, namespace: string | undefined) => readonly PeerSide[];

const MEMBERS: Readonly<Record<string, Reader>> = {
  Endpoints: (place, namespace) => oneSide(place.items().map((item) => readPeer(item, namespace))),
  CIDR: (place) => oneSide(place.items().map(readBlock), [CLUSTER]),
  CIDRSet: readBlocks,
  Entities: readEntities,
  Nodes: (place) => oneSide(place.items().map((item) => withKind(readNodes(item)))),
  Services: (place, namespace) => oneSide(place.items().map((item) => readService(item, namespace))),
  FQDNs: (place) => oneSide(place.items().map(readName), [CLUSTER]),
  Groups: (place) => {
    place.wrong("groups are looked up at a cloud provider, which is not asked here");
    return [];
  },
};

/** Names of the fields in a direction: "fromEndpoints", "toFQDNs". */
export function peerFields(direction: Direction): string[] {
  const word = direction === "ingress" ? "from" : "to";
  return Object.keys(MEMBERS)
    .filter((member) => direction === "egress" || (member !== "FQDNs" && member !== "Services"))
    .map((member) => `${word}${member}`);
}

/**
 * The sides of which one must hold. "absent": the rule names nobody at all. A field that is there and empty names nobody, and
 * so does the rule then.
 */
export function readPeers(rule: Place, direction: Direction, namespace: string | undefined): readonly PeerSide[] | "absent" {
  const given = peerFields(direction).filter((field) => rule.at(field).given);
  if (given.length === 0) return "absent";
  const filled = given.filter((field) => rule.at(field).items().length > 0);
  if (filled.length > 1) {
    rule.wrong(`${filled.join(" and ")} do not go together in one rule: write a rule for each`);
    return [];
  }
  return filled.flatMap((field) => MEMBERS[field.replace(/^(from|to)/, "")]?.(rule.at(field), namespace) ?? []);
}

function oneSide(peers: readonly (Peer | "nobody" | undefined)[], except: readonly Peer[] = []): readonly PeerSide[] {
  const found = peers.filter((peer): peer is Peer => peer !== undefined && peer !== "nobody");
  return found.length > 0 ? [{ side: { within: [found], except } }] : [];
}

function withKind<T extends object>(selection: T | undefined): ({ readonly kind: "ends" } & T) | undefined {
  return selection && { kind: "ends", ...selection };
}

const FAMILIES: ReadonlyMap<string, Family> = new Map([
  ["world-ipv4", 4],
  ["world-ipv6", 6],
]);

function readEntities(place: Place): readonly PeerSide[] {
  const texts = place.items().map((item) => ({ item, text: item.text() }));
  const world: EntityPeer = { kind: "entity", entity: "world" };
  return [
    ...oneSide(texts.flatMap(({ item, text }) => (text === undefined || FAMILIES.has(text) ? [] : [readEntity(item, text)]))),
    ...texts.flatMap(({ text }): PeerSide[] => {
      const only = FAMILIES.get(text ?? "");
      return only === undefined ? [] : [{ side: { within: [[world]], except: [] }, family: only }];
    }),
  ];
}

/** "10.0.0.0/8", or an address. */
function readBlock(place: Place): CidrPeer | undefined {
  const text = place.text();
  if (text === undefined) return undefined;
  const address = tryParseAddress(text);
  if (address) return { kind: "cidr", cidr: `${formatAddress(address)}/${addressBits(familyOf(text))}`, except: [] };
  const prefix = tryParsePrefix(text);
  if (prefix) return { kind: "cidr", cidr: networkText(text, prefix, (says) => place.note(says)), except: [] };
  return place.wrong(`${JSON.stringify(text)} is neither a prefix such as 10.0.0.0/8 nor an address`);
}

/** Blocks with exceptions, and groups of blocks by name or by labels. */
function readBlocks(place: Place): readonly PeerSide[] {
  const plain: Peer[] = [];
  const own: PeerSide[] = [];
  for (const item of place.items()) {
    const { cidr, cidrGroupRef, cidrGroupSelector } = item.object(["cidr", "cidrGroupRef", "cidrGroupSelector", "except"]);
    const holes = item
      .at("except")
      .items()
      .flatMap((each) => readBlock(each) ?? []);
    if ([cidr, cidrGroupRef, cidrGroupSelector].filter((each) => each !== undefined && each !== null && each !== "").length !== 1) {
      item.wrong("an entry is one of cidr, cidrGroupRef and cidrGroupSelector");
      continue;
    }
    if (typeof cidr === "string" && cidr !== "") {
      const block = readHoled(item, holes);
      if (block) plain.push(block);
      continue;
    }
    const name = item.at("cidrGroupRef").text();
    const groups: Peer | undefined =
      name === undefined || name === ""
        ? withKind(readGroups(item.at("cidrGroupSelector")))
        : { kind: "ends", kinds: ["group"], names: [name], labels: { test: { op: "all", of: [] } } };
    if (!groups) continue;
    if (holes.length === 0) plain.push(groups);
    else own.push({ side: { within: [[groups]], except: [CLUSTER, ...holes] } });
  }
  return [...oneSide(plain, [CLUSTER]), ...own];
}

function readHoled(item: Place, holes: readonly CidrPeer[]): CidrPeer | undefined {
  const block = readBlock(item.at("cidr"));
  if (!block) return undefined;
  const within = tryParsePrefix(block.cidr);
  for (const [index, hole] of holes.entries()) {
    const prefix = tryParsePrefix(hole.cidr);
    if (!within || !prefix || within.family !== prefix.family || !prefixContains(within, prefix) || prefix.length < within.length)
      return item.at("except").items()[index]?.wrong(`${hole.cidr} does not lie within ${block.cidr}`);
  }
  return { ...block, except: holes.map(({ cidr }) => cidr) };
}

function readService(item: Place, namespace: string | undefined): Peer | undefined {
  item.object(["k8sService", "k8sServiceSelector"]);
  const [byName, bySelector] = [item.at("k8sService"), item.at("k8sServiceSelector")];
  if (byName.given === bySelector.given) return item.wrong("an entry is one of k8sService and k8sServiceSelector");
  const place = byName.given ? byName : bySelector;
  place.object(byName.given ? ["serviceName", "namespace"] : ["selector", "namespace"]);
  const within = place.at("namespace").text() || namespace;
  const where = within === undefined ? {} : { namespace: within };
  if (byName.given) {
    const name = place.at("serviceName").text();
    if (name === undefined || name === "") return place.at("serviceName").wrong("a Service has a name");
    return { kind: "service", ...where, name, ports: false };
  }
  const labels = readLabels(place.at("selector"));
  return labels && { kind: "service", ...where, labels, ports: false };
}

/** One name, or a pattern in which "*" stands for any part of one label ("*" alone: for every name). */
function readName(item: Place): Peer | undefined {
  item.object(["matchName", "matchPattern"]);
  const [name, pattern] = [item.at("matchName"), item.at("matchPattern")];
  if (name.given === pattern.given) return item.wrong("an entry is one of matchName and matchPattern");
  const place = name.given ? name : pattern;
  const text = place.text()?.trim().toLowerCase().replace(/\.$/, "");
  if (text === undefined) return undefined;
  const known = name.given ? /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/ : /^(\*\*\.)?[a-z0-9_*-]+(\.[a-z0-9_*-]+)*$/;
  if (text.length > 255 || !known.test(text))
    return place.wrong(`${JSON.stringify(text)} is no ${name.given ? "name" : "pattern of a name"}`);
  return { kind: "names", patterns: [text] };
}
