// The IPVS writer: a virtual service for every address and port, found by the kernel in a hash table.
//
//   packet ─▶ prerouting: nft marks who is masqueraded ─▶ kube-ipvs0 has the address, so the packet is for the node
//          ─▶ input: refusals ─▶ IPVS chooses an end point ─▶ output: policies ─▶ postrouting: masquerade
//
// Which end point: round robin, or as the Service's annotation fairlead.dev/ipvs-scheduler says (or, for all, the key
// ipvsScheduler of the ConfigMap kube-system/fairlead). Weights: the pod's annotation fairlead.dev/ipvs-weight.
import { type Family, familyOf, parseAddress, parsePrefix, prefixContains } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { IpvsOwnership, IpvsService, KernelState, LinkAddress, NftElement, NftSet } from "../kernel/index.ts";
import type { ServiceEntry } from "./entry.ts";
import { healthChecks } from "./health.ts";
import { IPVS_ADDRESSES, ipvsBalancing } from "./ipvs-marks.ts";
import { ipvsServices, SCHEDULERS, type Scheduler } from "./ipvs-services.ts";
import { SetBuilder } from "./ipvs-sets.ts";
import type { ModePlan } from "./mode.ts";
import { filled, ownerOf, planServices, toNode } from "./nftables.ts";
import { nodePortElements, serviceSettings } from "./settings.ts";
import { serviceTable, standpointOf } from "./table.ts";

const DEVICE = "kube-ipvs0";
const SCHEDULER = "fairlead.dev/ipvs-scheduler";
const WEIGHT = "fairlead.dev/ipvs-weight";
/** As much as IPVS takes of a weight is more; this is what other balancers take. */
const MOST_WEIGHT = 65_535;
const CONFIG = "kube-system/fairlead";

/** What of IPVS is ours: all of it, where the device of kube-proxy's name bears our alias. */
export const SERVICE_BALANCER: IpvsOwnership = { device: DEVICE, alias: "fairlead", sets: (name) => name.startsWith("KUBE-") };

/**
 * conntrack: what IPVS translates can be masqueraded. conn_reuse_mode: a port that a client uses again goes to the same end
 * point without a second's delay. expire_…: what belongs to an end point that is gone is sent elsewhere. arp_…: a node
 * answers for a Service's address only if it stands on the link that was asked.
 */
const SYSCTLS: KernelState["sysctls"] = {
  "net.ipv4.vs.conntrack": "1",
  "net.ipv4.vs.conn_reuse_mode": "0",
  "net.ipv4.vs.expire_nodest_conn": "1",
  "net.ipv4.vs.expire_quiescent_template": "1",
  "net.ipv4.conf.all.arp_ignore": "1",
  "net.ipv4.conf.all.arp_announce": "2",
};

const balancing = ipvsBalancing(toNode);
const addresses = new Map<string, LinkAddress>();

/** What a node must hold in the IPVS mode. `own`: the node's own addresses, without lengths. */
export function planIpvs(snapshot: ClusterSnapshot, node: string, own: readonly string[]): ModePlan {
  const plan = planServices(snapshot, node, balancing);
  const table = serviceTable(snapshot);
  const standpoint = standpointOf(snapshot, node);
  const remarks: string[] = [];
  const schedule = new Schedule(snapshot, remarks);
  const nodeAddresses = { 4: nodePortAddresses(snapshot, node, own, 4), 6: nodePortAddresses(snapshot, node, own, 6) };
  const services: IpvsService[] = [];
  const virtual = new Set<string>();
  const clusterIPs = new Set<string>();
  const sets = new SetBuilder();
  for (const entry of table.entries) {
    sets.loopBack(entry, standpoint);
    const options = { ...schedule.of(entry), nodeAddresses: nodeAddresses[entry.family] };
    for (const { at, services: made } of ipvsServices(entry, standpoint, options).groups) {
      if (ownerOf(table, entry, at) !== entry) continue;
      services.push(...made);
      if (at !== "node") virtual.add(at);
      if (at === entry.clusterIP) clusterIPs.add(at);
      sets.take(entry, at, options.nodeAddresses);
    }
  }
  for (const { port } of healthChecks(snapshot, node)) sets.healthPort(port);
  // An address that the node has anyway needs no second home.
  const missing = [...virtual].filter((address) => !own.includes(address));
  const external = missing.filter((address) => !clusterIPs.has(address));
  return {
    table: {
      ...plan.table,
      sets: plan.table.sets.map((set) => (set.name.startsWith(IPVS_ADDRESSES) ? withAddresses(set, external) : set)),
    },
    state: {
      sysctls: SYSCTLS,
      links: [{ name: DEVICE, kind: { type: "other", name: "dummy" }, ifalias: SERVICE_BALANCER.alias, up: true }],
      addresses: missing.map(virtualAddress),
      ipsets: sets.build(),
      ipvs: services,
    },
    remarks: [...plan.remarks, ...remarks],
  };
}

