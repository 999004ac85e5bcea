// The iptables writer: kube-proxy's chains, so that `iptables -t nat -L KUBE-SERVICES` shows what people know.
//
//   nat     PREROUTING, OUTPUT ─▶ KUBE-SERVICES ─┬▶ KUBE-SVC-… (all end points) or KUBE-SVL-… (the node's own) ─▶ KUBE-SEP-… DNAT
//                                                ├▶ KUBE-EXT-… or KUBE-FW-… ─▶ KUBE-SVC-…, KUBE-SVL-…
//                                                └▶ (local) KUBE-NODEPORTS ─▶ KUBE-EXT-…
//           POSTROUTING ─▶ KUBE-POSTROUTING: what is marked 0x4000 is masqueraded
//   filter  INPUT, FORWARD, OUTPUT ─▶ KUBE-PROXY-FIREWALL, KUBE-SERVICES, KUBE-EXTERNAL-SERVICES: who gets no answer
//
// A packet tries one rule per Service: the cost of a connection grows with their number, as the guide says. The refusals
// of the nft table hold beside these chains: they know a Service's ports, so that its other ports are refused.
import type { Family } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import { deriveIptables, type IptablesChain, type IptablesOwnership, type IptablesTable } from "../kernel/index.ts";
import type { ServiceEntry } from "./entry.ts";
import { healthChecks } from "./health.ts";
import { changesOf } from "./iptables-changes.ts";
import { commentOf, iptablesRules, MANY_ENDPOINTS, OUTSIDERS, type RuleOptions, type SharedChain, toNode } from "./iptables-rules.ts";
import { FAMILIES } from "./matches.ts";
import type { ModePlan } from "./mode.ts";
import { ownerOf, planServices } from "./nftables.ts";
import { type PodNetworks, podSources } from "./pod-sources.ts";
import { keepRefusals } from "./refusals.ts";
import { nodePortElements, serviceSettings } from "./settings.ts";
import { type ServiceTable, type Standpoint, serviceTable, standpointOf } from "./table.ts";

const CANARY = "KUBE-PROXY-CANARY";
const MARK = "-m comment --comment fairlead";
/** Kubelet's own. */
const NOT_OURS = new Set(["KUBE-KUBELET-CANARY", "KUBE-FIREWALL", "KUBE-MARK-DROP"]);

/** What of iptables is ours: kube-proxy's chains, where its canary carries our mark. */
export const SERVICE_CHAINS: IptablesOwnership = {
  chains: (name) => name.startsWith("KUBE-") && !NOT_OURS.has(name),
  mark: { chain: CANARY, rule: MARK },
};

/** What a node must hold in the iptables mode. Of a table that follows another, only what changed is written anew. */
export function planIptables(snapshot: ClusterSnapshot, node: string, podNetworks: PodNetworks): ModePlan {
  const plan = planServices(snapshot, node);
  const table = serviceTable(snapshot);
  const settings = serviceSettings(snapshot);
  const way: PlanWay = {
    standpoint: standpointOf(snapshot, node),
    networks: byFamily((family) => podSources(podNetworks[family], settings.podNetworks, family)),
    nodePorts: byFamily((family) => nodePortElements(settings, snapshot.nodes.get(node), family)),
    health: healthRules(snapshot, node),
    brief: table.endpoints > MANY_ENDPOINTS,
  };
  const byPlace = plans.get(table) ?? new Map<string, readonly IptablesTable[]>();
  plans.set(table, byPlace);
  const place = JSON.stringify(way);
  let iptables = byPlace.get(place);
  if (!iptables) {
    iptables = nextTables(table, place, way) ?? allTables(table, way);
    byPlace.set(place, iptables);
  }
  return { table: keepRefusals(plan.table), state: { iptables }, remarks: plan.remarks };
}

const plans = new WeakMap<ServiceTable, Map<string, readonly IptablesTable[]>>();

/** What a plan depends on beside the table. */
interface PlanWay {
  readonly standpoint: Standpoint;
  readonly networks: Readonly<Record<Family, readonly string[]>>;
  readonly nodePorts: Readonly<Record<Family, readonly string[]>>;
  readonly health: readonly string[];
  /** See RuleOptions. */
  readonly brief: boolean;
}

function byFamily<T>(of: (family: Family) => T): Readonly<Record<Family, T>> {
  return { 4: of(4), 6: of(6) };
}

function allTables(table: ServiceTable, way: PlanWay): readonly IptablesTable[] {
  return FAMILIES.flatMap((family) => tablesOf(table, way, family));
}

function tablesOf(
  table: ServiceTable,
  { standpoint, networks, nodePorts, health, brief }: PlanWay,
  family: Family,
): readonly IptablesTable[] {
  const shared = new Shared(table, standpoint, { networks: networks[family], brief }, family);
  return [natTable(family, shared, { networks: networks[family], nodePorts: nodePorts[family] }), filterTable(family, shared, health)];
}

/** The tables made from those of the table before; undefined where that would cost as much as making them anew. */
function nextTables(table: ServiceTable, place: string, way: PlanWay): readonly IptablesTable[] | undefined {
  const { origin } = table;
  const before = origin && plans.get(origin.table)?.get(place);
  if (!origin || !before) return undefined;
  const next: IptablesTable[] = [];
  for (const family of FAMILIES) {
    const options = { networks: way.networks[family], brief: way.brief };
    const changes = changesOf(table, origin, { standpoint: way.standpoint, options, family });
    if (!changes) return undefined;
    let made: readonly IptablesTable[] | undefined;
    for (const [at, name] of (["nat", "filter"] as const).entries()) {
      const old = before.find((each) => each.family === family && each.name === name);
      if (!old) return undefined;
      const list = () => {
        made ??= tablesOf(table, way, family);
        return made[at]?.chains ?? [];
      };
      next.push(changes[name] ? deriveIptables(old, list, changes[name]) : old);
    }
  }
  return next;
}

