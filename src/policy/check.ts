// What is suspicious about policies in their cluster: valid, and yet hardly meant so. Pure.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Owner } from "../kernel/index.ts";
import type { Pod } from "../resources/index.ts";
import { ALL_LABELS } from "./labels.ts";
import { namedPorts, WITH_PORTS } from "./match.ts";
import { indexPolicies } from "./policy-index.ts";
import {
  type Direction,
  type Peer,
  type Policy,
  type PortMatch,
  peerSide,
  type Rule,
  type Selection,
  type Side,
  type Traffic,
} from "./rules.ts";
import { describeSelection, selectionKey, selects } from "./selection.ts";

export interface PolicyFinding {
  /** "invalid" parts match nothing or deny; a "warning" works as written. */
  readonly severity: "invalid" | "warning";
  readonly code: "invalid" | "selects-nothing" | "peer-matches-nothing" | "unknown-port-name" | "unreachable-rule" | "dns-forgotten";
  readonly policy: Owner;
  /** "spec.ingress[0].from[1]" */
  readonly path: string;
  readonly says: string;
  readonly remedy: string;
}

const DNS_PORT = 53;
const UDP = 17;

/** Findings over all policies of a snapshot, in order of policy and path. */
export function checkPolicies(snapshot: ClusterSnapshot): PolicyFinding[] {
  const index = indexPolicies(snapshot);
  const pods = [...snapshot.pods.values()].filter((pod) => !pod.spec.hostNetwork);
  const findings = index.all.flatMap((policy) => checkPolicy(snapshot, policy, pods));
  return [...invalid(index.remarks), ...findings, ...forgottenDns(snapshot, pods)].sort(
    (a, b) => compare(nameOf(a.policy), nameOf(b.policy)) || compare(a.path, b.path),
  );
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
const nameOf = ({ kind, namespace, name }: Owner) => `${kind} ${namespace ?? ""}/${name}`;

/** "NetworkPolicy ns/name: spec.ingress[0]: what" as the readers say it. */
function invalid(remarks: readonly string[]): PolicyFinding[] {
  return remarks.flatMap((remark): PolicyFinding[] => {
    const match = /^(\S+) (?:([^\s/]+)\/)?(\S+): (\S+): (.*)$/s.exec(remark);
    if (!match) return [];
    const [, kind = "", namespace, name = "", path = "", says = ""] = match;
    const policy: Owner = { kind, name, ...(namespace === undefined ? {} : { namespace }) };
    return [{ severity: "invalid", code: "invalid", policy, path, says, remedy: "correct the field" }];
  });
}

function checkPolicy(snapshot: ClusterSnapshot, policy: Policy, pods: readonly Pod[]): PolicyFinding[] {
  const selected = pods.filter((pod) => selects(snapshot, policy.subject, pod));
  const findings: PolicyFinding[] = [];
  const warn = (code: PolicyFinding["code"], path: string, says: string, remedy: string) =>
    findings.push({ severity: "warning", code, policy: policy.owner, path, says, remedy });
  if (selected.length === 0)
    warn(
      "selects-nothing",
      "spec.podSelector",
      `it selects ${describeSelection(policy.subject)}, and there is none`,
      nearest(snapshot, policy.subject, pods),
    );
  for (const direction of ["ingress", "egress"] as const)
    for (const [index, rule] of policy[direction].entries()) {
      const path = `spec.${direction}[${index}]`;
      const wider = policy[direction].slice(0, index).findIndex((other) => covers(other, rule, direction));
      if (wider >= 0)
        warn(
          "unreachable-rule",
          path,
          `it decides nothing: rule ${wider} matches all that it matches`,
          `take it out, or narrow rule ${wider}`,
        );
      checkPeers(snapshot, peerSide(rule, direction), { path: `${path}.${direction === "ingress" ? "from" : "to"}`, pods, warn });
      if (selected.length > 0) checkNames(snapshot, rule, { path: `${path}.ports`, direction, selected, pods, warn });
    }
  return findings;
}

type Warn = (code: PolicyFinding["code"], path: string, says: string, remedy: string) => void;

function checkPeers(snapshot: ClusterSnapshot, side: Side, { path, pods, warn }: { path: string; pods: readonly Pod[]; warn: Warn }): void {
  for (const [index, peer] of side.within.flat().entries()) {
    if (peer.kind !== "ends" || peer.kinds || pods.some((pod) => selects(snapshot, peer, pod))) continue;
    warn("peer-matches-nothing", `${path}[${index}]`, `there are no ${describeSelection(peer)}`, nearest(snapshot, peer, pods));
  }
}

interface NameContext {
  readonly path: string;
  readonly direction: Direction;
  readonly selected: readonly Pod[];
  readonly pods: readonly Pod[];
  readonly warn: Warn;
}

/** A port's name is looked up on the destination: the selected pods for ingress, the peers for egress. */
function checkNames(snapshot: ClusterSnapshot, rule: Rule, { path, direction, selected, pods, warn }: NameContext): void {
  if (rule.traffic === "any") return;
  const peers = peerSide(rule, direction).within.flat();
  const targets =
    direction === "ingress"
      ? selected
      : peers.length === 0
        ? pods
        : pods.filter((pod) => peers.some((peer) => peer.kind === "ends" && selects(snapshot, peer, pod)));
  if (targets.length === 0) return;
  for (const [index, traffic] of rule.traffic.entries()) {
    for (const port of traffic.ports ?? []) {
      if (!("name" in port)) continue;
      const protocols = traffic.protocol === undefined ? WITH_PORTS : [traffic.protocol];
      if (targets.some((pod) => protocols.some((protocol) => namedPorts(pod, protocol, port.name).length > 0))) continue;
      const names = [
        ...new Set(
          targets.flatMap((pod) => pod.spec.containers.flatMap((container) => (container.ports ?? []).flatMap(({ name }) => name ?? []))),
        ),
      ];
      warn(
        "unknown-port-name",
        `${path}[${index}].port`,
        `no ${direction === "ingress" ? "selected pod" : "peer"} has a ${PROTOCOL_NAMES[traffic.protocol ?? 0] ?? "TCP, UDP or SCTP"} port named "${port.name}"`,
        names.length > 0 ? `their ports are named ${names.join(", ")}` : "their ports have no names: write the number",
      );
    }
  }
}

const PROTOCOL_NAMES: Readonly<Record<number, string>> = { 6: "TCP", 17: "UDP", 132: "SCTP" };

/** Pods whose egress is isolated and which may not ask for names: nothing that they do by name works. */
function forgottenDns(snapshot: ClusterSnapshot, pods: readonly Pod[]): PolicyFinding[] {
  const index = indexPolicies(snapshot);
  const found = new Map<string, { policy: Policy; pods: string[] }>();
  for (const pod of pods) {
    const policies = index.selecting(snapshot, pod).filter((policy) => !policy.staged && policy.isolates.includes("egress"));
    const [first] = policies;
    // A pod that may go nowhere at all is meant so.
    if (!first || policies.every((policy) => policy.egress.length === 0)) continue;
    if (policies.some((policy) => policy.egress.some((rule) => rule.action === "allow" && allowsDns(rule.traffic)))) continue;
    const entry = found.get(nameOf(first.owner)) ?? { policy: first, pods: [] };
    entry.pods.push(pod.metadata.name);
    found.set(nameOf(first.owner), entry);
  }
  return [...found.values()].map(({ policy, pods: names }) => ({
    severity: "warning",
    code: "dns-forgotten",
    policy: policy.owner,
    path: "spec.egress",
    says: `${names.length === 1 ? names[0] : `${names.length} pods (${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""})`} may not ask the cluster's DNS: no egress rule lets UDP 53 out`,
    remedy: "allow UDP and TCP 53 to namespace kube-system, pods k8s-app=kube-dns",
  }));
}

function allowsDns(traffic: Rule["traffic"]): boolean {
  if (traffic === "any") return true;
  const allows = (port: PortMatch) => ("name" in port ? port.name.startsWith("dns") : port.from <= DNS_PORT && DNS_PORT <= port.to);
  return traffic.some(
    ({ protocol, notProtocol, ports }) => (protocol ?? UDP) === UDP && notProtocol !== UDP && (!ports || ports.some(allows)),
  );
}

/** Whether everything that `rule` matches is matched by `other` before. Says no where it can't tell. */
function covers(other: Rule, rule: Rule, direction: Direction): boolean {
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

/** What a selection that matches nothing may have been meant for. */
function nearest(snapshot: ClusterSnapshot, selection: Selection, pods: readonly Pod[]): string {
  const within = pods.filter((pod) => selection.namespace === undefined || pod.metadata.namespace === selection.namespace);
  if (selection.namespace !== undefined && within.length === 0) return `there are no pods in namespace ${selection.namespace}`;
  if (selection.namespaceSelector !== undefined) {
    const { namespaceSelector } = selection;
    const everyPod: Selection = { namespaceSelector, labels: ALL_LABELS };
    if (!pods.some((pod) => selects(snapshot, everyPod, pod))) {
      const labels = [...snapshot.namespaces.values()].map(({ metadata }) => `${metadata.name}: ${show(metadata.labels)}`);
      return `no namespace with pods has these labels; there are ${labels.slice(0, 6).join("; ")}`;
    }
  }
  const labels = [...new Set(within.map((pod) => show(pod.metadata.labels)))].slice(0, 6);
  return labels.length > 0 ? `pods there have ${labels.join("; ")}` : "there are no pods";
}

function show(labels: Readonly<Record<string, string>> | undefined): string {
  const entries = Object.entries(labels ?? {}).filter(
    ([key]) => !/^(pod-template-hash|controller-revision-hash|kubernetes\.io\/metadata\.name)$/.test(key),
  );
  return entries.length > 0 ? entries.map(([key, value]) => `${key}=${value}`).join(",") : "no labels";
}
