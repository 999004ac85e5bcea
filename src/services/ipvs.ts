// The IPVS writer: a virtual service for every address and port, found by the kernel in a hash table.
//
//   packet ─▶ prerouting: nft marks who is masqueraded ─▶ a local route has the address, so the packet is for the node
//          ─▶ input: refusals ─▶ IPVS chooses an end point ─▶ output: policies ─▶ postrouting: masquerade
//
// Which end point: round robin, or as the Service's annotation fairlead.dev/ipvs-scheduler says (or, for all, the key
// ipvsScheduler of the ConfigMap kube-system/fairlead). Weights: the pod's annotation fairlead.dev/ipvs-weight.
import { type Family, familyOf, parseAddress, parsePrefix, prefixContains } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { IpvsOwnership, KernelState, NftSet } from "../kernel/index.ts";
import type { ServiceEntry } from "./entry.ts";
import { healthChecks } from "./health.ts";
import { type BookPlace, IpvsBook, type IpvsLists } from "./ipvs-book.ts";
import { IPVS_ADDRESSES, IPVS_BALANCING } from "./ipvs-marks.ts";
import { ipvsServices, SCHEDULERS, type Scheduler } from "./ipvs-services.ts";
import { ipSets } from "./ipvs-sets.ts";
import { FAMILIES } from "./matches.ts";
import type { ModePlan } from "./mode.ts";
import { FEW, planServices } from "./nftables.ts";
import { nodePortElements, serviceSettings } from "./settings.ts";
import { type ServiceTable, serviceTable, standpointOf } from "./table.ts";

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

const EXTERNAL = { 4: externalSet(4), 6: externalSet(6) } as const;

function externalSet(family: Family): NftSet {
  return IPVS_BALANCING.sets.find(({ name }) => name === `${IPVS_ADDRESSES}${family}`) ?? { name: "", key: [], elements: [] };
}

/** What a plan says of IPVS. */
interface Planned {
  readonly lists: IpvsLists;
  readonly remarks: readonly string[];
  /** Weights stand at the pods. */
  readonly pods: ClusterSnapshot["pods"];
  readonly weighs: boolean;
  /** Of large tables: what the next is made from. */
  readonly account: Account | undefined;
}

const plans = new WeakMap<ServiceTable, Map<string, Planned>>();

/** What a node must hold in the IPVS mode. `own`: the node's own addresses, without lengths. A table that follows another is followed by what changed. */
export function planIpvs(snapshot: ClusterSnapshot, node: string, own: readonly string[]): ModePlan {
  const plan = planServices(snapshot, node, IPVS_BALANCING);
  const table = serviceTable(snapshot);
  const standard = standardScheduler(snapshot);
  const place: BookPlace = {
    standpoint: standpointOf(snapshot, node),
    nodeAddresses: { 4: nodePortAddresses(snapshot, node, own, 4), 6: nodePortAddresses(snapshot, node, own, 6) },
    own,
    device: DEVICE,
  };
  const { lists, remarks } = plannedAt(snapshot, table, place, standard.scheduler);
  const healthPorts = healthChecks(snapshot, node).map(({ port }) => port);
  return {
    table: {
      ...plan.table,
      sets: plan.table.sets.map((set) => FAMILIES.map((family) => lists.external[family]).find(({ name }) => name === set.name) ?? set),
    },
    state: {
      sysctls: SYSCTLS,
      links: [{ name: DEVICE, kind: { type: "other", name: "dummy" }, ifalias: SERVICE_BALANCER.alias, up: true }],
      localRoutes: lists.routes,
      ipsets: ipSets(lists.elements, healthPorts),
      ipvs: lists.services,
    },
    remarks: [...plan.remarks, ...standard.remarks, ...remarks],
  };
}

function plannedAt(snapshot: ClusterSnapshot, table: ServiceTable, place: BookPlace, standard: Scheduler): Planned {
  const byPlace = plans.get(table) ?? new Map<string, Planned>();
  plans.set(table, byPlace);
  const key = JSON.stringify([place, standard]);
  const known = byPlace.get(key);
  if (known && (!known.weighs || known.pods === snapshot.pods)) return known;
  const account = known?.account ?? nextAccount(snapshot, table, key) ?? new Account(snapshot, table, place, standard);
  account.weigh(snapshot, table);
  const planned: Planned = {
    lists: account.book.turn(),
    remarks: account.remarks,
    pods: snapshot.pods,
    weighs: account.weighs,
    account: table.size > FEW ? account : undefined,
  };
  byPlace.set(key, planned);
  return planned;
}

/** The account of the table before, with what changed. It goes over to the new plan: from the old one none can be made any more. */
function nextAccount(snapshot: ClusterSnapshot, table: ServiceTable, key: string): Account | undefined {
  const before = table.origin && plans.get(table.origin.table);
  const planned = before?.get(key);
  if (!table.origin || !planned?.account) return undefined;
  before?.set(key, { ...planned, account: undefined });
  planned.account.follow(snapshot, table, table.origin);
  return planned.account;
}

