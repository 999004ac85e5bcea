// The difference where the kernel is known to hold a state: only what moved is compared, whatever else there is.
import type { Belief } from "./belief.ts";
import { diffState } from "./diff.ts";
import type { IpvsOwnership } from "./ipvs/lingering.ts";
import { addressKey } from "./keys.ts";
import { diffLinks } from "./link-diff.ts";
import { type ListChanges, listChanges } from "./list-changes.ts";
import { ipvsKey } from "./netlink/ipvs.ts";
import type { Ownership } from "./reconcile.ts";
import { EMPTY_STATE, type IpSet, type IpvsService, type KernelState } from "./state.ts";
import type { ChangeStep } from "./steps.ts";

/** Lists that grow with the number of Services: of these, only what came and went is compared. */
const LISTS: ReadonlySet<keyof KernelState> = new Set(["addresses", "ipsets", "ipvs"]);

/** Steps from `held`, which the kernel holds as `belief` has it, to `desired`. */
export function diffSince(held: KernelState, desired: KernelState, belief: Belief, owns: Ownership): ChangeStep[] {
  // What stands on a link that is made or taken down must be looked at anew.
  if (held.links !== desired.links && diffLinks(desired.links, belief.links(), owns).steps.length > 0)
    return diffState(desired, belief.state(), owns);
  const parts = (Object.keys(EMPTY_STATE) as (keyof KernelState)[]).filter(
    (part) => part === "links" || (held[part] !== desired[part] && !LISTS.has(part)),
  );
  const named = Object.fromEntries(parts.map((part) => [part, desired[part]]));
  if (![...LISTS].some((part) => held[part] !== desired[part]))
    return diffState({ ...EMPTY_STATE, ...named }, { ...EMPTY_STATE, ...belief.parts(parts) }, owns);
  // What has connections left keeps its device and addresses, so the three go together.
  const services = listChanges(held.ipvs, desired.ipvs);
  const resting = belief.ipvs.resting();
  const ipvs = moved(services, desired.ipvs, {
    beside: resting,
    place: ({ address }) => address,
    keyOf: ipvsKey,
    find: (key) => belief.ipvs.service(key),
  });
  const addresses = moved(listChanges(held.addresses, desired.addresses), desired.addresses, {
    beside: [],
    place: ({ address }) => address,
    keyOf: addressKey,
    find: (key) => belief.address(key),
  });
  const ipsets = movedSets(held.ipsets, desired.ipsets, belief);
  return diffState(
    { ...EMPTY_STATE, ...named, ipvs: ipvs.wanted, addresses: addresses.wanted, ipsets: ipsets.wanted },
    { ...EMPTY_STATE, ...belief.parts(parts), ipvs: ipvs.there, addresses: addresses.there, ipsets: ipsets.there },
    owns.ipvs ? { ...owns, ipvs: { ...owns.ipvs, isOurs: ownership(services.gone, belief, owns.ipvs) } } : owns,
  );
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
    readonly find: (key: string) => T | undefined;
  },
): Moved<T> {
  const leaving = [...gone, ...look.beside];
  // What leaves may have a namesake that stays, and what is looked at as well may be wanted as before.
  const places = new Set(leaving.map(look.place));
  const wanted = leaving.length === 0 ? come : [...new Set([...come, ...desired.filter((item) => places.has(look.place(item)))])];
  const keys = new Set([...wanted, ...leaving].map(look.keyOf));
  return { wanted, there: [...keys].flatMap((key) => look.find(key) ?? []) };
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
    belief.address(addressKey({ link: device, address: `${service.address}/${service.family === 4 ? 32 : 128}` })) !== undefined ||
    belief.ipvs.hasPort(service);
}
