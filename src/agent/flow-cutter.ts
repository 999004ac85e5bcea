// Cuts flows that must not go on: to end points that are gone, denied by a new policy, of addresses that were given back.
//
// The kernel keeps one table of flows for all namespaces, and a walk through it costs milliseconds, a look at each of them much
// more: what is to be cut is collected, and the kernel is told what to look for.
import { isDeepStrictEqual } from "node:util";
import { type Family, messageOf, TRANSPORTS, tryParseAddress } from "../base/index.ts";
import type { ClusterSnapshot, EndpointSlicePart } from "../cluster/index.ts";
import type { Conntrack, ConntrackFilter, NftRule, NftSet } from "../kernel/index.ts";
import type { NodePlan } from "../plan/index.ts";
import { cutFlows, isDenial, isVersionChain, type NameBook, NO_NAMES, policiesMayDiffer } from "../policy/index.ts";
import type { EndpointSlice } from "../resources/index.ts";
import { entriesIn, isStale, type ServiceEntry, type ServiceTable, type Subset, serviceTable } from "../services/index.ts";

export interface FlowCutter {
  /** The node follows `after` from now on; `policyMoved`: its own rules of policy are no longer those of before. */
  follow(after: ClusterSnapshot, policyMoved: boolean, names?: NameBook): void;
  /** These addresses have no owner any more. */
  forget(addresses: Iterable<string>): void;
  /** These addresses are about to be given out: resolves when none of their flows is yet to be cut. */
  settle(addresses: readonly string[]): Promise<void>;
  close(): void;
}

/** Milliseconds from one walk to the next, in which changes are collected; the first comes at once. */
const COLLECT_MS = 50;
/** A walk may take this share of the time at most; but a busy machine, where it takes long, must not leave flows to where nobody is. */
const SHARE = 10;
const MOST_MS = 1000;

