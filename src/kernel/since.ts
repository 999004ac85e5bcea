// The difference where the kernel is known to hold a state: only what moved, and what was read again, is compared, whatever else there is.
import { type Belief, LISTS, type Part } from "./belief.ts";
import { diffState } from "./diff.ts";
import type { IpvsOwnership } from "./ipvs/lingering.ts";
import { addressKey, routeKey } from "./keys.ts";
import { diffLinks } from "./link-diff.ts";
import { type ListChanges, listChanges } from "./list-changes.ts";
import { ipvsKey } from "./netlink/ipvs.ts";
import type { Ownership } from "./reconcile.ts";
import { localRoute } from "./route-diff.ts";
import { EMPTY_STATE, type IpSet, type IpvsService, type KernelState } from "./state.ts";
import type { ChangeStep } from "./steps.ts";

type List = keyof KernelState;

/** Lists that grow with the number of Services: of these, only what came and went is compared. */
const GROWING: readonly List[] = ["localRoutes", "ipsets", "ipvs"];
/** What waits for a link that others make. */
const ON_LINKS: readonly List[] = ["addresses", "routes", "localRoutes", "neighbours", "fdb", "sysctls"];

export interface Known {
  /** What the kernel held. */
  readonly held: KernelState;
  /** What was read since: it may differ. */
  readonly read: ReadonlySet<Part>;
}

/** Steps from what the kernel holds, as `belief` has it, to `desired`. */
export function diffSince({ held, read }: Known, desired: KernelState, belief: Belief, owns: Ownership): ChangeStep[] {
  // What stands on a link that is made or taken down must be looked at anew.
  if ((held.links !== desired.links || read.has("link")) && diffLinks(desired.links, belief.links(), owns).steps.length > 0)
    return diffState(desired, belief.state(), owns);
  const whole = new Set<List>(["links", ...[...read].flatMap((part) => LISTS[part])]);
  for (const list of Object.keys(EMPTY_STATE) as List[]) if (held[list] !== desired[list] && !GROWING.includes(list)) whole.add(list);
  const arrived = desired.links.flatMap(({ name }) => (belief.arrived.has(name) ? [name] : []));
  for (const list of arrived.length > 0 ? ON_LINKS : []) if (list !== "localRoutes" || haveRoutes(desired, arrived)) whole.add(list);
  const services = listChanges(held.ipvs, desired.ipvs);
  const touched = GROWING.some((list) => whole.has(list) || held[list] !== desired[list]);
  const growing = touched ? movedLists(held, desired, services, { belief, ...owns }) : { wanted: {}, there: {} };
  return diffState(
    { ...EMPTY_STATE, ...growing.wanted, ...Object.fromEntries([...whole].map((list) => [list, desired[list]])) },
    { ...EMPTY_STATE, ...growing.there, ...belief.parts([...whole]) },
    owns.ipvs ? { ...owns, ipvs: { ...owns.ipvs, isOurs: ownership(services.gone, belief, owns.ipvs) } } : owns,
  );
}

function haveRoutes({ localRoutes }: KernelState, links: readonly string[]): boolean {
  return localRoutes.some(({ nexthops }) => nexthops.some(({ link }) => link !== undefined && links.includes(link)));
}

/** Of the lists that grow, all that may differ. */
function movedLists(
  held: KernelState,
  desired: KernelState,
  services: ListChanges<IpvsService>,
  { belief, ipvs: own }: { readonly belief: Belief; readonly ipvs?: IpvsOwnership },
): { readonly wanted: Partial<KernelState>; readonly there: Partial<KernelState> } {
  const resting = belief.ipvs.resting();
  const ipvs = moved(services, desired.ipvs, {
    beside: resting,
    place: ({ address }) => address,
    keyOf: ipvsKey,
    find: (key) => belief.ipvs.service(key) ?? [],
  });
  const localRoutes = moved(listChanges(held.localRoutes, desired.localRoutes), desired.localRoutes, {
    // What has connections left keeps its address.
    beside: own ? [...services.gone, ...resting].map(({ address }) => localRoute(own.device, address)) : [],
    place: ({ destination }) => destination,
    keyOf: (route) => routeKey(route),
    find: (key) => belief.localRoutes(key),
  });
  const ipsets = movedSets(held.ipsets, desired.ipsets, belief);
  return {
    wanted: { ipvs: ipvs.wanted, localRoutes: localRoutes.wanted, ipsets: ipsets.wanted },
    there: { ipvs: ipvs.there, localRoutes: localRoutes.there, ipsets: ipsets.there },
  };
}

interface Moved<T> {
  /** What is desired, and what is there, of all that may differ. */
  readonly wanted: readonly T[];
  readonly there: readonly T[];
}

function moved<T>(
  { gone, come }: ListChanges<T>,
  desired: readonly T[],
  look: {
    /** What is looked at as well. */
    readonly beside: readonly T[];
    readonly place: (item: T) => string;
    readonly keyOf: (item: T) => string;
    readonly find: (key: string) => T | readonly T[];
  },
): Moved<T> {
  const leaving = [...gone, ...look.beside];
  // What leaves may have a namesake that stays, and what is looked at as well may be wanted as before.
  const places = new Set(leaving.map(look.place));
  const wanted = leaving.length === 0 ? come : [...new Set([...come, ...desired.filter((item) => places.has(look.place(item)))])];
  const keys = new Set([...wanted, ...leaving].map(look.keyOf));
  return { wanted, there: [...keys].flatMap((key) => look.find(key)) };
}

function movedSets(held: readonly IpSet[], desired: readonly IpSet[], belief: Belief): Moved<IpSet> {
  const before = new Map(held.map((set) => [set.name, set]));
  const [wanted, there]: [IpSet[], IpSet[]] = [[], []];
  for (const set of desired) {
    const old = before.get(set.name);
    before.delete(set.name);
    if (old === set) continue;
    const { gone, come } = listChanges(old?.elements ?? [], set.elements);
    const found = belief.ipvs.setWith(set.name, [...gone, ...come]);
    const same = found && old?.type === set.type && old.family === set.family;
    wanted.push(same ? { ...set, elements: come } : set);
    const standing = same ? found : belief.ipvs.set(set.name);
    if (standing) there.push(standing);
  }
  for (const name of before.keys()) {
    const standing = belief.ipvs.set(name);
    if (standing) there.push(standing);
  }
  return { wanted, there };
}

/** Who is ours of the services that are looked at: whom we wanted, and who stands where ours stand. */
function ownership(gone: readonly IpvsService[], belief: Belief, { device }: IpvsOwnership): (service: IpvsService) => boolean {
  const ours = new Set(gone.map(ipvsKey));
  return (service) =>
    ours.has(ipvsKey(service)) ||
    belief.localRoutes(routeKey(localRoute(device, service.address))).length > 0 ||
    belief.address(addressKey({ link: device, address: `${service.address}/${service.family === 4 ? 32 : 128}` })) !== undefined ||
    belief.ipvs.hasPort(service);
}
