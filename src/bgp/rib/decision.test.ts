import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseAsPath } from "../wire/as-path.ts";
import { attributesOf, type Origin } from "../wire/attributes.ts";
import { nlriOf } from "../wire/nlri.ts";
import { type Candidate, compareRoutes, decide } from "./decision.ts";
import { LONG_LIVED, PathTable } from "./path-table.ts";

const BASE: Candidate = {
  attributes: attributesOf({ asPath: parseAsPath("65001 65002"), med: 10 }),
  source: { local: false, external: true, routerId: 5, addressOrder: 5n },
  pathId: 5,
  longLivedStale: false,
  metric: 5,
};
type Change = Parameters<typeof attributesOf>[0];
const changed = (attributes: Change, rest: Partial<Candidate> = {}): Candidate => ({
  ...BASE,
  ...rest,
  attributes: attributesOf({ ...BASE.attributes, ...attributes }),
});

/** What makes a route worse than BASE, in the order of the steps. Each row's change must be undone by no later one. */
const WORSE: readonly (readonly [string, Candidate])[] = [
  ["next-hop-unreachable", changed({}, { metric: undefined })],
  ["long-lived-stale", changed({}, { longLivedStale: true })],
  ["local-preference", changed({ localPref: 99 })],
  ["as-path-length", changed({ asPath: parseAsPath("65001 65002 65003") })],
  ["origin", changed({ origin: 2 })],
  ["med", changed({ med: 11 })],
  ["external-over-internal", changed({}, { source: { ...BASE.source, external: false } })],
  ["next-hop-metric", changed({}, { metric: 6 })],
  ["router-id", changed({ originatorId: 6 })],
  ["cluster-list-length", changed({ clusterList: [1] })],
  ["neighbour-address", changed({}, { source: { ...BASE.source, addressOrder: 6n } })],
  ["path-id", changed({}, { pathId: 6 })],
];

for (const [index, [reason, worse]] of WORSE.entries()) {
  test(`a route loses by ${reason}, whatever comes later`, () => {
    const tie = index >= WORSE.findIndex(([name]) => name === "router-id");
    assert.deepEqual(decide([worse, BASE]).reasons, [tie ? "multipath" : reason, "best"]);
    for (const [laterReason, later] of WORSE.slice(index + 1)) {
      assert.ok(compareRoutes(later, worse) < 0, `${laterReason} before ${reason}`);
      assert.ok(compareRoutes(worse, later) > 0);
    }
  });
}

test("a route of our own wins over one that was learned, below local preference", () => {
  const local = changed({ asPath: [] }, { source: { ...BASE.source, local: true } });
  assert.deepEqual(decide([BASE, local]).reasons, ["local-origin", "best"]);
});

test("MED counts within one neighbouring AS only, and does not depend on the order", () => {
  const of = (path: string, med: number, routerId: number) =>
    changed({ asPath: parseAsPath(path), med }, { source: { ...BASE.source, routerId } });
  // Pairwise, a beats b (router ID), b beats c (router ID), c beats a (MED): only c's AS decides a away.
  const [a, b, c] = [of("1 9", 20, 1), of("2 9", 0, 2), of("1 8", 10, 3)];
  for (const order of [
    [a, b, c],
    [c, b, a],
    [b, a, c],
    [b, c, a],
    [a, c, b],
    [c, a, b],
  ]) {
    const { best, reasons } = decide(order);
    assert.equal(order[best], b);
    assert.equal(reasons[order.indexOf(a)], "med");
  }
});

test("the tables' best is the decision's, after any sequence of changes", () => {
  const change = fc.record({
    peer: fc.integer({ min: 1, max: 5 }),
    prefix: fc.integer({ min: 0, max: 2 }),
    gone: fc.boolean(),
    localPref: fc.constantFrom(undefined, 100, 200),
    med: fc.constantFrom(undefined, 0, 5),
    path: fc.constantFrom("1 2", "1 3", "2 3", "3", ""),
    origin: fc.constantFrom<Origin>(0, 1),
    rejected: fc.boolean(),
  });
  const sourceOf = (peer: number) => ({ local: false, external: peer % 2 === 0, routerId: 10 - peer, addressOrder: BigInt(peer) });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
      const table = new PathTable(4, { sourceOf });
      const reader = { queue: table.makeQueue(), everyPath: false };
      table.addReader(reader);
      for (const { peer, prefix, gone, path, rejected, ...rest } of changes) {
        const { words } = nlriOf(4, [{ prefix: `10.0.${prefix}.0/24` }]);
        const received = attributesOf({ ...rest, asPath: parseAsPath(path) });
        if (gone) table.unset(peer, words, 2, { length: 24, pathId: 0 });
        else table.set(peer, words, 2, { length: 24, pathId: 0, received, used: rejected ? "filter" : received });
        const index = table.prefixes.find(words, 2, 24);
        if (index < 0) continue;
        const paths: number[] = [];
        for (let at = table.heads[index] ?? -1; at >= 0; at = table.next[at] ?? -1) if (typeof table.used[at] === "object") paths.push(at);
        const { best } = decide(paths.map((at) => table.candidate(at)));
        assert.equal(table.bests[index], best < 0 ? -1 : paths[best]);
        assert.equal(
          paths.some((at) => (table.marks[at] ?? 0) & LONG_LIVED),
          false,
        );
      }
      // Prefixes without a path are forgotten once their readers know.
      for (const index of table.takeChanges(reader).slice()) table.release(index);
      let held = 0;
      for (let index = 0; index < table.prefixes.end; index++) if ((table.heads[index] ?? -1) >= 0) held++;
      assert.equal(table.prefixes.size, held);
    }),
  );
});
