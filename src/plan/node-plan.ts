// planNode: one node's plan, composed of what the data path, Services and policy say.

import { familyOf } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import { planPodNetwork } from "../datapath/overlay/index.ts";
import { planRoutedPod, type RoutedPod } from "../datapath/routed/index.ts";
import {
  type BaseChainName,
  type KernelState,
  type LinkAddress,
  mergeStates,
  type NftChain,
  type NftElement,
  type NftHook,
  type NftMatch,
  type NftRule,
  type NftTable,
  ROUTE_PROTOCOL,
  type TableContribution,
} from "../kernel/index.ts";
import { nameBook, planPolicy } from "../policy/index.ts";
import { electAnnouncer, IPVS_INPUT, planServiceMode } from "../services/index.ts";
import { planOverlayPath, planRoutedPath } from "./path.ts";
import type { NodeFacts, NodePlan, PodAttachment } from "./plan.ts";
import { nodeSettings } from "./settings.ts";

/** The one nft table that is ours. */
export const TABLE = { family: "inet", name: "fairlead" } as const;

const BASE_CHAINS: Readonly<Record<BaseChainName, NftHook>> = {
  "prerouting-nat": { type: "nat", hook: "prerouting", priority: -100, policy: "accept" },
  "output-nat": { type: "nat", hook: "output", priority: -100, policy: "accept" },
  "prerouting-nat-again": { type: "nat", hook: "prerouting", priority: -99, policy: "accept" },
  "output-nat-again": { type: "nat", hook: "output", priority: -99, policy: "accept" },
  "postrouting-nat": { type: "nat", hook: "postrouting", priority: 100, policy: "accept" },
  "filter-input": { type: "filter", hook: "input", priority: 0, policy: "accept" },
  "filter-forward": { type: "filter", hook: "forward", priority: 0, policy: "accept" },
  "filter-output": { type: "filter", hook: "output", priority: 0, policy: "accept" },
  "filter-input-again": { type: "filter", hook: "input", priority: 1, policy: "accept" },
  "filter-forward-again": { type: "filter", hook: "forward", priority: 1, policy: "accept" },
  "filter-output-again": { type: "filter", hook: "output", priority: 1, policy: "accept" },
  "postrouting-mangle": { type: "filter", hook: "postrouting", priority: -150, policy: "accept" },
  "prerouting-raw": { type: "filter", hook: "prerouting", priority: -300, policy: "accept" },
  "output-raw": { type: "filter", hook: "output", priority: -300, policy: "accept" },
  "prerouting-mangle": { type: "filter", hook: "prerouting", priority: -150, policy: "accept" },
};

/** A hook costs each packet something: these are there only where a rule is. */
const OPTIONAL_CHAINS: readonly BaseChainName[] = [
  "prerouting-nat-again",
  "output-nat-again",
  "filter-input-again",
  "filter-forward-again",
  "filter-output-again",
  "postrouting-mangle",
  "prerouting-raw",
  "output-raw",
  "prerouting-mangle",
];

/** What a node must hold. Pure: the same snapshot and facts give the same plan. */
export function planNode(snapshot: ClusterSnapshot, facts: NodeFacts): NodePlan {
  const settings = nodeSettings(snapshot, facts.node, facts);
  const network = facts.network ?? settings.network;
  const path = network === "routed" ? planRoutedPath(snapshot, facts, settings.fastPath) : planOverlayPath(snapshot, facts);
  // A container that no Kubernetes pod stands behind is wired, and subject to no policy.
  const pods = facts.attachments.filter((attachment) => attachment.podName !== "");
  const policy = planPolicy(snapshot, facts.node, pods, {
    interfaces: [facts.underlay],
    ...(facts.dnsAnswers ? { names: nameBook(facts.dnsAnswers) } : {}),
  });
  const services = planServiceMode(snapshot, facts.node, {
    mode: settings.services,
    own: [...underlayAddresses(facts), ...(path.state.addresses ?? []).map(({ address }) => plain(address))],
    podNetworks: { 4: elementsOf(path.table, "pod-networks4"), 6: elementsOf(path.table, "pod-networks6") },
  });
  const table = composeTable([
    path.table,
    services.table,
    policy.table,
    ...(settings.services === "ipvs" ? [besideIpvs(policy.table)] : []),
  ]);
  const { underlay, lost = NOBODY } = facts;
  const announcement = electAnnouncer(snapshot, { node: facts.node, prefixes: underlay.addresses, lost });
  return {
    node: facts.node,
    revision: snapshot.revision,
    kernel: mergeStates(path.state, services.state, {
      tables: [table],
      addresses: announcement.own.map((address) => wandering(address, underlay.link)),
    }),
    pods: planPods(facts.attachments, network === "routed" ? planRoutedPod : planPodNetwork, {
      mtu: path.podMtu,
      gsoIpv4MaxSize: path.podGsoIpv4MaxSize,
    }),
    annotations: path.annotations,
    podMtu: path.podMtu,
    ...(path.routed ? { routed: path.routed } : {}),
    ...(path.follows ? { follows: path.follows } : {}),
    announcement,
    namePatterns: policy.namePatterns,
    settings,
    remarks: [...settings.remarks, ...path.remarks, ...services.remarks, ...policy.remarks],
  };
}

