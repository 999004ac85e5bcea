// The fake's nftables reads what nft's language says, and no text makes it fall over or leaves half a transaction.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { KernelError } from "../errors.ts";
import type { NftRule, NftTable, NftTransaction } from "../netfilter.ts";
import { changeTable, diffTable, printElementChanges } from "../nft/diff.ts";
import { FakeNftables } from "./nftables.ts";

const BASE = `table inet t {
  set s { type ipv4_addr . inet_proto . inet_service; flags interval; elements = { 10.0.0.0/8 . tcp . 80 } }
  map m { type ipv4_addr : verdict; elements = { 10.0.0.1 : jump c, 10.0.0.2 : drop } }
  map d { type ipv4_addr . inet_service : ipv4_addr . inet_service; }
  set a { type ipv4_addr; size 100; flags dynamic,timeout; timeout 3h; }
  chain c { }
  chain r { type filter hook forward priority filter + 5; policy drop; }
}
`;

const RULES: readonly (readonly [string, NftRule["matches"], NftRule["statements"]])[] = [
  [
    "ip saddr 10.0.0.0/8 tcp dport { 80, 443 } accept",
    [
      { left: "ip saddr", op: "==", right: "10.0.0.0/8" },
      { left: "tcp dport", op: "==", right: ["80", "443"] },
    ],
    [{ verdict: "accept" }],
  ],
  [
    "ip daddr . meta l4proto . th dport @s counter drop",
    [{ left: ["ip daddr", "meta l4proto", "th dport"], op: "==", right: { set: "s" } }],
    [{ counter: true }, { verdict: "drop" }],
  ],
  ["ct state established,related accept", [{ left: "ct state", op: "==", right: ["established", "related"] }], [{ verdict: "accept" }]],
  ['iifname != "cni0" return', [{ left: "meta iifname", op: "!=", right: "cni0" }], [{ verdict: "return" }]],
  [
    "meta mark & 0x4000 == 0x4000 masquerade fully-random",
    [{ left: { field: "meta mark", mask: 0x4000 }, op: "==", right: "0x4000" }],
    [{ masquerade: { fullyRandom: true } }],
  ],
  ["ip saddr vmap @m", [], [{ vmap: { key: ["ip saddr"], map: "m" } }]],
  [
    "numgen random mod 2 vmap { 0 : goto c, 1 : drop }",
    [],
    [
      {
        vmap: {
          key: [{ numgen: "random", mod: 2 }],
          map: [
            { key: ["0"], value: { verdict: "goto", chain: "c" } },
            { key: ["1"], value: { verdict: "drop" } },
          ],
        },
      },
    ],
  ],
  ["meta mark set 5", [], [{ setMark: { value: 5 } }]],
  ["meta mark set meta mark | 0x4000", [], [{ setMark: { value: 0x4000, mask: 0xffffbfff } }]],
  [
    "meta l4proto tcp dnat ip to 10.0.0.1:80",
    [{ left: "meta l4proto", op: "==", right: "tcp" }],
    [{ dnat: { family: 4, address: "10.0.0.1", port: 80 } }],
  ],
  ["dnat ip to ip daddr . th dport map @d", [], [{ dnat: { family: 4, map: "d", key: ["ip daddr", "th dport"] } }]],
  ["update @a { ip saddr timeout 3h }", [], [{ update: { set: "a", key: ["ip saddr"], mode: "update", timeout: 10800 } }]],
  [
    'log prefix "no " group 7 reject with icmpx type admin-prohibited',
    [],
    [{ log: { prefix: "no ", group: 7 } }, { reject: "icmpx admin-prohibited" }],
  ],
];

for (const [text, matches, statements] of RULES) {
  test(`reads: ${text}`, () => {
    const nft = new FakeNftables();
    nft.run(`${BASE}add rule inet t c ${text}\n`);
    assert.deepEqual(nft.readTable("inet", "t")?.chains.find((chain) => chain.name === "c")?.rules, [{ matches, statements }]);
  });
}

