// TCP packets in the middle of a connection that the kernel does not know (any more): at pods that policies select they are reset.
//
// A connection that was cut must not come back the other way round: Linux takes the next packet, whoever sends it, for the
// beginning of a connection. Were that the server's, its client would be the one who answers, and answers always pass.
import type { Family } from "../base/index.ts";
import type { NftChain, NftElement, NftRule, NftSet } from "../kernel/index.ts";

const CHAIN = "policy-midstream";
const SYN: NftRule = { matches: [{ left: "tcp flags", op: "==", right: "syn" }], statements: [{ verdict: "return" }] };

/** Sends what may be in the middle of an unknown connection to the chain. */
export const MIDSTREAM: NftRule = {
  matches: [
    { left: "ct state", op: "==", right: "new" },
    { left: "meta l4proto", op: "==", right: "tcp" },
  ],
  statements: [{ verdict: "jump", chain: CHAIN }],
};

/** Whether a rule only concerns packets in the middle of connections. */
export function isMidstream({ statements: [statement] }: NftRule): boolean {
  return statement !== undefined && "chain" in statement && statement.chain === CHAIN;
}

/** `selected`: the addresses of local pods that policies select in either direction. */
export function planMidstream(
  families: readonly Family[],
  selected: Readonly<Record<Family, readonly NftElement[]>>,
): { readonly chain: NftChain; readonly sets: readonly NftSet[] } {
  const sets = families.map(
    (family): NftSet => ({ name: `pod-selected${family}`, key: [family === 4 ? "ipv4_addr" : "ipv6_addr"], elements: selected[family] }),
  );
  const resets = families.flatMap((family) =>
    (["saddr", "daddr"] as const).map(
      (which): NftRule => ({
        matches: [
          { left: "meta l4proto", op: "==", right: "tcp" },
          { left: family === 4 ? `ip ${which}` : `ip6 ${which}`, op: "==", right: { set: `pod-selected${family}` } },
        ],
        statements: [{ reject: "tcp reset" }],
        owner: { kind: "Fairlead", name: "unknown-connection" },
      }),
    ),
  );
  return { chain: { name: CHAIN, rules: [SYN, ...resets] }, sets };
}
