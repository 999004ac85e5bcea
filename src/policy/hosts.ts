// Nodes as subjects of policy: Calico's HostEndpoints on them, and the nodes that Cilium's host policies select.
import type { ClusterSnapshot } from "../cluster/index.ts";
import { blockIn } from "./calico/ends.ts";
import { calicoParts, fieldsOf, listOf, specOf } from "./calico/objects.ts";
import { protocolNumber } from "./calico/protocols.ts";
import { endPoints } from "./end-points.ts";
import { indexPolicies } from "./policy-index.ts";
import { type Direction, type HostPart, type LabelledEnd, type Policy, PROFILE_TIER } from "./rules.ts";

/** VXLAN, as the IANA has it and as Linux had it before. */
export const TUNNEL_PORTS: readonly number[] = [4789, 8472];

/** One host end point of a node. */
export interface HostSubject {
  readonly end: LabelledEnd;
  /** Name of its interface; none: every interface that leads off the node, or the one with `addresses`. */
  readonly device?: string;
  /** Of an end point that is named by its addresses alone. */
  readonly addresses?: readonly string[];
  /** Whether what the node's own pods send to the node is its concern (Cilium). */
  readonly pods: boolean;
  /** In order of evaluation. */
  readonly policies: readonly Policy[];
}

/** Interfaces of a node with their addresses, as far as they are known. */
export type Interfaces = readonly { readonly link: string; readonly addresses: readonly string[] }[];

const kept = new WeakMap<ClusterSnapshot, Map<string, readonly HostSubject[]>>();

/** The host end points of a node: those of one interface first, of which a packet meets one; then those of all. */
export function hostSubjects(snapshot: ClusterSnapshot, node: string, interfaces?: Interfaces): readonly HostSubject[] {
  if (interfaces) return findSubjects(snapshot, node, interfaces);
  let known = kept.get(snapshot);
  if (!known) {
    known = new Map();
    kept.set(snapshot, known);
  }
  let subjects = known.get(node);
  if (!subjects) {
    subjects = findSubjects(snapshot, node, []);
    known.set(node, subjects);
  }
  return subjects;
}

function findSubjects(snapshot: ClusterSnapshot, node: string, interfaces: Interfaces): HostSubject[] {
  const index = indexPolicies(snapshot);
  const calico = endPoints(snapshot)
    .ofKinds(["host"])
    .filter((end) => end.host?.node === node)
    .flatMap((end): HostSubject[] => {
      const place = placeOf(end, interfaces);
      return place ? [{ end, ...place, pods: false, policies: index.selectingEnd(snapshot, end) }] : [];
    });
  const cilium = endPoints(snapshot)
    .ofKinds(["node"])
    .filter(({ name }) => name === node)
    .map((end): HostSubject => ({ end, pods: true, policies: index.selectingEnd(snapshot, end) }))
    .filter(({ policies }) => policies.length > 0);
  const whole = calico.filter(({ device, addresses }) => device === undefined && addresses === undefined);
  return [...calico.filter((each) => !whole.includes(each)), ...whole.slice(0, 1), ...cilium];
}

function placeOf({ host }: LabelledEnd, interfaces: Interfaces): Pick<HostSubject, "device" | "addresses"> | undefined {
  if (!host) return undefined;
  if (host.interface === "*") return {};
  if (host.interface !== undefined) return { device: host.interface };
  if (host.addresses.length === 0) return undefined;
  const found = interfaces.find(({ addresses }) => addresses.some((each) => host.addresses.includes(each.replace(/\/.*/, ""))));
  return found ? { device: found.link } : { addresses: host.addresses };
}

/** Where on its way through a node a packet meets a host end point. */
export type HostStage = HostPart["at"] | "forwarded";

/** The policies that have a say at a stage, in a direction. Only the connections of the host itself come to the profiles. */
export function policiesAt({ policies }: HostSubject, stage: HostStage, direction: Direction): readonly Policy[] {
  return policies.filter((policy) => {
    if (!policy.isolates.includes(direction) && policy[direction].length === 0) return false;
    const { at, forwarded } = policy.host ?? { at: "connection", forwarded: false };
    if (stage === "forwarded") return at === "connection" && forwarded && policy.tier !== PROFILE_TIER.name;
    return at === stage && !(stage === "before-nat" && direction === "egress");
  });
}

/** A port that stays open on host end points whatever policies say, so that nobody locks himself out. */
export interface Failsafe {
  readonly protocol: number;
  readonly port: number;
  /** Peers that it is open to; everyone if not given. */
  readonly cidr?: string;
}

/** Calico's defaults: SSH, DHCP, DNS, BGP, etcd, Typha, the API server. */
const DEFAULTS = {
  ingress: ["tcp:22", "udp:68", "tcp:179", "tcp:2379", "tcp:2380", "tcp:5473", "tcp:6443", "tcp:6666", "tcp:6667"],
  egress: ["udp:53", "udp:67", "tcp:179", "tcp:2379", "tcp:2380", "tcp:5473", "tcp:6443", "tcp:6666", "tcp:6667"],
} as const;
const FIELDS = { ingress: "failsafeInboundHostPorts", egress: "failsafeOutboundHostPorts" } as const;

/** What FelixConfiguration "default" says, else Calico's defaults; an empty list is none. Entries that can't be read are left out. */
export function failsafePorts(snapshot: ClusterSnapshot, direction: Direction): readonly Failsafe[] {
  const [part] = calicoParts(snapshot, ["FelixConfiguration"]);
  const object = part?.get("default");
  const given = object && specOf(object)[FIELDS[direction]];
  if (!Array.isArray(given))
    return DEFAULTS[direction].map((text) => {
      const [protocol, port] = text.split(":");
      return { protocol: protocolNumber(protocol) ?? 0, port: Number(port) };
    });
  return listOf(given).flatMap((entry): Failsafe[] => {
    const { protocol, port, net } = fieldsOf(entry);
    const number = protocolNumber(protocol ?? "tcp");
    const cidr = net === undefined || net === null ? undefined : blockIn(net);
    if (number === undefined || typeof port !== "number" || (typeof net === "string" && cidr === undefined)) return [];
    return [{ protocol: number, port, ...(cidr === undefined ? {} : { cidr }) }];
  });
}