/** A cutter over one namespace's flows. */
export function createFlowCutter(conntrack: Conntrack, log: (message: string) => void): FlowCutter {
  let newest: ClusterSnapshot | undefined;
  /** What the flows that are there were last compared with. */
  let compared: ClusterSnapshot | undefined;
  /** What policies were before they denied what flows may do, and how many looks at the flows that is still worth. */
  let allowing: ClusterSnapshot | undefined;
  let looks = 0;
  let names: NameBook = NO_NAMES;
  let forgotten = new Set<string>();
  /** The look at the flows that is under way, and the addresses whose flows it cuts. */
  let under: { readonly addresses: ReadonlySet<string>; readonly done: Promise<void> } | undefined;
  let timer: NodeJS.Timeout | undefined;
  let lastMs = 0;
  let ended = Number.NEGATIVE_INFINITY;
  let closed = false;

  function schedule(): void {
    if (closed || under) return;
    const due = ended + Math.max(COLLECT_MS, Math.min(MOST_MS, lastMs * SHARE));
    timer ??= setTimeout(run, Math.max(0, due - performance.now())).unref();
  }

  function run(): void {
    clearTimeout(timer);
    timer = undefined;
    const started = performance.now();
    const addresses = forgotten;
    forgotten = new Set();
    const done = cut(addresses)
      .catch((error) => {
        if (!closed) log(`conntrack: ${messageOf(error)}`);
      })
      .then(() => {
        under = undefined;
        ended = performance.now();
        lastMs = ended - started;
        if (looks > 0 || forgotten.size > 0 || compared !== newest) schedule();
      });
    under = { addresses, done };
  }

  async function cut(addresses: ReadonlySet<string>): Promise<void> {
    const [before, after] = [compared, newest];
    compared = newest;
    const services = before && after ? concernedFlows(before, after) : [];
    const base = looks > 0 ? allowing : undefined;
    if (looks > 0) looks--;
    if (looks === 0) allowing = undefined;
    await conntrack.delete([...addresses].flatMap((address) => [{ source: address }, { replySource: address }]));
    if (before && after && services.length > 0) {
      const tables = [serviceTable(before), serviceTable(after)] as const;
      await conntrack.delete(services, (flow) => isStale(...tables, flow));
    }
    if (base && after && policiesMayDiffer(base, after))
      await conntrack.delete([{}], (flow) => cutFlows(base, after, [flow], names).length > 0);
  }

  return {
    follow(after, policyMoved, known = NO_NAMES) {
      names = known;
      if (after === newest) return;
      newest = after;
      compared ??= after;
      if (policyMoved) {
        allowing ??= compared;
        // What was let through in the moment before is among the flows only a moment later.
        looks = 2;
      }
      if (concernedFlows(compared, after).length > 0 || (looks > 0 && allowing && policiesMayDiffer(allowing, after))) schedule();
      else if (looks === 0) compared = after;
    },
    forget(addresses) {
      for (const address of addresses) forgotten.add(address);
      if (forgotten.size > 0) schedule();
    },
    async settle(addresses) {
      const waits = () => addresses.some((address) => forgotten.has(address) || under?.addresses.has(address));
      while (!closed && waits()) {
        if (!under) run();
        await under?.done;
      }
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

/** Flows that a change of Services may have made stale: of protocols without connections, and attempts of TCP. */
function concernedFlows(before: ClusterSnapshot, after: ClusterSnapshot): ConntrackFilter[] {
  if (before.endpointSlices === after.endpointSlices && before.services === after.services) return [];
  const found = new Map<string, ConntrackFilter>();
  for (const family of familiesLosing(before.endpointSlices, after.endpointSlices))
    found.set(`tcp ${family}`, { family, protocol: TRANSPORTS.tcp, replied: false });
  const [was, is] = [connectionless(serviceTable(before)), connectionless(serviceTable(after))];
  if (was === is) return [...found.values()];
  const note = ({ family, protocol }: ServiceEntry) => found.set(`${protocol} ${family}`, { family, protocol: TRANSPORTS[protocol] });
  for (const [key, entry] of was) if (entry !== is.get(key) && !stillGoes(entry, is.get(key))) note(entry);
  // What went nowhere was not translated, and must be now.
  for (const [key, entry] of is) if (entry !== was.get(key) && entry.endpoints.length > 0 && !was.get(key)?.endpoints.length) note(entry);
  return [...found.values()];
}

/** The families of which an end point of TCP is gone, or serves no more. */
function familiesLosing(before: EndpointSlicePart, after: EndpointSlicePart): ReadonlySet<Family> {
  if (before === after) return NONE;
  const moves = after.changedSince(before);
  if (!moves) return BOTH;
  return new Set(
    moves.flatMap(({ before: was, after: is }) =>
      [...servers(was).difference(servers(is))].flatMap((address) => tryParseAddress(address)?.family ?? []),
    ),
  );
}

const NONE: ReadonlySet<Family> = new Set();
const BOTH: ReadonlySet<Family> = new Set<Family>([4, 6]);

/** Addresses that serve by TCP. A condition that is not given counts as true, or as `ready` is (discovery.k8s.io/v1, EndpointConditions). */
function servers(slice: EndpointSlice | undefined): Set<string> {
  if (!slice?.ports?.some(({ protocol = "TCP" }) => protocol === "TCP")) return new Set();
  const serving = (slice.endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false || conditions?.serving === true);
  return new Set(serving.flatMap(({ addresses }) => addresses));
}

/** Whether every flow that went to the one may go on to the other: it is reached and balanced as before, and has lost no end point. */
function stillGoes(was: ServiceEntry, is: ServiceEntry | undefined): boolean {
  if (!is) return was.endpoints.length === 0;
  const [{ endpoints: old, ...wasElse }, { endpoints, ...isElse }] = [was, is];
  return isDeepStrictEqual(wasElse, isElse) && old.every((endpoint) => endpoints.some((other) => isDeepStrictEqual(other, endpoint)));
}

const CONNECTIONLESS: Subset = { takes: ({ protocol }) => protocol !== "tcp" };
const kept = new WeakMap<readonly ServiceEntry[], ReadonlyMap<string, ServiceEntry>>();

/** A table's Services without connections; found once for all agents of a process. */
function connectionless(table: ServiceTable): ReadonlyMap<string, ServiceEntry> {
  const entries = entriesIn(table, CONNECTIONLESS);
  let found = kept.get(entries);
  if (!found) {
    found = new Map(entries.map((entry) => [`${entry.namespace}/${entry.name} ${entry.portName} ${entry.family}`, entry]));
    kept.set(entries, found);
  }
  return found;
}

/**
 * Whether a node's rules of policy changed such that a flow of a pod that was there before may be denied now. What is added
 * for a new pod is no such change: it has no flows yet.
 */
export function policyMoved(before: NodePlan | undefined, after: NodePlan): boolean {
  const [was] = before?.kernel.tables ?? [];
  const [is] = after.kernel.tables;
  if (!was || !is || was === is) return false;
  // What is new decides nothing until something that was there refers to it.
  const chains = new Map(was.chains.map((chain) => [chain.name, chain]));
  const policies = is.chains.filter((chain) => POLICY_CHAIN.test(chain.name) && !isVersionChain(chain.name));
  if (policies.some((chain) => chains.has(chain.name) && chains.get(chain.name) !== chain)) return true;
  const onlyAllows = policies.every((chain) => chain.name.startsWith("policy-") || chain.rules.every(isNoDenial));
  const sets = new Map(was.sets.map((set) => [set.name, set]));
  return is.sets.some((set) => {
    const old = sets.get(set.name);
    if (!old || old === set || !POLICY_SET.test(set.name)) return false;
    const known = set.name.endsWith("4") ? sets.get("pod-self4") : sets.get("pod-self6");
    return set.value ? jumpsMoved(old, set, known) : !onlyAllows || hasLost(old, set);
  });
}

/** Whether a rule denies nothing, or all that is left. */
function isNoDenial(rule: NftRule): boolean {
  return rule.matches.length === 0 || !rule.statements.some(isDenial);
}

function hasLost(before: NftSet, after: NftSet): boolean {
  const left = new Set(after.elements);
  return before.elements.some((element) => !left.has(element));
}

/** What the policy room's writer names: chains of a pod's policies, and the sets that these look into. */
const POLICY_CHAIN = /^(egress|ingress|policy)-/;
/** A name that has lost an address is no denial: a flow to it goes on. */
const POLICY_SET = /^(pod-egress|pod-ingress|peer|block|range|service|entity|ports|many)/;

/** Whether an address that the node knew before jumps elsewhere now. */
function jumpsMoved(before: NftSet, after: NftSet, known: NftSet | undefined): boolean {
  const old = new Set(before.elements);
  const addresses = new Set(known?.elements.map((element) => element.key[0]));
  return after.elements.some((element) => !old.has(element) && addresses.has(element.key[0]));
}