const NOBODY: ReadonlySet<string> = new Set();

/** A load balancer's address on the outer link, so that the kernel answers ARP and neighbour solicitations for it. */
function wandering(address: string, link: string): LinkAddress {
  const length = familyOf(address) === 4 ? 32 : 128;
  return { link, address: `${address}/${length}`, nodad: true, deprecated: true, protocol: ROUTE_PROTOCOL.fairlead };
}

const plain = (address: string) => address.replace(/\/.*/, "");

function underlayAddresses({ underlay }: NodeFacts): string[] {
  return underlay.addresses.map(plain);
}

/**
 * What IPVS forwards passes the hooks of what the node itself receives and sends, never the forward hook: policies are
 * asked as it leaves, when its end point is known. Forged sources are told by the device that a packet came in by.
 */
function besideIpvs(policy: TableContribution): TableContribution {
  const forged = policy.chains.find(({ name }) => name === "policy-input")?.rules.filter(({ owner }) => owner?.name === "forged-source");
  const passing: NftRule = { matches: [], statements: [{ verdict: "accept" }] };
  const foreign: NftMatch = { left: "fib saddr type", op: "!=", right: "local" };
  return {
    chains: [{ name: IPVS_INPUT, rules: [...(forged ?? []), passing] }],
    sets: [],
    hooks: policy.hooks.flatMap(({ chain, order, rules }) => {
      const beside = BESIDE_FORWARD[chain];
      return beside ? [{ chain: beside, order, rules: rules.map((rule) => ({ ...rule, matches: [foreign, ...rule.matches] })) }] : [];
    }),
  };
}

const BESIDE_FORWARD: Readonly<Partial<Record<BaseChainName, BaseChainName>>> = {
  "filter-forward": "filter-output",
  "filter-forward-again": "filter-output-again",
};

function elementsOf(table: TableContribution, name: string): readonly NftElement[] {
  return table.sets.find((set) => set.name === name)?.elements ?? [];
}

/** One state for each container, of all its interfaces. */
function planPods(
  attachments: readonly PodAttachment[],
  plan: (pod: RoutedPod) => KernelState,
  sizes: Pick<RoutedPod, "mtu" | "gsoIpv4MaxSize">,
): Map<string, KernelState> {
  const pods = new Map<string, KernelState>();
  for (const { containerId, interface: name, addresses, mac } of attachments) {
    const state = plan({ interface: name, addresses, mac, ...sizes });
    const first = pods.get(containerId);
    // One way out is enough: the routes are those of the interface that was made first.
    pods.set(containerId, first ? mergeStates(first, { ...state, routes: [] }) : state);
  }
  return pods;
}

/** Joins what the rooms add into one table: base chains' rules in order, everything else beside. */
export function composeTable(contributions: readonly TableContribution[]): NftTable {
  const hooks = contributions.flatMap((part) => part.hooks).sort((a, b) => a.order - b.order);
  const base = (Object.keys(BASE_CHAINS) as BaseChainName[]).flatMap((name) => {
    const rules = hooks.filter((hook) => hook.chain === name).map((hook) => hook.rules);
    return rules.length === 0 && OPTIONAL_CHAINS.includes(name) ? [] : [baseChain(name, rules)];
  });
  return { ...TABLE, chains: [...base, ...contributions.flatMap((part) => part.chains)], sets: contributions.flatMap((part) => part.sets) };
}

/** The last chain that began with this part: joined from the same parts it is the same object, which the kernel's diff need not look at. */
const lastChains = new WeakMap<readonly NftRule[], { readonly parts: readonly (readonly NftRule[])[]; readonly chain: NftChain }>();

function baseChain(name: BaseChainName, parts: readonly (readonly NftRule[])[]): NftChain {
  const [first] = parts;
  const last = first && lastChains.get(first);
  if (last?.chain.name === name && last.parts.length === parts.length && last.parts.every((part, index) => part === parts[index]))
    return last.chain;
  const chain: NftChain = { name, hook: BASE_CHAINS[name], rules: parts.flat() };
  if (first) lastChains.set(first, { parts, chain });
  return chain;
}
