// Reads the cluster-wide policies of network-policy-api: ClusterNetworkPolicy (v1alpha2), AdminNetworkPolicy and BaselineAdminNetworkPolicy (v1alpha1).

import { PORT_PROTOCOLS, TRANSPORTS, tryParsePrefix } from "../base/index.ts";
import type { Owner } from "../kernel/index.ts";
import type { KubeObject, LabelSelector } from "../resources/index.ts";
import { ALL_LABELS, NO_LABELS, readLabelSelector, unknownField } from "./labels.ts";
import { MAX_RULES } from "./limits.ts";
import { networkText } from "./network-text.ts";
import {
  ADMIN_TIER,
  ANYONE,
  BASELINE_TIER,
  type LabelMatch,
  oneOf,
  type Peer,
  type Policy,
  type ReadPolicy,
  type Rule,
  type Selection,
  type Traffic,
} from "./rules.ts";

/** Kinds by "apiVersion/Kind", as a snapshot names its parts. */
export const CLUSTER_POLICY_KINDS = [
  "policy.networking.k8s.io/v1alpha2/ClusterNetworkPolicy",
  "policy.networking.k8s.io/v1alpha1/AdminNetworkPolicy",
  "policy.networking.k8s.io/v1alpha1/BaselineAdminNetworkPolicy",
] as const;

/** How the kinds differ: v1alpha1 says Allow where v1alpha2 says Accept, and `ports` for `protocols`. */
interface Dialect {
  readonly actions: Readonly<Record<string, Rule["action"]>>;
  readonly fields: readonly string[];
  readonly traffic: "ports" | "protocols";
}

const ALPHA_1: Dialect = {
  actions: { Allow: "allow", Deny: "deny", Pass: "pass" },
  fields: ["priority", "subject", "ingress", "egress"],
  traffic: "ports",
};
const DIALECTS: Readonly<Record<string, Dialect>> = {
  AdminNetworkPolicy: ALPHA_1,
  BaselineAdminNetworkPolicy: { ...ALPHA_1, actions: { Allow: "allow", Deny: "deny" }, fields: ["subject", "ingress", "egress"] },
};
const ALPHA_2: Dialect = {
  actions: { Accept: "allow", Deny: "deny", Pass: "pass" },
  fields: ["tier", ...ALPHA_1.fields],
  traffic: "protocols",
};

/** What stands in an object that the API server did not check: anything. */
type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads one cluster-wide policy. It isolates nothing by itself: a packet that no rule matches goes on to the next tier.
 * What is not understood fails closed: in a rule that accepts it matches nothing, in one that denies or passes it denies
 * everything (network-policy-api, ClusterNetworkPolicyPeer). Of a policy that is too large, every rule denies. A subject that
 * can't be read selects no pod. Never throws.
 */
export function readClusterPolicy(object: KubeObject): ReadPolicy {
  const { kind, metadata } = object;
  const owner: Owner = { kind, name: metadata.name };
  const remarks: string[] = [];
  const reader = new Reader(owner, DIALECTS[kind] ?? ALPHA_2, (path, says) => remarks.push(`${kind} ${metadata.name}: ${path}: ${says}`));
  return { policies: [reader.policy(kind, fieldsOf((object as { spec?: unknown }).spec))], remarks };
}

class Reader {
  readonly #owner: Owner;
  readonly #dialect: Dialect;
  readonly #remark: (path: string, says: string) => void;

  constructor(owner: Owner, dialect: Dialect, remark: (path: string, says: string) => void) {
    this.#owner = owner;
    this.#dialect = dialect;
    this.#remark = remark;
  }

  policy(kind: string, spec: Fields): Policy {
    const baseline = kind === "BaselineAdminNetworkPolicy" || spec.tier === "Baseline";
    if (kind === "ClusterNetworkPolicy" && spec.tier !== "Admin" && spec.tier !== "Baseline")
      this.#remark("spec.tier", `${JSON.stringify(spec.tier)} is neither Admin nor Baseline; it is taken as Admin`);
    this.#isKnown(spec, this.#dialect.fields, "spec");
    const subject = this.#selection(fieldsOf(spec.subject), "spec.subject");
    if (subject === undefined) this.#remark("spec.subject", "it selects no pod");
    return {
      owner: this.#owner,
      tier: (baseline ? BASELINE_TIER : ADMIN_TIER).name,
      order: kind === "BaselineAdminNetworkPolicy" ? 0 : this.#priority(spec.priority),
      subject: subject ?? { labels: NO_LABELS },
      isolates: [],
      ingress: this.#rules(spec.ingress, "spec.ingress", "from"),
      egress: this.#rules(spec.egress, "spec.egress", "to"),
    };
  }