const elements = new Map<string, NftElement>();

/** The set of a family with the addresses that are of it. */
function withAddresses(set: NftSet, all: readonly string[]): NftSet {
  const own = all.filter((address) => set.name === `${IPVS_ADDRESSES}${familyOf(address)}`);
  return filled(
    set,
    own.map((address) => {
      const element = elements.get(address) ?? { key: [address] };
      elements.set(address, element);
      return element;
    }),
  );
}

function virtualAddress(address: string): LinkAddress {
  let made = addresses.get(address);
  if (!made) {
    made = { link: DEVICE, address: `${address}/${familyOf(address) === 4 ? 32 : 128}`, nodad: true };
    addresses.set(address, made);
  }
  return made;
}

/** Those of the node's own addresses at which it serves node ports. */
function nodePortAddresses(snapshot: ClusterSnapshot, node: string, own: readonly string[], family: Family): string[] {
  const elements = nodePortElements(serviceSettings(snapshot), snapshot.nodes.get(node), family);
  const prefixes = elements.map((text) => parsePrefix(text.includes("/") ? text : `${text}/${family === 4 ? 32 : 128}`));
  return own.filter((text) => familyOf(text) === family && prefixes.some((prefix) => prefixContains(prefix, parseAddress(text))));
}

/** How each Service is scheduled. */
class Schedule {
  readonly #snapshot: ClusterSnapshot;
  readonly #remarks: string[];
  readonly #standard: Scheduler;
  readonly #known = new Map<string, { readonly scheduler: Scheduler; readonly weights: ReadonlyMap<string, number> }>();

  constructor(snapshot: ClusterSnapshot, remarks: string[]) {
    this.#snapshot = snapshot;
    this.#remarks = remarks;
    const said = snapshot.configMaps.get(CONFIG)?.data?.ipvsScheduler;
    this.#standard = this.#read(said, "rr", `ConfigMap ${CONFIG}, key ipvsScheduler`);
  }

  of(entry: ServiceEntry): { readonly scheduler: Scheduler; readonly weights: ReadonlyMap<string, number> } {
    const key = `${entry.namespace}/${entry.name}`;
    let known = this.#known.get(key);
    if (!known) {
      const said = this.#snapshot.services.get(key)?.metadata.annotations?.[SCHEDULER];
      const scheduler = this.#read(said, this.#standard, `Service ${key}, annotation ${SCHEDULER}`);
      known = { scheduler, weights: new Map() };
      this.#known.set(key, known);
    }
    // Round robin knows no weights, so most Services need not look at pods.
    return known.scheduler === "rr" ? known : { ...known, weights: this.#weights(entry) };
  }

  #read(said: string | undefined, standard: Scheduler, where: string): Scheduler {
    const text = said?.trim() ?? "";
    const found = SCHEDULERS.find((name) => name === text);
    if (found === undefined && text !== "")
      this.#remarks.push(`${where}: "${text}" is no scheduler of IPVS; ${standard} is used, of ${SCHEDULERS.join(", ")}`);
    return found ?? standard;
  }

  #weights(entry: ServiceEntry): Map<string, number> {
    const weights = new Map<string, number>();
    for (const { pod } of entry.endpoints) {
      const said = pod === undefined ? undefined : this.#snapshot.pods.get(pod)?.metadata.annotations?.[WEIGHT];
      if (pod === undefined || said === undefined) continue;
      if (/^\d+$/.test(said) && Number(said) <= MOST_WEIGHT) weights.set(pod, Number(said));
      else this.#remarks.push(`Pod ${pod}, annotation ${WEIGHT}: "${said}" is no number from 0 to ${MOST_WEIGHT}; it weighs 1`);
    }
    return weights;
  }
}
