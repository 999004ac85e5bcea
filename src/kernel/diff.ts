// The ordered steps that bring an observed kernel to a desired state. Pure, and linear in the size of both.
//
//   sysctls ▶ IPVS that comes, with its device and local routes ▶ iptables ▶ nft tables ▶ IPVS that goes ▶ links (delete, add, set) ▶ sysctls of links ▶ addresses ▶ neighbours ▶ FDB ▶ routes ▶ rules ▶ tables and
//   chains of iptables to delete
//
// Policy stands before the links that let packets through; the route comes last, so that the kernel never asks by ARP
// for what an entry answers.
import { diffIptables } from "./iptables/diff.ts";
import { diffIpsets, diffIpvs, type Early } from "./ipvs/diff.ts";
import { type IpvsOwnership, ownServices, ownsIpvs, withLingering } from "./ipvs/lingering.ts";
import { interfaceOfSysctl, iptablesKey, isLinkLocal, sameSysctl } from "./keys.ts";
import { diffAddresses, diffFdb, diffLinks, diffNeighbours, type LinkPlan } from "./link-diff.ts";
import type { NftTable } from "./netfilter.ts";
import { changeTable } from "./nft/diff.ts";
import type { Ownership } from "./reconcile.ts";
import { diffRoutes, diffRules } from "./route-diff.ts";
import type { IptablesTable, KernelState, LinkAddress } from "./state.ts";
import type { ChangeStep } from "./steps.ts";

/**
 * Steps from `observed` to `desired`; none if it holds already. Only what `owns` names is deleted. Fields that a desired
 * object leaves out are not compared; links of kind physical and veth are adjusted where they are, never made or deleted.
 */
export function diffState(wanted: KernelState, observed: KernelState, given: Ownership): ChangeStep[] {
  const ipvsIsOurs = given.ipvs !== undefined && ownsIpvs(wanted, observed, given.ipvs);
  const desired = given.ipvs ? withLingering(wanted, observed, given.ipvs) : wanted;
  const device = given.ipvs?.device;
  const owns: Ownership = ipvsIsOurs ? { ...given, links: (name) => name === device || given.links(name) } : given;
  const ipvs = given.ipvs ? diffIpvs(desired.ipvs, observed.ipvs, ipvsIsOurs ? ownServices(observed, given.ipvs) : () => false) : NOTHING;
  const ipsets = given.ipvs ? diffIpsets(desired.ipsets, observed.ipsets, ipvsIsOurs) : NOTHING;
  const worn = given.ipvs && ipvsIsOurs && isWorn(desired, observed, given.ipvs) ? device : undefined;
  const links = diffLinks(desired.links, observed.links, owns, worn);
  const sysctls = diffSysctls(desired, observed, links);
  const tables = diffTables(desired.tables, observed.tables, owns);
  const iptables = diffAllIptables(desired.iptables, observed.iptables, owns);
  const addresses = diffAddresses(desired, observed, owns, links);
  const added = addresses.flatMap(addedAddress);
  const locals = diffRoutes(desired.localRoutes, observed.localRoutes, owns, { links, added: [] });
  const balanced = (steps: readonly ChangeStep[]) => steps.filter((step) => device !== undefined && standsOn(step) === device);
  const others = (steps: readonly ChangeStep[]) => steps.filter((step) => device === undefined || standsOn(step) !== device);
  // A device that is made anew goes before it comes.
  const isEnd = (step: ChangeStep) => "change" in step && step.change.op === "delete" && !(step.kind === "link" && step.object === worn);
  const dummy = [...balanced(links.steps), ...balanced(addresses), ...balanced(locals)];
  return [
    ...sysctls.global,
    ...ipsets.early,
    ...dummy.filter((step) => !isEnd(step)),
    ...ipvs.early,
    ...iptables.written,
    ...tables.written,
    ...ipvs.late,
    // The kernel takes the routes along with the device.
    ...dummy.filter((step) => isEnd(step)).reverse(),
    ...others(links.steps),
    ...sysctls.perLink,
    ...others(addresses),
    ...diffNeighbours(desired, observed, owns, links),
    ...diffFdb(desired, observed, owns, links),
    ...others(locals),
    ...diffRoutes(desired.routes, observed.routes, owns, { links, added }),
    ...diffRules(desired.rules, observed.rules, owns),
    ...tables.deleted,
    ...iptables.cleaned,
    ...ipsets.late,
  ];
}