/** The shared chains' rules, and every entry's own chains. */
class Shared {
  readonly chains: IptablesChain[] = [];
  readonly #rules = new Map<SharedChain, string[]>();

  constructor(table: ServiceTable, standpoint: Standpoint, options: RuleOptions, family: Family) {
    const names = new Set<string>();
    for (const entry of table.entries) if (entry.family === family) this.#take(table, entry, standpoint, options, names);
  }

  #take(table: ServiceTable, entry: ServiceEntry, standpoint: Standpoint, options: RuleOptions, names: Set<string>): void {
    const { groups, chains } = iptablesRules(entry, standpoint, options);
    for (const { at, rules } of groups) {
      if (ownerOf(table, entry, at) !== entry) continue;
      for (const [chain, rule] of rules) {
        const list = this.#rules.get(chain);
        if (list) list.push(rule);
        else this.#rules.set(chain, [rule]);
      }
    }
    for (const chain of chains) {
      // Of two ports that bear the same name, the first has it.
      if (names.has(chain.name)) continue;
      names.add(chain.name);
      this.chains.push(chain);
    }
  }

  rules(chain: SharedChain): readonly string[] {
    return this.#rules.get(chain) ?? [];
  }
}

function natTable(
  family: Family,
  shared: Shared,
  { networks, nodePorts }: { readonly networks: readonly string[]; readonly nodePorts: readonly string[] },
): IptablesTable {
  const note = commentOf("kubernetes service nodeports; NOTE: this must be the last rule in this chain");
  const toPorts = toNode(family, nodePorts).map(({ before, after }) => `${before} ${note} ${after} -j KUBE-NODEPORTS`);
  const portals = `${commentOf("kubernetes service portals")} -j KUBE-SERVICES`;
  return {
    family,
    name: "nat",
    chains: [
      { name: CANARY, rules: [MARK] },
      { name: "KUBE-MARK-MASQ", rules: ["-j MARK --set-xmark 0x4000/0x4000"] },
      ...(networks.length > 1
        ? [{ name: OUTSIDERS, rules: [...networks.map((network) => `-s ${network} -j RETURN`), "-j KUBE-MARK-MASQ"] }]
        : []),
      ...shared.chains,
      { name: "KUBE-NODEPORTS", rules: shared.rules("nat KUBE-NODEPORTS") },
      { name: "KUBE-SERVICES", rules: [...shared.rules("nat KUBE-SERVICES"), ...toPorts], loose: true },
      {
        name: "KUBE-POSTROUTING",
        rules: [
          "-m mark ! --mark 0x4000/0x4000 -j RETURN",
          "-j MARK --set-xmark 0x4000/0x0",
          `${commentOf("kubernetes service traffic requiring SNAT")} -j MASQUERADE --random-fully`,
        ],
      },
      { name: "PREROUTING", rules: [portals] },
      { name: "OUTPUT", rules: [portals] },
      { name: "POSTROUTING", rules: [`${commentOf("kubernetes postrouting rules")} -j KUBE-POSTROUTING`] },
    ],
  };
}

function filterTable(family: Family, shared: Shared, health: readonly string[]): IptablesTable {
  const fresh = (says: string, chain: string) => `-m conntrack --ctstate NEW ${commentOf(says)} -j ${chain}`;
  const firewall = fresh("kubernetes load balancer firewall", "KUBE-PROXY-FIREWALL");
  const portals = fresh("kubernetes service portals", "KUBE-SERVICES");
  const external = fresh("kubernetes externally-visible service portals", "KUBE-EXTERNAL-SERVICES");
  return {
    family,
    name: "filter",
    chains: [
      { name: CANARY, rules: [MARK] },
      { name: "KUBE-SERVICES", rules: shared.rules("filter KUBE-SERVICES") },
      { name: "KUBE-EXTERNAL-SERVICES", rules: shared.rules("filter KUBE-EXTERNAL-SERVICES") },
      { name: "KUBE-PROXY-FIREWALL", rules: shared.rules("filter KUBE-PROXY-FIREWALL") },
      { name: "KUBE-NODEPORTS", rules: health },
      {
        name: "KUBE-FORWARD",
        rules: [
          "-m conntrack --ctstate INVALID -j DROP",
          `${commentOf("kubernetes forwarding rules")} -m mark --mark 0x4000/0x4000 -j ACCEPT`,
          `${commentOf("kubernetes forwarding conntrack rule")} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
        ],
      },
      { name: "INPUT", rules: [firewall, `${commentOf("kubernetes health check service ports")} -j KUBE-NODEPORTS`, external] },
      { name: "FORWARD", rules: [firewall, `${commentOf("kubernetes forwarding rules")} -j KUBE-FORWARD`, portals, external] },
      { name: "OUTPUT", rules: [firewall, portals] },
    ],
  };
}

function healthRules(snapshot: ClusterSnapshot, node: string): string[] {
  return healthChecks(snapshot, node).map(
    ({ namespace, name, port }) => `-p tcp ${commentOf(`${namespace}/${name} health check node port`)} -m tcp --dport ${port} -j ACCEPT`,
  );
}
