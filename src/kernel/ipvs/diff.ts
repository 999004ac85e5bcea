// Differences of IPVS and of its sets: what is added comes before the old way is closed, what goes comes after.
import { parseAddress, TRANSPORTS } from "../../base/index.ts";
import type { IpvsChange } from "../kernel.ts";
import { ipvsKey } from "../netlink/ipvs.ts";
import type { IpSet, IpvsDestination, IpvsService } from "../state.ts";
import type { ChangeStep } from "../steps.ts";
import { destinationKey } from "./lingering.ts";

export interface Early {
  readonly early: readonly ChangeStep[];
  readonly late: readonly ChangeStep[];
}

/** The change of services and destinations. `isOurs`: which of those that are not wanted are taken out. */
export function diffIpvs(
  desired: readonly IpvsService[],
  observed: readonly IpvsService[],
  isOurs: (service: IpvsService) => boolean,
): Early {
  const early: ChangeStep[] = [];
  const late: ChangeStep[] = [];
  const there = new Map(observed.map((service) => [ipvsKey(service), service]));
  const wanted = new Map(desired.map((service) => [ipvsKey(service), service]));
  for (const [object, service] of inLists(wanted, there)) {
    const found = there.get(object);
    if (found === service) continue;
    if (!found) early.push(stepOf(object, { op: "add", service }));
    else if (found.scheduler !== service.scheduler || found.persistence !== service.persistence)
      early.push(stepOf(object, { op: "set", service }));
    diffDestinations(object, service, found?.destinations ?? [], { early, late });
  }
  for (const [object, service] of there)
    if (!wanted.has(object) && isOurs(service)) late.push({ ...stepOf(object, { op: "delete", service }), expected: hasEnded(service) });
  return { early, late };
}

/**
 * Those that come in the order of the kernel's 256 lists (ip_vs_svc_hashkey): what is looked through together is made together,
 * and lies together in memory. The others as they are.
 */
function inLists(wanted: ReadonlyMap<string, IpvsService>, there: ReadonlyMap<string, IpvsService>): (readonly [string, IpvsService])[] {
  const all = [...wanted];
  const lists = Map.groupBy(
    all.filter(([key]) => !there.has(key)),
    ([, service]) => listOf(service),
  );
  return [...all.filter(([key]) => there.has(key)), ...[...lists.values()].flat()];
}

/** Which of the lists a service is in, but for what is the same for all of a namespace. */
function listOf({ protocol, address, port }: IpvsService): number {
  const { family, value } = parseAddress(address);
  let folded = value;
  for (let shift = 32n; family === 6 && shift < 128n; shift += 32n) folded ^= value >> shift;
  return (TRANSPORTS[protocol] ^ Number(folded & 0xffn) ^ (port >> 8) ^ port) & 0xff;
}

function diffDestinations(
  object: string,
  service: IpvsService,
  found: readonly IpvsDestination[],
  { early, late }: { early: ChangeStep[]; late: ChangeStep[] },
): void {
  const there = new Map(found.map((destination) => [destinationKey(destination), destination]));
  for (const destination of service.destinations) {
    const known = there.get(destinationKey(destination));
    there.delete(destinationKey(destination));
    if (known?.weight === destination.weight) continue;
    const step = stepOf(object, { op: known ? "set" : "add", service, destination });
    (destination.weight === 0 && known ? late : early).push(step);
  }
  for (const destination of there.values())
    late.push({ ...stepOf(object, { op: "delete", service, destination }), expected: destination.weight === 0 });
}

/** All its destinations were told to end. */
function hasEnded({ destinations }: IpvsService): boolean {
  return destinations.every(({ weight }) => weight === 0);
}

function stepOf(object: string, change: IpvsChange): Extract<ChangeStep, { kind: "ipvs" }> {
  return { kind: "ipvs", object, change };
}

/** The change of sets, element by element. */
export function diffIpsets(desired: readonly IpSet[], observed: readonly IpSet[], ours: boolean): Early {
  const early: ChangeStep[] = [];
  const late: ChangeStep[] = [];
  const there = new Map(observed.map((set) => [set.name, set]));
  const names = new Set(desired.map(({ name }) => name));
  for (const set of desired) {
    const found = there.get(set.name);
    if (found === set) continue;
    const object = set.name;
    // Another type can't be had by changes.
    const usable = found !== undefined && found.type === set.type && (found.family === set.family || set.type === "bitmap:port");
    if (found && !usable) early.push({ kind: "ipset", object, op: "delete", set: found });
    if (!usable) early.push({ kind: "ipset", object, op: "add", set: { ...set, elements: [] } });
    const before = new Set(usable ? found.elements : []);
    const after = new Set(set.elements);
    const add = set.elements.filter((element) => !before.has(element));
    const gone = [...before].filter((element) => !after.has(element));
    const between = { ...set, elements: [...set.elements, ...gone] };
    if (add.length > 0) early.push({ kind: "ipset", object, op: "change", set: between, add });
    if (gone.length > 0) late.push({ kind: "ipset", object, op: "change", set, delete: gone });
  }
  if (ours) for (const set of observed) if (!names.has(set.name)) late.push({ kind: "ipset", object: set.name, op: "delete", set });
  return { early, late };
}
