// What the writer of rules asks about peers, and how questions and answers are kept, so that what was written can be kept too.
import type { Family } from "../base/index.ts";
import type { Peer, Selection } from "./rules.ts";

/** A look-up that tells whether an end is one of those meant: by its address, or by address, protocol and port. */
export type PeerLookup = { readonly set: string; readonly by: "address" | "port"; readonly not?: true } | "always";

export interface NamedPort {
  readonly protocol: number | undefined;
  readonly name: string;
}

/** What the writer of rules asks; what is asked for is in the sets then. */
export interface PeerLookups {
  readonly families: readonly Family[];
  /** The look-ups of which one holds for whoever one of the peers holds; none where nobody of the family is meant. */
  lookups(peers: readonly Peer[], family: Family): readonly PeerLookup[];
  /** Name of the set of (address, protocol, port) where pods of the selections have the named ports. "any": every pod of the cluster. Without a protocol: of each. */
  ports(selections: readonly Selection[] | "any", names: readonly NamedPort[], family: Family): string;
}

/** A question that the writer asked, and its answer. */
export interface Asked {
  readonly ask: (sets: PeerLookups) => readonly PeerLookup[] | string;
  readonly answer: string;
}

/** Passes questions on and notes them. */
export function noteLookups(sets: PeerLookups, asked: Asked[]): PeerLookups {
  return {
    families: sets.families,
    lookups(peers, family) {
      const found = sets.lookups(peers, family);
      asked.push({ ask: (others) => others.lookups(peers, family), answer: textOf(found) });
      return found;
    },
    ports(selections, names, family) {
      const found = sets.ports(selections, names, family);
      asked.push({ ask: (others) => others.ports(selections, names, family), answer: found });
      return found;
    },
  };
}

/** Whether all questions are answered alike by other sets; what is asked for is in these then. */
export function answerAlike(asked: readonly Asked[], sets: PeerLookups): boolean {
  return asked.every(({ ask, answer }) => textOf(ask(sets)) === answer);
}

/** One text for each meaning. */
export function textOf(found: readonly PeerLookup[] | string): string {
  if (typeof found === "string") return found;
  return found.map((lookup) => (lookup === "always" ? lookup : `${lookup.not ? "!" : ""}${lookup.by} ${lookup.set}`)).join();
}
