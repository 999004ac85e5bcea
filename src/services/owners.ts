// Who has which address and port: every one belongs to one entry, whatever others claim it.
//
// The newest version holds the map; an older one holds what was otherwise in it, and asks the next newer for the rest. So a
// change costs what it changes, and what was planned from an older table can still be asked.
import type { Fault, ServiceEntry } from "./entry.ts";

/** One entry's wish for one address, protocol and port, or node port. */
export interface Claim {
  readonly key: string;
  readonly entry: ServiceEntry;
}

/**
 * The least has it. Cluster addresses are given out before external ones, so that nobody takes over another's ClusterIP
 * by naming it in externalIPs (CVE-2020-8554); then the first by namespace, name and port.
 */
function rankOf({ key, entry }: Claim): readonly [external: 0 | 1, namespace: string, name: string, port: number] {
  return [key.startsWith(`${entry.clusterIP} `) ? 0 : 1, entry.namespace, entry.name, entry.port];
}

/** The place in words: "10.96.0.1 port 80/tcp". */
function inWords(key: string): string {
  const [at = "", protocol, port] = key.split(" ");
  return at.startsWith("node") ? `node port ${port}/${protocol}` : `${at} port ${port}/${protocol}`;
}

export class Owners {
  /** Of the newest version only. */
  #held: { readonly owners: Map<string, ServiceEntry>; readonly contested: Map<string, readonly Claim[]> } | undefined;
  #newer: Owners | undefined;
  #before: ReadonlyMap<string, ServiceEntry | undefined> = new Map();

  private constructor(held: NonNullable<Owners["held"]>) {
    this.#held = held;
  }

  static empty(): Owners {
    return new Owners({ owners: new Map(), contested: new Map() });
  }

  /** Only the newest version can be changed. */
  get isNewest(): boolean {
    return this.#held !== undefined;
  }

  private get held() {
    return this.#held;
  }

  ownerOf(key: string): ServiceEntry | undefined {
    let at: Owners = this;
    while (!at.#held) {
      if (at.#before.has(key)) return at.#before.get(key);
      at = at.#newer as Owners;
    }
    return at.#held.owners.get(key);
  }

  /** The next version, and the entries that got or lost a place by it. This one is an older version from then on. */
  change(gone: Iterable<Claim>, come: Iterable<Claim>): { readonly owners: Owners; readonly shifted: ReadonlySet<ServiceEntry> } {
    const held = this.#held;
    if (!held) throw new Error("only the newest owners can change");
    const before = new Map<string, ServiceEntry | undefined>();
    const set = (key: string, claims: readonly Claim[]) => {
      if (!before.has(key)) before.set(key, held.owners.get(key));
      const [first] = claims;
      if (first) held.owners.set(key, first.entry);
      else held.owners.delete(key);
      if (claims.length > 1) held.contested.set(key, claims);
      else held.contested.delete(key);
    };
    const claimsOf = (key: string): readonly Claim[] => {
      const owner = held.owners.get(key);
      return held.contested.get(key) ?? (owner ? [{ key, entry: owner }] : []);
    };
    for (const { key, entry } of gone)
      set(
        key,
        claimsOf(key).filter((claim) => claim.entry !== entry),
      );
    for (const claim of come) {
      const others = claimsOf(claim.key);
      if (others.length === 0) set(claim.key, [claim]);
      else if (!others.some(({ entry }) => entry === claim.entry)) set(claim.key, [...others, claim].sort(leastFirst));
    }
    const shifted = new Set<ServiceEntry>();
    for (const [key, old] of before) {
      const now = held.owners.get(key);
      if (old === now) continue;
      if (old) shifted.add(old);
      if (now) shifted.add(now);
    }
    const next = new Owners(held);
    this.#held = undefined;
    this.#newer = next;
    this.#before = before;
    return { owners: next, shifted };
  }

  /** Who claims what another has; of the newest version. */
  faults(): Fault[] {
    const faults: Fault[] = [];
    for (const [owner, ...others] of this.#held?.contested.values() ?? [])
      for (const { key, entry } of others) {
        const { namespace, name } = entry;
        const what = inWords(key);
        const says = `${what} is not served, it belongs to Service ${owner?.entry.namespace}/${owner?.entry.name} already`;
        faults.push({ namespace, name, reason: what.startsWith("node port") ? "NodePortInUse" : "AddressInUse", says });
      }
    return faults.sort((a, b) => (`${a.namespace}/${a.name} ${a.says}` < `${b.namespace}/${b.name} ${b.says}` ? -1 : 1));
  }
}

function leastFirst(one: Claim, other: Claim): number {
  const [a, b] = [rankOf(one), rankOf(other)];
  for (let at = 0; at < a.length; at++) {
    const [x, y] = [a[at] as string | number, b[at] as string | number];
    if (x !== y) return x < y ? -1 : 1;
  }
  return 0;
}
