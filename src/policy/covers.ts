// Whether one rule matches everything that another matches, as far as that can be told from how they are written.
import { type Direction, type Peer, type PortMatch, peerSide, type Rule, type Side, type Traffic } from "./rules.ts";
import { selectionKey } from "./selection.ts";

/** Whether everything that `rule` matches is matched by `other` before. Says no where it can't tell. */
export function covers(other: Rule, rule: Rule, direction: Direction): boolean {
  if (other.action === "log" || other.family !== undefined || other.application) return false;
  const own = direction === "ingress" ? other.destination : other.source;
  if (own.within.length > 0 || own.except.length > 0) return false;
  return coversSide(peerSide(other, direction), peerSide(rule, direction)) && coversTraffic(other.traffic, rule.traffic);
}

function coversSide(wide: Side, narrow: Side): boolean {
  if (wide.except.length > 0) return false;
  return wide.within.every((any) => {
    const texts = new Set(any.map(peerText));
    return narrow.within.some((part) => part.length > 0 && part.every((peer) => texts.has(peerText(peer))));
  });
}

function peerText(peer: Peer): string {
  return peer.kind === "ends" ? `${peer.namespace ?? ""} ${selectionKey(peer)}` : JSON.stringify(peer);
}

function coversTraffic(wide: Rule["traffic"], narrow: Rule["traffic"]): boolean {
  if (wide === "any") return true;
  if (narrow === "any" || narrow.length === 0) return false;
  return narrow.every((each) => wide.some((other) => coversOne(other, each)));
}

function coversOne(wide: Traffic, narrow: Traffic): boolean {
  const { protocol, ports, ...more } = wide;
  if (Object.keys(more).length > 0) return JSON.stringify(wide) === JSON.stringify(narrow);
  if (protocol !== undefined && protocol !== narrow.protocol) return false;
  if (!ports) return true;
  return narrow.ports?.every((port) => ports.some((other) => coversPort(other, port))) ?? false;
}

function coversPort(wide: PortMatch, narrow: PortMatch): boolean {
  if ("name" in wide || "name" in narrow) return "name" in wide && "name" in narrow && wide.name === narrow.name;
  return wide.from <= narrow.from && narrow.to <= wide.to;
}
