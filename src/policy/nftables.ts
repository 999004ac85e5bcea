// The nftables writer: what one node's table holds so that policies are in force for the pods on it.
//
//   filter-forward ─▶ policy-forward: replies, neighbour discovery and a pod's way to itself return
//                       saddr vmap @pod-egressN  ─▶ egress-HASH  ─▶ allowed: return, else policy-denied
//                       daddr vmap @pod-ingressN ─▶ ingress-HASH ─▶ allowed: return, else policy-denied
//                       policy-settled (version.ts)
//   filter-input   ─▶ policy-input: the same for what pods send to the node itself (egress only)
//
// A chain stands for a distinct set of policies, whichever pods share it, so that a new pod is new elements and no new
// chain. What the node itself sends to its pods is always allowed: in filter-output stands midstream.ts alone.
import { type Family, familyOf, formatAddress, tryParseAddress } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { NftChain, NftElement, NftMatch, NftRule, NftSet, NftType, Owner, TableContribution } from "../kernel/index.ts";
import type { Pod } from "../resources/index.ts";
import { condense } from "./condense.ts";
import { planDscp } from "./dscp.ts";
import { endPoints } from "./end-points.ts";
import { podAddresses } from "./ends.ts";
import { planHosts } from "./host-chains.ts";
import { hostSubjects, type Interfaces } from "./hosts.ts";
import { MIDSTREAM, planMidstream } from "./midstream.ts";
import { namePatterns, namePods, planNameWatch } from "./name-watch.ts";
import { NO_NAMES } from "./names.ts";
import { PeerSets } from "./peer-sets.ts";
import { policyChains } from "./policy-chains.ts";
import { compareText, indexPolicies } from "./policy-index.ts";
import type { Direction, NameBook } from "./rules.ts";
import { DENY, planVersion, SETTLE } from "./version.ts";

/** A pod that is wired on the node, as the CNI's records tell: perhaps before the API knows its address, or the pod. */
export interface LocalPod {
  readonly podNamespace: string;
  readonly podName: string;
  /** With or without a prefix length. */
  readonly addresses: readonly string[];
  /** MAC of the pod's interface; if every local pod has one, forged source addresses are dropped. */
  readonly mac?: string;
}

export interface PolicyPlan {
  readonly table: TableContribution;
  /** Patterns of the DNS names that local pods' policies speak of. */
  readonly namePatterns: readonly string[];
  readonly remarks: readonly string[];
}

/** A local pod's address. `pod` is absent where the snapshot does not hold the pod. */
interface LocalAddress {
  readonly address: string;
  readonly family: Family;
  readonly namespace: string;
  readonly name: string;
  readonly pod: Pod | undefined;
  readonly mac: string | undefined;
}

