// Elements written by messages of our own are those that nft writes: every type of key and value, beside the same by libnftables.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { createLinuxKernel, isErrno, type NetworkNamespace } from "../index.ts";
import type { ElementChange, NftElement, NftSet, NftTable } from "../netfilter.ts";
import { changeTable, printElementChanges } from "../nft/diff.ts";
import { printTable } from "../nft/print.ts";
import { encodeElementChanges } from "./nft-elements.ts";

const owner = { kind: "Service", namespace: "shop", name: "web", rule: "http" } as const;
const SETS: readonly NftSet[] = [
  set("one4", ["ipv4_addr"], [{ key: ["10.96.0.10"], owner }, { key: ["10.96.0.11"] }]),
  set("one6", ["ipv6_addr"], [{ key: ["fd00:10:96::a"], owner }]),
  set("protocols", ["inet_proto"], [{ key: ["tcp"] }, { key: ["sctp"] }]),
  set("ports", ["inet_service"], [{ key: ["53"] }, { key: ["8080"] }]),
  set("marks", ["mark"], [{ key: ["0x00004000"] }, { key: ["0x00000011"] }]),
  set("links", ["ifname"], [{ key: ["cali0123456789a"] }, { key: ["eth0"], owner }]),
  set("macs", ["ether_addr"], [{ key: ["02:00:00:00:00:0a"] }]),
  set("three", ["ipv4_addr", "inet_proto", "inet_service"], [{ key: ["10.96.0.10", "udp", "53"], owner }]),
  set("sources", ["ifname", "ipv6_addr"], [{ key: ["cali0", "fd00::1"] }]),
  set("macs-of", ["ether_addr", "ipv4_addr"], [{ key: ["02:00:00:00:00:0a", "10.0.0.1"] }]),
  {
    name: "ends",
    key: ["ipv4_addr", "inet_service", "integer"],
    value: ["ipv4_addr", "inet_service"],
    transport: "udp",
    elements: [
      { key: ["10.96.0.10", "53", "0"], value: ["10.244.0.7", "5353"], owner },
      { key: ["10.96.0.10", "53", "300"], value: ["10.244.0.8", "53"] },
    ],
  },
  {
    name: "ids",
    key: ["ipv6_addr", "inet_service", "integer"],
    value: ["mark"],
    transport: "tcp",
    elements: [{ key: ["fd00::a", "80", "1"], value: ["0x12345678"], owner }],
  },
  {
    name: "verdicts",
    key: ["ipv4_addr"],
    value: ["verdict"],
    elements: [
      { key: ["10.0.0.1"], value: { verdict: "goto", chain: "web" }, owner },
      { key: ["10.0.0.2"], value: { verdict: "jump", chain: "web" } },
      { key: ["10.0.0.3"], value: { verdict: "drop" } },
      { key: ["10.0.0.4"], value: { verdict: "accept" } },
      { key: ["10.0.0.5"], value: { verdict: "return" } },
      { key: ["10.0.0.6"], value: { verdict: "continue" } },
    ],
  },
];

function set(name: string, key: NftSet["key"], elements: readonly NftElement[]): NftSet {
  return { name, key, elements };
}

const table = (sets: readonly NftSet[]): NftTable => ({ family: "inet", name: "t", chains: [{ name: "web", rules: [] }], sets });
const EMPTY = table(SETS.map((each) => ({ ...each, elements: [] })));
const added = (each: NftSet): ElementChange => ({ family: "inet", table: "t", set: each, removed: [], added: each.elements });
const removed = (each: NftSet): ElementChange => ({ family: "inet", table: "t", set: each, removed: each.elements, added: [] });
const listed = (namespace: NetworkNamespace) =>
  namespace.run(() => spawnSync("nft", ["list", "table", "inet", "t"], { encoding: "utf8" })).stdout;

function within(check: (namespace: NetworkNamespace, other: NetworkNamespace) => void): void {
  const kernel = createLinuxKernel();
  const [namespace, other] = [kernel.createNamespace(), kernel.createNamespace()];
  try {
    check(namespace, other);
  } finally {
    namespace.close();
    other.close();
  }
}

test("every type of key and value, with and without an owner, as nft lists it", () =>
  within((namespace, other) => {
    for (const each of [namespace, other]) each.nft.run(printTable(EMPTY));
    const changes = SETS.map(added);
    assert.ok(encodeElementChanges(changes), "all of them are written here");
    namespace.nft.run(changes);
    other.nft.run(printElementChanges(changes));
    assert.equal(listed(namespace), listed(other));
    assert.deepEqual(changeTable(namespace.nft.readTable("inet", "t"), table(SETS)), []);
    namespace.nft.run(SETS.map(removed));
    assert.deepEqual(changeTable(namespace.nft.readTable("inet", "t"), EMPTY), []);
  }));

