// Differences of links, addresses, neighbours and forwarding entries.
import { addressKey, fdbKey, fdbMacKey, isLinkLocal, neighbourKey } from "./keys.ts";
import type { Ownership } from "./reconcile.ts";
import {
  type FdbEntry,
  type KernelState,
  type Link,
  type LinkAddress,
  type LinkKind,
  type Neighbour,
  USUAL_GSO_MAX_SIZE,
} from "./state.ts";
import type { ChangeStep } from "./steps.ts";

/** What the links look like once their steps are done, for the diffs of what stands on them. */
export interface LinkPlan {
  readonly steps: readonly ChangeStep[];
  /** Links that will be there. */
  readonly present: ReadonlySet<string>;
  /** Observed links that are deleted or made anew: nothing that was observed on them is left. */
  readonly emptied: ReadonlySet<string>;
  /** Links that are set down: the kernel drops their routes. */
  readonly downed: ReadonlySet<string>;
  /** Desired links that others make (pods' host ends) and that are not there: what stands on them waits. */
  readonly awaited: ReadonlySet<string>;
}

type Settable = "mtu" | "gsoIpv4MaxSize" | "mac" | "up" | "master" | "hairpin" | "ifalias" | "fastPath";
const SETTABLE: readonly Settable[] = ["mtu", "gsoIpv4MaxSize", "mac", "up", "master", "hairpin", "ifalias", "fastPath"];

/** What a link has of which nothing was observed. */
const UNTOLD: Partial<Pick<Link, Settable>> = { gsoIpv4MaxSize: USUAL_GSO_MAX_SIZE, master: "", ifalias: "", hairpin: false, up: false };

/** `worn`: a link of ours that is made anew, if it is wanted. */
export function diffLinks(desired: readonly Link[], observed: readonly Link[], owns: Ownership, worn?: string): LinkPlan {
  const there = new Map(observed.map((link) => [link.name, link]));
  const wanted = new Map(desired.map((link) => [link.name, link]));
  const present = new Set(there.keys());
  const emptied = new Set<string>();
  const downed = new Set<string>();
  const awaited = new Set<string>();
  const deletes: ChangeStep[] = [];
  const adds: ChangeStep[] = [];
  const sets: ChangeStep[] = [];

  for (const link of observed) {
    const want = wanted.get(link.name);
    const surplus = want === undefined || (isMade(want.kind) && !sameKind(want.kind, link.kind)) || link.name === worn;
    if (!surplus || !owns.links(link.name)) {
      // The fast path is ours wherever it stands.
      if (link.fastPath !== undefined && want?.fastPath === undefined) sets.push(setStep({ name: link.name, fastPath: false }));
      continue;
    }
    deletes.push({ kind: "link", object: link.name, change: { op: "delete", link: { name: link.name } } });
    emptied.add(link.name);
    present.delete(link.name);
  }
  for (const link of wanted.values()) {
    const standing = emptied.has(link.name) ? undefined : there.get(link.name);
    // A bridge that goes away lets go of its ports.
    const found = standing?.master !== undefined && emptied.has(standing.master) ? { ...standing, master: "" } : standing;
    if (!isMade(link.kind)) {
      if (found) pushSet(sets, link, found, downed);
      else awaited.add(link.name);
    } else if (found && sameKind(link.kind, found.kind)) {
      pushSet(sets, link, found, downed);
    } else {
      // Also where a foreign link stands under the name: the kernel's EEXIST then says so.
      // What refers to other links (master) or lets packets through (up) comes when all are made.
      const { up: _up, master: _master, hairpin: _hairpin, index: _index, peerIndex: _peer, ...born } = link;
      adds.push({ kind: "link", object: link.name, change: { op: "add", link: born } });
      pushSet(sets, link, { ...born, up: false }, downed);
      present.add(link.name);
    }
  }
  return { steps: [...deletes, ...adds.sort(bridgesFirst), ...sets], present, emptied, downed, awaited };
}

function pushSet(steps: ChangeStep[], want: Link, found: Omit<Link, "kind">, downed: Set<string>): void {
  const link: Record<string, unknown> = {};
  for (const field of SETTABLE) {
    const value = want[field];
    if (value === undefined) continue;
    const current = field === "mac" ? found.mac?.toLowerCase() : (found[field] ?? UNTOLD[field]);
    const same = (field === "mac" ? want.mac?.toLowerCase() : value) === current;
    if (!same) link[field] = value;
  }
  if (Object.keys(link).length === 0) return;
  if (link.up === false) downed.add(want.name);
  steps.push(setStep({ ...link, name: want.name }));
}

function setStep(link: Omit<Link, "kind">): ChangeStep {
  return { kind: "link", object: link.name, change: { op: "set", link } };
}

/** Whether Fairlead makes links of this kind; the others are only adjusted where they are. */
export function isMade(kind: LinkKind): boolean {
  return kind.type === "bridge" || kind.type === "vxlan" || kind.type === "ipip" || (kind.type === "other" && kind.name === "dummy");
}