const NOTHING: Early = { early: [], late: [] };

/**
 * Whether the device of IPVS has Services' addresses as kube-proxy puts them there, and as agents did before this one. The
 * kernel takes long to delete fifty thousand; with the device all go at once.
 */
function isWorn(desired: KernelState, observed: KernelState, { device, isOurs }: IpvsOwnership): boolean {
  if (isOurs || !desired.links.some(({ name }) => name === device)) return false;
  if (observed.localRoutes.some(({ nexthops }) => nexthops[0]?.link === device)) return false;
  return observed.addresses.some(({ link, address }) => link === device && !isLinkLocal(address));
}

function standsOn({ kind, ...step }: ChangeStep): string | undefined {
  if (!("change" in step)) return undefined;
  const { change } = step;
  if ("link" in change) return change.link.name;
  if ("address" in change) return change.address.link;
  return "route" in change && kind === "route" ? change.route.nexthops[0]?.link : undefined;
}

function diffAllIptables(
  desired: readonly IptablesTable[],
  observed: readonly IptablesTable[],
  owns: Ownership,
): { written: ChangeStep[]; cleaned: ChangeStep[] } {
  const written: ChangeStep[] = [];
  const cleaned: ChangeStep[] = [];
  const own = owns.iptables;
  if (!own) return { written, cleaned };
  const there = new Map(observed.map((table) => [iptablesKey(table), table]));
  const wanted = new Map(desired.map((table) => [iptablesKey(table), table]));
  for (const object of new Set([...wanted.keys(), ...there.keys()])) {
    const [before, after] = [there.get(object), wanted.get(object)];
    const { family } = after ?? before ?? { family: 4 };
    const change = diffIptables(before, after, own);
    const step = { kind: "iptables", object, family } as const;
    if (change.write !== "") written.push({ ...step, commands: change.write, table: change.written });
    if (change.clean !== "") cleaned.push({ ...step, commands: change.clean, table: change.cleaned });
  }
  return { written, cleaned };
}

function addedAddress(step: ChangeStep): LinkAddress[] {
  return step.kind === "address" && step.change.op === "add" && "address" in step.change ? [step.change.address] : [];
}

function diffSysctls(desired: KernelState, observed: KernelState, links: LinkPlan): { global: ChangeStep[]; perLink: ChangeStep[] } {
  const global: ChangeStep[] = [];
  const perLink: ChangeStep[] = [];
  for (const [key, value] of Object.entries(desired.sysctls)) {
    const link = interfaceOfSysctl(key);
    const fresh = link !== undefined && links.emptied.has(link);
    if (!fresh && sameSysctl(value, observed.sysctls[key])) continue;
    if (link !== undefined && links.awaited.has(link)) continue;
    (link === undefined ? global : perLink).push({ kind: "sysctl", object: key, key, value });
  }
  return { global, perLink };
}

function diffTables(
  desired: readonly NftTable[],
  observed: readonly NftTable[],
  owns: Ownership,
): { written: ChangeStep[]; deleted: ChangeStep[] } {
  const key = (table: { family: string; name: string }) => `${table.family} ${table.name}`;
  const there = new Map(observed.map((table) => [key(table), table]));
  const wanted = new Map(desired.map((table) => [key(table), table]));
  const written: ChangeStep[] = [];
  const deleted: ChangeStep[] = [];
  for (const [object, table] of wanted) {
    const found = there.get(object);
    // The reconciler remembers the very table that it wrote.
    if (found === table) continue;
    const step = { kind: "table", object, family: table.family, name: table.name, table } as const;
    try {
      const transactions = changeTable(found, table);
      if (transactions.length > 0) written.push({ ...step, transactions });
    } catch (unwritable) {
      written.push({ ...step, transactions: [], unwritable });
    }
  }
  for (const { family, name } of owns.tables) {
    const object = `${family} ${name}`;
    if (wanted.has(object) || !there.has(object)) continue;
    deleted.push({ kind: "table", object, family, name, transactions: [`delete table ${object}\n`], table: undefined });
  }
  return { written, deleted };
}
