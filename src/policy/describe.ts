// Parts of rules in plain words: peers, sides, ports and protocols.
import { protocolTitle } from "../base/index.ts";
import type { Peer, PortMatch, Rule, Side, Traffic } from "./rules.ts";
import { describeSelection } from "./selection.ts";

const ENTITIES: Readonly<Record<string, string>> = {
  all: "everybody",
  cluster: "pods and nodes of the cluster",
  world: "whoever is not of the cluster",
  host: "the pod's own node",
  "remote-node": "other nodes",
  "kube-apiserver": "the API server",
};
/** More are only counted. */
const MOST = 6;

/** "pods with app=web of shop", "10.0.0.0/8 without 10.1.0.0/16", "Service shop/db". */
export function describePeer(peer: Peer): string {
  switch (peer.kind) {
    case "ends":
      return describeSelection(peer);
    case "cidr":
      return peer.except.length === 0 ? peer.cidr : `${peer.cidr} without ${listed(peer.except)}`;
    case "service": {
      const where = peer.namespace === undefined ? "" : `${peer.namespace}/`;
      return peer.name === undefined
        ? `the end points of Services${where === "" ? "" : ` of ${peer.namespace}`}`
        : `the end points of Service ${where}${peer.name}`;
    }
    case "names":
      return `the addresses of ${listed(peer.patterns)}`;
    case "entity":
      return ENTITIES[peer.entity] ?? peer.entity;
  }
}

/** "anybody", "nobody", or who. */
export function describeSide({ within, except }: Side): string {
  if (within.some((any) => any.length === 0)) return "nobody";
  const who = within.map((any) => listed(any.map(describePeer), " or ")).join(", of these ");
  const holes = except.length === 0 ? "" : `, but not ${listed(except.map(describePeer))}`;
  return `${who === "" ? "anybody" : who}${holes}`;
}

/** "TCP 80, 443", "every protocol", "ICMP type 8". */
export function describeTraffic(traffic: Rule["traffic"]): string {
  if (traffic === "any") return "every port and protocol";
  return traffic.length === 0 ? "no port" : listed(traffic.map(describeOne));
}

function describeOne({ protocol, notProtocol, ports, notPorts, sourcePorts, notSourcePorts, icmp, notIcmp }: Traffic): string {
  const words = [protocol === undefined ? (notProtocol === undefined ? "" : `not ${nameOf(notProtocol)}`) : nameOf(protocol)];
  if (ports) words.push(describePorts(ports));
  if (notPorts) words.push(`not ${describePorts(notPorts)}`);
  if (sourcePorts) words.push(`from port ${describePorts(sourcePorts)}`);
  if (notSourcePorts) words.push(`not from port ${describePorts(notSourcePorts)}`);
  for (const [match, word] of [
    [icmp, ""],
    [notIcmp, "not "],
  ] as const)
    if (match) words.push(`${word}type ${match.type}${match.code === undefined ? "" : ` code ${match.code}`}`);
  return words.filter((word) => word !== "").join(" ") || "every port and protocol";
}

function describePorts(ports: readonly PortMatch[]): string {
  if (ports.length === 0) return "none";
  return listed(
    ports.map((port) => ("name" in port ? `"${port.name}"` : port.from === port.to ? `${port.from}` : `${port.from}–${port.to}`)),
  );
}

/** "TCP", "protocol 47". */
export function nameOf(protocol: number): string {
  return protocolTitle(protocol) ?? `protocol ${protocol}`;
}

function listed(words: readonly string[], joint = ", "): string {
  const shown = [...new Set(words)];
  return shown.length <= MOST ? shown.join(joint) : `${shown.slice(0, MOST).join(joint)}${joint}and ${shown.length - MOST} more`;
}