function sameKind(a: LinkKind, b: LinkKind): boolean {
  if (a.type === "other" && b.type === "other") return a.name === b.name;
  if (a.type !== "vxlan" || b.type !== "vxlan") return a.type === b.type;
  return a.vni === b.vni && a.port === b.port && a.local === b.local && a.device === b.device && a.learning === b.learning;
}

function bridgesFirst(a: ChangeStep, b: ChangeStep): number {
  return rank(a) - rank(b);
}

function rank(step: ChangeStep): number {
  if (step.kind !== "link" || step.change.op !== "add" || !("link" in step.change)) return 1;
  return step.change.link.kind.type === "bridge" ? 0 : 1;
}

export function diffAddresses(desired: KernelState, observed: KernelState, owns: Ownership, links: LinkPlan): ChangeStep[] {
  const step = (op: "add" | "delete", address: LinkAddress): ChangeStep => ({
    kind: "address",
    object: addressKey(address),
    change: { op, address },
  });
  const there = new Map<string, LinkAddress>();
  for (const address of observed.addresses) if (!links.emptied.has(address.link)) there.set(addressKey(address), address);
  const wanted = new Map(desired.addresses.map((address) => [addressKey(address), address]));
  const deletes: ChangeStep[] = [];
  const adds: ChangeStep[] = [];
  const wrong = (want: LinkAddress, found: LinkAddress) =>
    want.scope !== undefined && found.scope !== undefined && want.scope !== found.scope && !isLinkLocal(found.address);
  for (const [key, address] of there) {
    const want = wanted.get(key);
    // Deletes go first: IPv6 refuses the same address with another length.
    const ours = (owns.links(address.link) && !isLinkLocal(address.address)) || address.protocol === owns.routeProtocol;
    if (want ? wrong(want, address) : ours) deletes.push(step("delete", address));
  }
  for (const [key, address] of wanted) {
    const found = there.get(key);
    if ((found && !wrong(address, found)) || links.awaited.has(address.link)) continue;
    adds.push(step("add", address));
  }
  return [...deletes, ...adds];
}

export function diffNeighbours(desired: KernelState, observed: KernelState, owns: Ownership, links: LinkPlan): ChangeStep[] {
  const there = new Map<string, Neighbour>();
  for (const neighbour of observed.neighbours) if (!links.emptied.has(neighbour.link)) there.set(neighbourKey(neighbour), neighbour);
  const wanted = new Map(desired.neighbours.map((neighbour) => [neighbourKey(neighbour), neighbour]));
  const steps: ChangeStep[] = [];
  for (const [key, neighbour] of there) {
    // What is not permanent, the kernel learned by itself and forgets by itself.
    if (wanted.has(key) || neighbour.state !== "permanent" || !owns.links(neighbour.link)) continue;
    steps.push({ kind: "neighbour", object: key, change: { op: "delete", neighbour } });
  }
  for (const [key, neighbour] of wanted) {
    const found = there.get(key);
    const same =
      found?.state === neighbour.state && (neighbour.mac === undefined || neighbour.mac.toLowerCase() === found.mac?.toLowerCase());
    if (same || links.awaited.has(neighbour.link)) continue;
    steps.push({ kind: "neighbour", object: key, change: { op: "replace", neighbour } });
  }
  return steps;
}

/** A MAC has one destination, or (the all-zero MAC, for flooding) several; the one is replaced without a gap. */
export function diffFdb(desired: KernelState, observed: KernelState, owns: Ownership, links: LinkPlan): ChangeStep[] {
  const there = new Map<string, FdbEntry>();
  const perMac = new Map<string, number>();
  for (const entry of observed.fdb) {
    if (links.emptied.has(entry.link)) continue;
    there.set(fdbKey(entry), entry);
    perMac.set(fdbMacKey(entry), (perMac.get(fdbMacKey(entry)) ?? 0) + 1);
  }
  const wanted = new Map<string, FdbEntry>();
  const wantedPerMac = new Map<string, number>();
  for (const entry of desired.fdb) {
    wanted.set(fdbKey(entry), entry);
    wantedPerMac.set(fdbMacKey(entry), (wantedPerMac.get(fdbMacKey(entry)) ?? 0) + 1);
  }
  const replaced = (entry: FdbEntry) => perMac.get(fdbMacKey(entry)) === 1 && wantedPerMac.get(fdbMacKey(entry)) === 1;
  const deletes: ChangeStep[] = [];
  const writes: ChangeStep[] = [];
  for (const [key, entry] of there) {
    // Entries without a destination are the kernel's own: the device's and the ports' addresses, multicast groups.
    if (wanted.has(key) || !entry.permanent || entry.destination === undefined || !owns.links(entry.link) || replaced(entry)) continue;
    deletes.push({ kind: "fdb", object: key, change: { op: "delete", fdb: entry } });
  }
  for (const [key, entry] of wanted) {
    const found = there.get(key);
    if ((found && found.permanent === entry.permanent) || links.awaited.has(entry.link)) continue;
    const op = found || replaced(entry) ? "replace" : "add";
    writes.push({ kind: "fdb", object: key, change: { op, fdb: entry } });
  }
  return [...deletes, ...writes];
}