const ESTABLISHED: NftRule = {
  matches: [{ left: "ct state", op: "==", right: ["established", "related"] }],
  statements: [{ verdict: "return" }],
};
const DISCOVERY: NftRule = {
  matches: [
    { left: "icmpv6 type", op: "==", right: ["nd-router-solicit", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert"] },
  ],
  statements: [{ verdict: "return" }],
};
const UNKNOWN_POD = "policy-unknown-pod";
const DIRECTIONS: readonly Direction[] = ["egress", "ingress"];

export interface PolicyOptions {
  /** Name of the bridge of the local pods, for forged sources. */
  readonly bridge?: string;
  /** The node's interfaces, for host end points that are named by their addresses. */
  readonly interfaces?: Interfaces;
  /** Addresses of DNS names, as the node's pods were answered. */
  readonly names?: NameBook;
}

/**
 * What the node's table must hold for policies.
 * A wired pod that the snapshot does not hold is denied everything while any policy could select it.
 */
export function planPolicy(
  snapshot: ClusterSnapshot,
  node: string,
  attachments: readonly LocalPod[],
  options: PolicyOptions = {},
): PolicyPlan {
  const { bridge = "cni0", names = NO_NAMES, interfaces = [] } = options;
  const index = indexPolicies(snapshot);
  const remarks = [...index.remarks, ...endPoints(snapshot).remarks];
  const locals = localAddresses(snapshot, node, attachments);
  const hosts = hostSubjects(snapshot, node, interfaces);
  const families = ([4, 6] as const).filter((family) => hosts.length > 0 || locals.some((local) => local.family === family));
  const sets = new PeerSets(snapshot, families, { node, pods: locals, names });
  const chains = new Map<string, NftChain>();
  const elements = new Map<string, NftElement[]>();
  const add = (set: string, element: NftElement) => {
    const list = elements.get(set);
    if (list) list.push(element);
    else elements.set(set, [element]);
  };

  const patterns = new Set<string>();
  let unknown = false;
  for (const local of locals) {
    const owner: Owner = { kind: "Pod", namespace: local.namespace, name: local.name };
    add(`pod-self${local.family}`, { key: [local.address, local.address], owner });
    if (local.mac !== undefined) add(`pod-sources${local.family}`, { key: [local.mac, local.address], owner });
    if (!local.pod) {
      if (index.ofNamespace(local.namespace).length === 0 && snapshot.namespaces.get(local.namespace)) continue;
      unknown = true;
      for (const direction of DIRECTIONS) {
        add(`pod-${direction}${local.family}`, { key: [local.address], value: { verdict: "jump", chain: UNKNOWN_POD }, owner });
      }
      continue;
    }
    const policies = index.selecting(snapshot, local.pod);
    const names = namePatterns(policies);
    for (const pattern of names) patterns.add(pattern);
    if (names.length > 0) add(namePods(local.family), { key: [local.address], owner });
    for (const direction of DIRECTIONS) {
      const made = policyChains(policies, { direction, sets, tier: index.tier });
      if (!made) continue;
      for (const chain of made.chains) if (!chains.has(chain.name)) chains.set(chain.name, chain);
      add(`pod-${direction}${local.family}`, { key: [local.address], value: { verdict: "jump", chain: made.entry }, owner });
    }
  }
  if (unknown) {
    const owner: Owner = { kind: "Fairlead", name: UNKNOWN_POD };
    chains.set(UNKNOWN_POD, { name: UNKNOWN_POD, rules: [{ matches: [], statements: [DENY], owner }] });
  }
  const host = planHosts(hosts, { snapshot, sets, bridge, tier: index.tier });
  const dscp = planDscp(snapshot, locals, remarks);
  if (families.length === 0) return { table: { chains: [], sets: [], hooks: [] }, namePatterns: [], remarks };

  const watch = planNameWatch({ 4: elements.get(namePods(4)) ?? [], 6: elements.get(namePods(6)) ?? [] });
  const guarded = locals.length > 0 && locals.every((local) => local.mac !== undefined);
  const midstream = planMidstream(families, { 4: selectedOf(4, elements), 6: selectedOf(6, elements) });
  const maps = [...families.flatMap((family) => mapsOf(family, elements, guarded)), ...midstream.sets];
  const self = families.map((family) => selfRule(family));
  const forged = guarded ? families.map((family) => forgedRule(family, bridge)) : [];
  const egress = families.map((family) => mapRule(family, "egress"));
  const ingress = families.map((family) => mapRule(family, "ingress"));
  const entry: NftChain[] = [
    { name: "policy-forward", rules: [ESTABLISHED, DISCOVERY, ...forged, MIDSTREAM, ...self, ...egress, ...ingress, SETTLE] },
    { name: "policy-input", rules: [ESTABLISHED, DISCOVERY, ...forged, MIDSTREAM, ...egress, SETTLE] },
    midstream.chain,
  ];
  const hook = (chain: string): NftRule[] => [{ matches: [], statements: [{ verdict: "jump", chain }] }];
  for (const chain of host.chains) chains.set(chain.name, chain);
  const written = [...chains.values()].sort((a, b) => compareText(a.name, b.name));
  const looked = sets.build();
  const condensed = condense(written, looked);
  const hooks: TableContribution["hooks"] = [
    ...host.hooks,
    { chain: "filter-forward", order: 50, rules: hook("policy-forward") },
    { chain: "filter-input", order: 50, rules: hook("policy-input") },
  ];
  const version = planVersion([...written, ...entry], [...maps, ...looked], hooks);
  return {
    table: {
      chains: [...condensed.chains, ...entry, ...version.chains, ...dscp.chains],
      sets: [...maps, ...condensed.sets, ...version.sets, ...dscp.sets, ...watch.sets],
      hooks: [...dscp.hooks, ...watch.hooks, ...hooks, ...version.hooks, { chain: "filter-output", order: 50, rules: [MIDSTREAM] }],
    },
    namePatterns: [...patterns].sort(),
    remarks,
  };
}

function localAddresses(snapshot: ClusterSnapshot, node: string, attachments: readonly LocalPod[]): LocalAddress[] {
  const found = new Map<string, LocalAddress>();
  const add = (text: string, local: Omit<LocalAddress, "address" | "family">) => {
    const parsed = tryParseAddress(text.split("/")[0] ?? "");
    if (!parsed) return;
    const address = formatAddress(parsed);
    if (!found.has(address)) found.set(address, { ...local, address, family: familyOf(address) });
  };
  const wired = new Set<string>();
  for (const { podNamespace, podName, addresses, mac } of attachments) {
    const pod = snapshot.pods.get(`${podNamespace}/${podName}`);
    if (pod?.spec.hostNetwork) continue;
    wired.add(`${podNamespace}/${podName}`);
    for (const address of addresses) add(address, { namespace: podNamespace, name: podName, pod, mac });
  }
  for (const pod of snapshot.pods.onNode(node)) {
    const namespace = pod.metadata.namespace ?? "default";
    if (pod.spec.hostNetwork || wired.has(`${namespace}/${pod.metadata.name}`)) continue;
    for (const address of podAddresses(pod)) add(address, { namespace, name: pod.metadata.name, pod, mac: undefined });
  }
  return [...found.values()].sort((a, b) => compareText(a.address, b.address));
}

function mapsOf(family: Family, elements: ReadonlyMap<string, readonly NftElement[]>, guarded: boolean): NftSet[] {
  const type: NftType = family === 4 ? "ipv4_addr" : "ipv6_addr";
  const set = (name: string, key: readonly NftType[]): NftSet => ({
    name: `${name}${family}`,
    key,
    elements: elements.get(`${name}${family}`) ?? [],
  });
  return [
    { ...set("pod-egress", [type]), value: ["verdict"] },
    { ...set("pod-ingress", [type]), value: ["verdict"] },
    set("pod-self", [type, type]),
    ...(guarded ? [set("pod-sources", ["ether_addr", type])] : []),
  ];
}

/** Each address that policies select, once: a pod is its own whatever the direction. */
function selectedOf(family: Family, elements: ReadonlyMap<string, readonly NftElement[]>): readonly NftElement[] {
  const selected = DIRECTIONS.flatMap((direction) => elements.get(`pod-${direction}${family}`) ?? []);
  const unique = new Map(selected.map(({ key, owner }) => [key[0], { key, ...(owner ? { owner } : {}) }]));
  return [...unique.values()];
}

function mapRule(family: Family, direction: Direction): NftRule {
  return {
    matches: [],
    statements: [{ vmap: { key: [field(family, direction === "egress" ? "saddr" : "daddr")], map: `pod-${direction}${family}` } }],
  };
}

/** A pod that reaches itself through a Service comes back to its own address. */
function selfRule(family: Family): NftRule {
  return {
    matches: [{ left: [field(family, "saddr"), field(family, "daddr")], op: "==", right: { set: `pod-self${family}` } }],
    statements: [{ verdict: "return" }],
  };
}

/** With br_netfilter the incoming device of bridged frames is the bridge, so the pod is told by its MAC. Link-local IPv6 passes. */
function forgedRule(family: Family, bridge: string): NftRule {
  const matches: NftMatch[] = [{ left: "meta iifname", op: "==", right: bridge }];
  if (family === 6) matches.push({ left: "ip6 saddr", op: "!=", right: "fe80::/10" });
  matches.push({ left: ["ether saddr", field(family, "saddr")], op: "!=", right: { set: `pod-sources${family}` } });
  return { matches, statements: [{ verdict: "drop" }], owner: { kind: "Fairlead", name: "forged-source" } };
}

function field(family: Family, which: "saddr" | "daddr"): "ip saddr" | "ip daddr" | "ip6 saddr" | "ip6 daddr" {
  return family === 4 ? `ip ${which}` : `ip6 ${which}`;
}