test("what is replaced has gone before it comes; a refused change leaves all as it was, and says why", () =>
  within((namespace) => {
    namespace.nft.run(printTable(table(SETS)));
    const [ends] = SETS.filter(({ name }) => name === "ends");
    const [first] = ends?.elements ?? [];
    if (!ends || !first) assert.fail();
    const moved = { ...first, value: ["10.244.9.9", "1"] };
    namespace.nft.run([{ family: "inet", table: "t", set: ends, removed: [first], added: [moved] }]);
    const before = listed(namespace);
    assert.match(before, /10\.96\.0\.10 \. 53 \. 0 comment "[^"]+" : 10\.244\.9\.9 \. 1/);
    const good: ElementChange = { ...added(SETS[0] as NftSet), added: [{ key: ["10.96.0.99"] }] };
    for (const bad of [
      { ...removed(ends), removed: [{ key: ["10.96.0.10", "53", "77"] }] },
      { ...added(ends), added: [first] },
      { ...good, set: { ...(SETS[0] as NftSet), name: "nowhere" } },
      { ...good, table: "nowhere" },
    ] satisfies ElementChange[])
      for (const changes of [
        [good, bad],
        [bad, good],
      ])
        assert.throws(
          () => namespace.nft.run(changes),
          (error) => isErrno(error, "ENOENT") || isErrno(error, "EEXIST"),
        );
    assert.equal(listed(namespace), before);
    namespace.nft.run([]);
    namespace.nft.run([good]);
    assert.notEqual(listed(namespace), before, "the socket is in order after refusals");
  }));

test("many elements are one change, whatever a message or an attribute has room for", () =>
  within((namespace) => {
    const elements = Array.from({ length: 60_000 }, (_, at) => ({ key: [`10.1.${at >> 8}.${at & 255}`], owner }));
    const many = set("many", ["ipv4_addr"], elements);
    const [head, ...fills] = changeTable(undefined, table([many]));
    assert.deepEqual(
      [typeof head, fills.length > 10, fills.slice(0, -1).every((fill) => typeof fill !== "string")],
      ["string", true, true],
    );
    for (const transaction of [head ?? "", ...fills]) namespace.nft.run(transaction);
    assert.deepEqual(changeTable(namespace.nft.readTable("inet", "t"), table([many])), []);
    namespace.nft.run([removed(many)]);
    namespace.nft.run([added(many)]);
    assert.deepEqual(changeTable(namespace.nft.readTable("inet", "t"), table([many])), []);
  }));

test("what is not of a plain value is left to nft: ranges, prefixes, names; what nft does not understand is refused", () =>
  within((namespace) => {
    const ranges: NftSet = {
      name: "ranges",
      key: ["ipv4_addr"],
      flags: ["interval"],
      elements: [{ key: ["10.0.0.0/8"] }, { key: ["172.16.0.1-172.16.0.9"] }],
    };
    const named = set("named", ["inet_service"], [{ key: ["domain"] }]);
    const prefixes = set("prefixes", ["ifname"], [{ key: ["eth*"] }]);
    namespace.nft.run(
      printTable(table([ranges, { ...named, elements: [] }, { ...prefixes, elements: [] }].map((each) => ({ ...each, elements: [] })))),
    );
    for (const each of [ranges, named, prefixes]) assert.equal(encodeElementChanges([added(each)]), undefined, each.name);
    for (const each of [ranges, named]) namespace.nft.run([added(each)]);
    assert.match(listed(namespace), /10\.0\.0\.0\/8, 172\.16\.0\.1-172\.16\.0\.9/);
    for (const [type, text] of [
      ["ipv4_addr", "10.0.0.256"],
      ["ipv4_addr", "fd00::1"],
      ["ipv6_addr", "10.0.0.1"],
      ["inet_service", "65536"],
      ["inet_service", "-1"],
      ["inet_proto", "256"],
      ["mark", "0x100000000"],
      ["ether_addr", "02:00"],
      ["ifname", "a-name-of-16-byte"],
      ["verdict", "drop"],
    ] as const) {
      const change = added(set("x", [type], [{ key: [text] }]));
      assert.equal(encodeElementChanges([change]), undefined, `${type} ${text}`);
      assert.throws(() => namespace.nft.run([change]), `${type} ${text}`);
    }
  }));