  #priority(value: unknown): number {
    if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 1000) return value;
    this.#remark("spec.priority", `${JSON.stringify(value)} is no number from 0 to 1000; 1000 is taken`);
    return 1000;
  }

  #rules(list: unknown, path: string, peersField: "from" | "to"): Rule[] {
    const items = listOf(list);
    if (items.length > MAX_RULES) {
      this.#remark(path, `${items.length} rules are more than ${MAX_RULES}: none of them is in force, and everything is denied`);
      return [{ action: "deny", source: ANYONE, destination: ANYONE, traffic: "any", owner: { ...this.#owner, rule: 0 } }];
    }
    return items.map((item, index) => this.#rule(fieldsOf(item), `${path}[${index}]`, peersField, index));
  }

  #rule(rule: Fields, path: string, peersField: "from" | "to", index: number): Rule {
    const owner = { ...this.#owner, rule: index };
    const { actions, traffic } = this.#dialect;
    const action = typeof rule.action === "string" && Object.hasOwn(actions, rule.action) ? actions[rule.action] : undefined;
    if (action === undefined) {
      this.#remark(
        `${path}.action`,
        `${JSON.stringify(rule.action)} is no action: ${Object.keys(actions).join(", ")}; it is taken as Deny`,
      );
      return { action: "deny", source: ANYONE, destination: ANYONE, traffic: "any", owner };
    }
    const peers = listOf(rule[peersField]).map((peer, at) => this.#peer(fieldsOf(peer), `${path}.${peersField}[${at}]`, peersField));
    const known = this.#isKnown(rule, ["name", "action", peersField, traffic], path);
    const given = listOf(rule[traffic]);
    const ports = given.map((port, at) =>
      traffic === "ports" ? this.#port(fieldsOf(port), `${path}.ports[${at}]`) : this.#protocol(fieldsOf(port), `${path}.protocols[${at}]`),
    );
    // A name that was never asked for is nobody's address, and a denial of nobody would deny nothing.
    const named = peers.some((each) => each?.some(({ kind }) => kind === "names"));
    if (named && action !== "allow") this.#remark(path, "domainNames go with Accept only");
    const unclear = !known || [...peers, ...ports].includes(undefined) || (named && action !== "allow");
    if (unclear && action !== "allow") {
      this.#remark(path, "what it says is not understood, so it denies everything");
      return { action: "deny", source: ANYONE, destination: ANYONE, traffic: "any", owner };
    }
    const side = oneOf(peers.flatMap((each) => each ?? []));
    return {
      action,
      ...(peersField === "from" ? { source: side, destination: ANYONE } : { source: ANYONE, destination: side }),
      traffic: !known ? [] : given.length === 0 ? "any" : ports.flatMap((each) => each ?? []),
      owner,
    };
  }

  #isKnown(value: Fields, known: readonly string[], path: string): boolean {
    const unknown = unknownField(value, known);
    if (unknown !== undefined) this.#remark(`${path}.${unknown}`, `there is no such field here; known are ${known.join(", ")}`);
    return unknown === undefined;
  }

  /** One peer, which may stand for several blocks; undefined where it is not understood. */
  #peer(peer: Fields, path: string, field: "from" | "to"): readonly Peer[] | undefined {
    if (Object.keys(peer).length > 1) {
      this.#remark(path, `${Object.keys(peer).join(" and ")} do not go together in one peer: write a peer for each`);
      return undefined;
    }
    if (field === "to" && Array.isArray(peer.networks)) {
      const blocks = peer.networks.map((text: unknown, index) => {
        const note = (says: string) => this.#remark(`${path}.networks[${index}]`, says);
        const prefix = typeof text === "string" ? tryParsePrefix(text) : undefined;
        if (prefix) return networkText(text as string, prefix, note);
        note(`${JSON.stringify(text)} is not a prefix such as 10.0.0.0/8`);
        return undefined;
      });
      return blocks.includes(undefined)
        ? undefined
        : blocks.flatMap((cidr) => (cidr === undefined ? [] : [{ kind: "cidr" as const, cidr, except: [] }]));
    }
    if (field === "to" && peer.nodes !== undefined) {
      const labels = this.#selector(peer.nodes, `${path}.nodes`);
      return labels && [{ kind: "ends", kinds: ["node"], labels }];
    }
    if (field === "to" && Array.isArray(peer.domainNames)) return this.#names(peer.domainNames, `${path}.domainNames`);
    const selection = this.#selection(peer, path);
    return selection && [{ kind: "ends", ...selection }];
  }

  /** "example.com", "*.example.com": with any number of labels before it. */
  #names(list: readonly unknown[], path: string): readonly Peer[] | undefined {
    const patterns = list.map((name, index) => {
      const valid = typeof name === "string" && /^(\*\.)?([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?\.?$/i.test(name);
      if (!valid) this.#remark(`${path}[${index}]`, `${JSON.stringify(name)} is no DNS name such as example.com or *.example.com`);
      return valid ? name.toLowerCase().replace(/\.$/, "").replace(/^\*\./, "**.") : undefined;
    });
    return patterns.includes(undefined) ? undefined : [{ kind: "names", patterns: patterns.flatMap((each) => each ?? []) }];
  }

  /** `namespaces`: every pod of them; `pods`: pods of namespaces. */
  #selection(of: Fields, path: string): Selection | undefined {
    if (of.namespaces !== undefined) {
      const namespaceSelector = this.#selector(of.namespaces, `${path}.namespaces`);
      return namespaceSelector && { namespaceSelector, labels: ALL_LABELS };
    }
    if (of.pods !== undefined) {
      const pods = fieldsOf(of.pods);
      if (!this.#isKnown(pods, ["namespaceSelector", "podSelector"], `${path}.pods`)) return undefined;
      const namespaceSelector = this.#selector(pods.namespaceSelector ?? {}, `${path}.pods.namespaceSelector`);
      const podSelector = this.#selector(pods.podSelector ?? {}, `${path}.pods.podSelector`);
      return namespaceSelector && podSelector && { namespaceSelector, labels: podSelector };
    }
    const names = Object.keys(of).join(", ") || "nothing";
    this.#remark(path, `${names} is not followed here: namespaces, pods${path.includes(".to[") ? ", networks, nodes, domainNames" : ""}`);
    return undefined;
  }

  #selector(value: unknown, path: string): LabelMatch | undefined {
    const read = readLabelSelector(value as LabelSelector);
    if (!("wrong" in read)) return read;
    this.#remark(path, read.wrong);
    return undefined;
  }

  /** v1alpha2: { tcp: { destinationPort: { number | range } } } or { destinationNamedPort }. */
  #protocol(entry: Fields, path: string): readonly Traffic[] | undefined {
    if (typeof entry.destinationNamedPort === "string") return named(entry.destinationNamedPort);
    for (const [protocol, number] of Object.entries(TRANSPORTS)) {
      const of = entry[protocol];
      if (of === undefined) continue;
      const port = fieldsOf(of).destinationPort;
      if (port === undefined) return [{ protocol: number }];
      const { number: single, range } = fieldsOf(port);
      const { start, end } = fieldsOf(range);
      return this.#range(number, range === undefined ? [single, single] : [start, end], `${path}.${protocol}.destinationPort`);
    }
    this.#remark(path, `${Object.keys(entry).join(", ") || "nothing"} is not known: tcp, udp, sctp, destinationNamedPort`);
    return undefined;
  }

  /** v1alpha1: { portNumber } or { portRange } or { namedPort }. */
  #port(entry: Fields, path: string): readonly Traffic[] | undefined {
    if (typeof entry.namedPort === "string") return named(entry.namedPort);
    const { protocol = "TCP", port, start, end } = fieldsOf(entry.portNumber ?? entry.portRange);
    const known = PORT_PROTOCOLS.get(protocol);
    if (known !== undefined) return this.#range(known, entry.portNumber === undefined ? [start, end] : [port, port], path);
    this.#remark(path, `${JSON.stringify(protocol)} is neither TCP, UDP nor SCTP`);
    return undefined;
  }

  #range(protocol: number, [from, to]: readonly [unknown, unknown], path: string): readonly Traffic[] | undefined {
    if (isPort(from) && isPort(to) && from <= to) return [{ protocol, ports: [{ from, to }] }];
    this.#remark(path, `${JSON.stringify(from)}–${JSON.stringify(to)} is no port or range of ports between 1 and 65535`);
    return undefined;
  }
}

function named(name: string): readonly Traffic[] {
  return [{ ports: [{ name }] }];
}

function isPort(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535;
}

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
