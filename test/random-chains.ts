// Random chains of many rules, as policies of one pod are written: for what makes chains shorter.
import type { NftChain, NftRule, NftSet, NftTable } from "../src/kernel/index.ts";

/** A chain of rows of rules that allow or deny, over sets of addresses and of blocks, with and without ports. */
export function randomChain(seed: number): { readonly chain: NftChain; readonly sets: readonly NftSet[] } {
  let state = seed;
  const below = (limit: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const sets: NftSet[] = Array.from({ length: 12 }, (_, index) =>
    index % 3 === 0
      ? {
          name: `block4-${index}`,
          key: ["ipv4_addr"],
          flags: ["interval"],
          elements: [{ key: [pick(["10.0.0.0/29", "10.0.0.4/31", "10.0.0.3-10.0.0.9", "10.0.0.16/28", "10.0.0.7"])] }],
        }
      : {
          name: `peer4-${index}`,
          key: ["ipv4_addr"],
          elements: [...new Set(Array.from({ length: below(6) }, () => `10.0.0.${below(24)}`))].map((address) => ({ key: [address] })),
        },
  );
  const port = (): NftRule["matches"] => {
    if (below(3) === 0) return [];
    const right = pick<string | string[]>(["80", ["80", "443"], "443", "8000-8100", ["53", "8000-8080"]]);
    return [
      { left: "meta l4proto", op: "==", right: pick(["tcp", "udp"]) },
      { left: "th dport", op: "==", right },
    ];
  };
  const rows = Array.from({ length: 3 }, (_, row) => ({
    verdict: row === 1 ? ("drop" as const) : ("return" as const),
    length: pick([2, 20, 60]),
  }));
  const rules = rows.flatMap(({ verdict, length }, row) =>
    Array.from({ length }, (_, index): NftRule => {
      const matches: NftRule["matches"] = [
        { left: "ip saddr", op: below(20) === 0 ? "!=" : "==", right: { set: pick(sets).name } },
        ...port(),
      ];
      const owner = { kind: "NetworkPolicy", namespace: "shop", name: `p-${row}`, rule: index };
      return { matches, statements: [{ verdict }], owner };
    }),
  );
  return { chain: { name: "ingress-0123", rules: [...rules, { matches: [], statements: [{ verdict: "drop" }] }] }, sets };
}

/** The chain as the only one of a hook. */
export function tableOf(chain: NftChain, sets: readonly NftSet[]): NftTable {
  const hook = { type: "filter", hook: "forward", priority: 0, policy: "accept" } as const;
  const base: NftChain = { name: "base", hook, rules: [{ matches: [], statements: [{ verdict: "jump", chain: chain.name }] }] };
  return { family: "inet", name: "fairlead", chains: [base, chain], sets };
}