/** A book, and how each of its entries is scheduled. */
class Account {
  readonly book: IpvsBook;
  readonly #place: BookPlace;
  readonly #standard: Scheduler;
  /** Entries whose end points have weights. */
  readonly #weighed = new Set<ServiceEntry>();
  readonly #remarks = new Map<ServiceEntry, readonly string[]>();

  constructor(snapshot: ClusterSnapshot, table: ServiceTable, place: BookPlace, standard: Scheduler) {
    this.book = new IpvsBook(place, EXTERNAL);
    this.#place = place;
    this.#standard = standard;
    for (const entry of table.entries) this.#add(snapshot, table, entry);
  }

  /** The table after one whose entries stand here. */
  follow(snapshot: ClusterSnapshot, table: ServiceTable, { table: before, changes }: NonNullable<ServiceTable["origin"]>): void {
    for (const entry of changes.removed) this.#remove(before, entry);
    for (const entry of changes.added) this.#add(snapshot, table, entry);
  }

  /** Weights are those of the snapshot's pods. */
  weigh(snapshot: ClusterSnapshot, table: ServiceTable): void {
    for (const entry of [...this.#weighed]) {
      const { services, remarks } = this.#schedule(snapshot, entry);
      if (services === this.book.servicesOf(entry) && remarks.join() === (this.#remarks.get(entry) ?? []).join()) continue;
      this.#remove(table, entry);
      this.#add(snapshot, table, entry);
    }
  }

  get weighs(): boolean {
    return this.#weighed.size > 0;
  }

  /** In order, each once: a Service's ports have the same ones. */
  get remarks(): readonly string[] {
    return [...new Set([...this.#remarks.values()].flat())].sort();
  }

  #add(snapshot: ClusterSnapshot, table: ServiceTable, entry: ServiceEntry): void {
    const { services, remarks, scheduler } = this.#schedule(snapshot, entry);
    this.book.add(table, entry, services);
    // Round robin knows no weights, so most Services need not look at pods.
    if (scheduler !== "rr") this.#weighed.add(entry);
    if (remarks.length > 0) this.#remarks.set(entry, remarks);
  }

  #remove(table: ServiceTable, entry: ServiceEntry): void {
    this.book.remove(table, entry);
    this.#weighed.delete(entry);
    this.#remarks.delete(entry);
  }

  #schedule(snapshot: ClusterSnapshot, entry: ServiceEntry) {
    const { standpoint, nodeAddresses } = this.#place;
    const name = `${entry.namespace}/${entry.name}`;
    const said = snapshot.services.get(name)?.metadata.annotations?.[SCHEDULER];
    const { scheduler, remarks } = readScheduler(said, this.#standard, `Service ${name}, annotation ${SCHEDULER}`);
    const weights = scheduler === "rr" ? NO_WEIGHTS : weightsOf(snapshot, entry, remarks);
    const services = ipvsServices(entry, standpoint, { scheduler, weights, nodeAddresses: nodeAddresses[entry.family] });
    return { services, remarks, scheduler };
  }
}

const NO_WEIGHTS: ReadonlyMap<string, number> = new Map();

/** The scheduler of Services that ask for none. */
function standardScheduler(snapshot: ClusterSnapshot): { readonly scheduler: Scheduler; readonly remarks: readonly string[] } {
  return readScheduler(snapshot.configMaps.get(CONFIG)?.data?.ipvsScheduler, "rr", `ConfigMap ${CONFIG}, key ipvsScheduler`);
}

function readScheduler(said: string | undefined, standard: Scheduler, where: string): { scheduler: Scheduler; remarks: string[] } {
  const text = said?.trim() ?? "";
  const found = SCHEDULERS.find((name) => name === text);
  if (found !== undefined || text === "") return { scheduler: found ?? standard, remarks: [] };
  return {
    scheduler: standard,
    remarks: [`${where}: "${text}" is no scheduler of IPVS; ${standard} is used, of ${SCHEDULERS.join(", ")}`],
  };
}

/** Weights of an entry's pods that say one. What is none is remarked. */
function weightsOf(snapshot: ClusterSnapshot, entry: ServiceEntry, remarks: string[]): ReadonlyMap<string, number> {
  const weights = new Map<string, number>();
  for (const { pod } of entry.endpoints) {
    const said = pod === undefined ? undefined : snapshot.pods.get(pod)?.metadata.annotations?.[WEIGHT];
    if (pod === undefined || said === undefined) continue;
    if (/^\d+$/.test(said) && Number(said) <= MOST_WEIGHT) weights.set(pod, Number(said));
    else remarks.push(`Pod ${pod}, annotation ${WEIGHT}: "${said}" is no number from 0 to ${MOST_WEIGHT}; it weighs 1`);
  }
  return weights;
}

/** Those of the node's own addresses at which it serves node ports. */
function nodePortAddresses(snapshot: ClusterSnapshot, node: string, own: readonly string[], family: Family): string[] {
  const elements = nodePortElements(serviceSettings(snapshot), snapshot.nodes.get(node), family);
  const prefixes = elements.map((text) => parsePrefix(text.includes("/") ? text : `${text}/${family === 4 ? 32 : 128}`));
  return own.filter((text) => familyOf(text) === family && prefixes.some((prefix) => prefixContains(prefix, parseAddress(text))));
}
