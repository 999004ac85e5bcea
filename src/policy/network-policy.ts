// The reader of networking.k8s.io/v1 NetworkPolicy. What is not valid is remarked and read so that it allows nothing.

import { PORT_PROTOCOLS, prefixContains, tryParsePrefix } from "../base/index.ts";
import type { Owner } from "../kernel/index.ts";
import type { LabelSelector, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from "../resources/index.ts";
import { ALL_LABELS, readLabelSelector, unknownField } from "./labels.ts";
import { MAX_RULES } from "./limits.ts";
import { networkText } from "./network-text.ts";
import {
  ANYONE,
  DEFAULT_TIER,
  type Direction,
  type LabelMatch,
  NETWORK_POLICY_ORDER,
  oneOf,
  type Peer,
  type ReadPolicy,
  type Rule,
  type Traffic,
} from "./rules.ts";

type Remark = (path: string, says: string) => void;
const SPEC_FIELDS = ["podSelector", "policyTypes", "ingress", "egress"];

type RuleObject = {
  readonly peers: readonly NetworkPolicyPeer[] | null | undefined;
  readonly ports?: readonly NetworkPolicyPort[] | null | undefined;
};

/**
 * Reads one NetworkPolicy. An invalid subject selects every pod of the namespace and allows nothing; an invalid peer or
 * port, and a rule with a field that is not known, matches nothing; an unknown policy type, or field of the spec, isolates both
 * ways. Never throws for what the API server could hold.
 */
export function readNetworkPolicy(object: NetworkPolicy): ReadPolicy {
  const namespace = object.metadata.namespace ?? "default";
  const owner: Owner = { kind: object.kind, namespace, name: object.metadata.name };
  const remarks: string[] = [];
  const remark: Remark = (path, says) => remarks.push(`${object.kind} ${namespace}/${object.metadata.name}: ${path}: ${says}`);
  const spec = object.spec ?? {};

  const subject = readSelector(
    spec.podSelector ?? {},
    "spec.podSelector",
    remark,
    "every pod of the namespace is isolated, and nothing is allowed",
  );
  const isolates = readTypes(object, remark);
  const rulesOf = (direction: Direction): Rule[] => {
    const list = direction === "ingress" ? spec.ingress : spec.egress;
    const rules = list ?? [];
    if (!isolates.includes(direction)) {
      if (rules.length > 0)
        remark(
          `spec.${direction}`,
          `these rules have no effect, because policyTypes does not name ${direction === "ingress" ? "Ingress" : "Egress"}`,
        );
      return [];
    }
    if (subject === undefined) return [];
    if (rules.length > MAX_RULES) {
      remark(`spec.${direction}`, `${rules.length} rules are more than ${MAX_RULES}: none of them is in force, so nothing is allowed`);
      return [];
    }
    return rules.map((rule, index) => {
      const from = rule === null ? undefined : "from" in rule ? rule.from : "to" in rule ? rule.to : undefined;
      const read: RuleObject = { peers: from, ports: rule?.ports };
      const [path, peersField] = [`spec.${direction}[${index}]`, direction === "ingress" ? ("from" as const) : ("to" as const)];
      const known = isKnown(rule, [peersField, "ports"], { path, remark, follows: "this rule matches nothing" });
      const context = { path, peersField, namespace, remark, owner: { ...owner, rule: index } };
      return readRule(known ? read : { peers: [], ports: [] }, context, known);
    });
  };
  return {
    policies: [
      {
        owner,
        tier: DEFAULT_TIER.name,
        order: NETWORK_POLICY_ORDER,
        subject: { namespace, labels: subject ?? ALL_LABELS },
        isolates,
        ingress: rulesOf("ingress"),
        egress: rulesOf("egress"),
      },
    ],
    remarks,
  };
}

/** Reads Calico's StagedKubernetesNetworkPolicy: the same, and not in force. */
export function readStagedPolicy(object: NetworkPolicy): ReadPolicy {
  const { policies, remarks } = readNetworkPolicy(object);
  return { policies: policies.map((policy) => ({ ...policy, staged: true })), remarks };
}

/** Without policyTypes: ingress always, egress only if there are egress rules (an empty list is none). */
function readTypes(object: NetworkPolicy, remark: Remark): Direction[] {
  const known = object.kind === "NetworkPolicy" ? SPEC_FIELDS : [...SPEC_FIELDS, "stagedAction"];
  if (!isKnown(object.spec, known, { path: "spec", remark, follows: "the pods are isolated both ways" })) return ["ingress", "egress"];
  const types: readonly string[] = object.spec?.policyTypes ?? [];
  if (types.length === 0) return (object.spec?.egress ?? []).length > 0 ? ["ingress", "egress"] : ["ingress"];
  const unknown = types.filter((type) => type !== "Ingress" && type !== "Egress");
  if (unknown.length > 0) {
    remark("spec.policyTypes", `${JSON.stringify(unknown[0])} is neither Ingress nor Egress; the pods are isolated both ways`);
    return ["ingress", "egress"];
  }
  const result: Direction[] = [];
  if (types.includes("Ingress")) result.push("ingress");
  if (types.includes("Egress")) result.push("egress");
  return result;
}

/** Whether an object has known fields only; if not, it is remarked what follows. */
function isKnown(
  value: unknown,
  known: readonly string[],
  { path, remark, follows }: { readonly path: string; readonly remark: Remark; readonly follows: string },
): boolean {
  const unknown = unknownField(value, known);
  if (unknown !== undefined) remark(`${path}.${unknown}`, `there is no such field here; known are ${known.join(", ")}; ${follows}`);
  return unknown === undefined;
}

interface RuleContext {
  readonly path: string;
  readonly peersField: "from" | "to";
  readonly namespace: string;
  readonly remark: Remark;
  readonly owner: Owner;
}

/** `known`: every field of the rule is. */
function readRule(rule: RuleObject, context: RuleContext, known: boolean): Rule {
  const peers = rule.peers ?? [];
  const ports = rule.ports ?? [];
  const side =
    peers.length === 0
      ? ANYONE
      : oneOf(peers.flatMap((peer, index) => readPeer(peer, `${context.path}.${context.peersField}[${index}]`, context) ?? []));
  return {
    action: "allow",
    ...(context.peersField === "from" ? { source: side, destination: ANYONE } : { source: ANYONE, destination: side }),
    traffic: !known
      ? []
      : ports.length === 0
        ? "any"
        : ports.flatMap((port, index) => readPort(port, `${context.path}.ports[${index}]`, context.remark) ?? []),
    owner: context.owner,
  };
}

function readPeer(peer: NetworkPolicyPeer | null, path: string, { namespace, remark }: RuleContext): Peer | undefined {
  const none = "this peer matches nothing";
  if (!isKnown(peer, ["ipBlock", "namespaceSelector", "podSelector"], { path, remark, follows: none })) return undefined;
  const { ipBlock, namespaceSelector, podSelector } = peer ?? {};
  const selects = (namespaceSelector ?? undefined) !== undefined || (podSelector ?? undefined) !== undefined;
  if (ipBlock) {
    if (selects) {
      remark(path, `ipBlock stands alone, without podSelector and namespaceSelector; ${none}`);
      return undefined;
    }
    return readBlock(ipBlock, `${path}.ipBlock`, remark);
  }
  if (!selects) {
    remark(path, `it has neither podSelector, namespaceSelector nor ipBlock; ${none}`);
    return undefined;
  }
  const pods = podSelector ? readSelector(podSelector, `${path}.podSelector`, remark, none) : ALL_LABELS;
  if (!namespaceSelector) return pods && { kind: "ends", namespace, labels: pods };
  const namespaces = readSelector(namespaceSelector, `${path}.namespaceSelector`, remark, none);
  return pods && namespaces && { kind: "ends", namespaceSelector: namespaces, labels: pods };
}

function readBlock(block: NonNullable<NetworkPolicyPeer["ipBlock"]>, path: string, remark: Remark): Peer | undefined {
  const cidr = typeof block.cidr === "string" ? tryParsePrefix(block.cidr) : undefined;
  if (!cidr) {
    remark(`${path}.cidr`, `${JSON.stringify(block.cidr)} is not a prefix such as 10.0.0.0/8; this peer matches nothing`);
    return undefined;
  }
  if (!isKnown(block, ["cidr", "except"], { path, remark, follows: "this peer matches nothing" })) return undefined;
  const network = networkText(block.cidr, cidr, (says) => remark(`${path}.cidr`, says));
  const except: string[] = [];
  for (const [index, text] of (block.except ?? []).entries()) {
    const hole = typeof text === "string" ? tryParsePrefix(text) : undefined;
    if (!hole || !prefixContains(cidr, hole) || hole.length <= cidr.length) {
      const why = hole ? `lies not strictly within ${block.cidr}` : "is not a prefix";
      remark(`${path}.except[${index}]`, `${JSON.stringify(text)} ${why}; this peer matches nothing`);
      return undefined;
    }
    except.push(networkText(text, hole, (says) => remark(`${path}.except[${index}]`, says)));
  }
  return { kind: "cidr", cidr: network, except };
}

function readPort(port: NetworkPolicyPort | null, path: string, remark: Remark): Traffic | undefined {
  const none = "this port matches nothing";
  if (!isKnown(port, ["protocol", "port", "endPort"], { path, remark, follows: none })) return undefined;
  const given: string = port?.protocol ?? "TCP";
  const protocol = PORT_PROTOCOLS.get(given);
  if (protocol === undefined) {
    remark(`${path}.protocol`, `${JSON.stringify(given)} is neither TCP, UDP nor SCTP; ${none}`);
    return undefined;
  }
  const number = port?.port ?? undefined;
  const end = port?.endPort ?? undefined;
  if (number === undefined) {
    if (end === undefined) return { protocol };
    remark(`${path}.endPort`, `endPort needs port; ${none}`);
    return undefined;
  }
  if (typeof number === "string") {
    if (end === undefined && /^(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/.test(number)) return { protocol, ports: [{ name: number }] };
    remark(
      path,
      end === undefined
        ? `${JSON.stringify(number)} is no port name (a number is written without quotes); ${none}`
        : `endPort does not go with a named port; ${none}`,
    );
    return undefined;
  }
  const last = end ?? number;
  if (!isPort(number) || !isPort(last) || last < number) {
    remark(path, `${number}${end === undefined ? "" : `–${end}`} is no port or range of ports between 1 and 65535; ${none}`);
    return undefined;
  }
  return { protocol, ports: [{ from: number, to: last }] };
}

function isPort(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 65535;
}

function readSelector(selector: LabelSelector, path: string, remark: Remark, then: string): LabelMatch | undefined {
  const read = readLabelSelector(selector);
  if (!("wrong" in read)) return read;
  remark(path, `${read.wrong}; ${then}`);
  return undefined;
}