test("what our printer writes reads back as the same table", () => {
  const table: NftTable = {
    family: "inet",
    name: "fairlead",
    sets: [
      {
        name: "pods",
        key: ["ipv4_addr"],
        flags: ["interval"],
        elements: [{ key: ["10.0.0.0/8"], owner: { kind: "NetworkPolicy", namespace: "a", name: "b", rule: 0 } }],
      },
      {
        name: "pick",
        key: ["integer", "ipv4_addr"],
        value: ["ipv4_addr", "inet_service"],
        elements: [{ key: ["0", "10.0.0.1"], value: ["10.0.0.2", "80"] }],
      },
      { name: "jumps", key: ["ipv4_addr"], value: ["verdict"], elements: [{ key: ["10.0.0.1"], value: { verdict: "goto", chain: "c" } }] },
    ],
    chains: [
      { name: "c", rules: RULES.filter(([text]) => !/@[sdma]\b/.test(text)).map(([, matches, statements]) => ({ matches, statements })) },
      {
        name: "forward",
        hook: { type: "filter", hook: "forward", priority: -5, policy: "drop" },
        rules: [
          {
            matches: [],
            statements: [{ vmap: { key: ["ip saddr"], map: "jumps" } }],
            owner: { kind: "Service", namespace: "x", name: "y", rule: "http" },
          },
        ],
      },
    ],
  };
  const nft = new FakeNftables();
  nft.run(diffTable(undefined, table));
  const read = nft.readTable("inet", "fairlead");
  assert.equal(diffTable(read, table), "");
  const smaller = { ...table, sets: table.sets.slice(0, 2), chains: [{ name: "c", rules: [] }] };
  nft.run(diffTable(read, smaller));
  assert.equal(diffTable(nft.readTable("inet", "fairlead"), smaller), "");
});

test("any text is carried out or refused as a whole", () => {
  const words = [
    "add",
    "delete",
    "flush",
    "table",
    "chain",
    "rule",
    "set",
    "map",
    "element",
    "inet",
    "t",
    "c",
    "s",
    "m",
    "{",
    "}",
    ":",
    ";",
    "\n",
    "10.0.0.1",
    "type",
    "ipv4_addr",
    "accept",
    "jump",
    "ip",
    "saddr",
    "@s",
    "vmap",
    "comment",
    '"x"',
    ".",
    ",",
    "timeout",
    "(",
    "to",
    "dnat",
  ];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...words), { maxLength: 24 }), (text) => {
      const nft = new FakeNftables();
      nft.run(BASE);
      const before = JSON.stringify([nft.listTables(), nft.readTable("inet", "t")]);
      try {
        nft.run(text.join(" "));
      } catch (error) {
        assert.ok(error instanceof KernelError, String(error));
        assert.equal(JSON.stringify([nft.listTables(), nft.readTable("inet", "t")]), before);
      }
    }),
    { numRuns: 2000, seed: 84 },
  );
});

test("large new sets are filled before anything looks into them; what is there already is changed at once", () => {
  const elements = (count: number) => Array.from({ length: count }, (_, at) => ({ key: [`10.0.${at >> 8}.${at & 255}`] }));
  const table = (count: number): NftTable => ({
    family: "inet",
    name: "fairlead",
    chains: [
      { name: "c", rules: [{ matches: [{ left: "ip daddr", op: "==", right: { set: "many" } }], statements: [{ verdict: "drop" }] }] },
    ],
    sets: [{ name: "many", key: ["ipv4_addr"], elements: elements(count) }],
  });
  const nft = new FakeNftables();
  const transactions = changeTable(undefined, table(12_000)).map(textOf);
  assert.equal(transactions.length, 5);
  const last = transactions.pop() ?? "";
  for (const fill of transactions) {
    nft.run(fill);
    assert.deepEqual(nft.readTable("inet", "fairlead")?.chains, []);
  }
  assert.doesNotMatch(last, /element/);
  nft.run(last);
  assert.equal(diffTable(nft.readTable("inet", "fairlead"), table(12_000)), "");
  const next = changeTable(table(100), table(12_000));
  assert.deepEqual(
    next.map(textOf).map((text) => /^add element/.test(text)),
    [true],
  );
});

function textOf(transaction: NftTransaction): string {
  return typeof transaction === "string" ? transaction : printElementChanges(transaction);
}
