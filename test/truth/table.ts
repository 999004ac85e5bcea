// Truth tables: policies, then rows of who may reach whom; each row is asked in every way that there is.
import type { ClusterSnapshot } from "../../src/cluster/index.ts";
import { type NameBook, NO_NAMES, nameBook } from "../../src/policy/index.ts";
import type { KubeObject } from "../../src/resources/index.ts";
import type { Question } from "../three-ways.ts";

/** From, to, what, whether it may. Ends are "namespace/pod", a node's name or an address; see `questionOf` for the rest. */
export type Row = readonly [string, string, string, boolean];

export interface TruthTable {
  readonly title: string;
  readonly policies: readonly object[];
  readonly rows: readonly Row[];
  /** Addresses that DNS names had in answers. */
  readonly names?: Readonly<Record<string, readonly string[]>>;
}

/** The tables of one language over one cluster. */
export interface TruthSuite {
  readonly language: string;
  readonly cluster: readonly object[];
  readonly tables: readonly TruthTable[];
}

export const namespace = (name: string, labels: object = {}) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });

export const node = (n: number, labels: object = {}) => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: `node-${n}`, labels },
  spec: { podCIDR: `10.244.${n}.0/24` },
  status: { addresses: [{ type: "InternalIP", address: `10.112.0.5${n}` }] },
});

/** Serves "web" (TCP 8080) and "dns" (UDP 53), if not said otherwise. */
export function pod(key: string, labels: object, n: number, ips: readonly string[], spec: object = {}): object {
  const [space, name] = key.split("/");
  const ports = [
    { name: "web", containerPort: 8080 },
    { name: "dns", containerPort: 53, protocol: "UDP" },
  ];
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: space, name, labels },
    spec: { nodeName: `node-${n}`, containers: [{ name: "main", ports }], ...spec },
    status: { phase: "Running", podIPs: ips.map((ip) => ({ ip })) },
  };
}

const PROTOCOLS: Readonly<Record<string, number>> = { ICMP: 1, TCP: 6, UDP: 17, ICMPv6: 58, SCTP: 132, UDPLite: 136 };

/** "80/TCP", "80/TCP from 5000", "ICMP", "ICMP 3/1", "protocol 47". */
export function questionOf(snapshot: ClusterSnapshot, [from, to, what]: Row): Question {
  const [source, destination] = addressesOf(snapshot, from, to);
  const [, port, transport, sourcePort] = /^(\d+)\/([A-Za-z]+)(?: from (\d+))?$/.exec(what) ?? [];
  if (transport !== undefined && transport !== "ICMP")
    return {
      source,
      destination,
      protocol: PROTOCOLS[transport] ?? 0,
      sourcePort: Number(sourcePort ?? 40_000),
      destinationPort: Number(port),
    };
  const [, name, type, code] = /^(ICMPv6|ICMP|\d+\/ICMP)(?: (\d+)\/(\d+))?$/.exec(what) ?? [];
  if (name !== undefined) {
    const protocol = source.includes(":") ? 58 : 1;
    return { source, destination, protocol, ...(type === undefined ? {} : { icmp: { type: Number(type), code: Number(code) } }) };
  }
  const [, number] = /^protocol (\d+)$/.exec(what) ?? [];
  if (number === undefined) throw new Error(`no question: ${what}`);
  return { source, destination, protocol: Number(number) };
}

/** The first pair of one family. */
function addressesOf(snapshot: ClusterSnapshot, from: string, to: string): [string, string] {
  const [sources, targets] = [addresses(snapshot, from), addresses(snapshot, to)];
  for (const target of targets) for (const source of sources) if (source.includes(":") === target.includes(":")) return [source, target];
  throw new Error(`${from} and ${to} share no family`);
}

function addresses(snapshot: ClusterSnapshot, end: string): readonly string[] {
  const found = snapshot.pods.get(end);
  if (found) return (found.status?.podIPs ?? []).map(({ ip }) => ip);
  const held = snapshot.nodes.get(end)?.status?.addresses?.map(({ address }) => address);
  return held ?? [end];
}

export function objectsOf(suite: TruthSuite, table: TruthTable): KubeObject[] {
  return [...suite.cluster, ...table.policies] as KubeObject[];
}

export function namesOf({ names }: TruthTable): NameBook {
  return names ? nameBook(names) : NO_NAMES;
}
