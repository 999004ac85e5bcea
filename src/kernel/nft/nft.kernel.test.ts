import assert from "node:assert/strict";
import { test } from "node:test";
import { createLinuxKernel, diffTable, type NftRule, type NftTable } from "../index.ts";

const rule = (matches: NftRule["matches"], ...statements: NftRule["statements"]): NftRule => ({ matches, statements });
const owner = { kind: "NetworkPolicy", namespace: "production", name: "default-deny-ingress", rule: 0 };

const TABLE: NftTable = {
  family: "inet",
  name: "fairlead",
  sets: [
    {
      name: "cidrs",
      key: ["ipv4_addr"],
      flags: ["interval"],
      elements: [{ key: ["10.0.0.0/8"] }, { key: ["192.168.0.1-192.168.0.7"] }, { key: ["1.2.3.4"], owner }],
    },
    {
      name: "services",
      key: ["ipv4_addr", "inet_proto", "inet_service"],
      value: ["verdict"],
      elements: [
        {
          key: ["10.96.0.1", "tcp", "443"],
          value: { verdict: "goto", chain: "two" },
          owner: { kind: "Service", namespace: "default", name: "kubernetes", rule: "https" },
        },
      ],
    },
    {
      name: "points",
      transport: "tcp",
      key: ["ipv4_addr", "inet_service", "integer"],
      value: ["ipv4_addr", "inet_service"],
      elements: [
        { key: ["10.96.0.1", "443", "0"], value: ["10.244.0.2", "6443"] },
        { key: ["10.96.0.1", "443", "1"], value: ["10.244.0.3", "6443"] },
      ],
    },
    {
      name: "sticky",
      key: ["ipv4_addr", "ipv4_addr", "inet_proto", "inet_service"],
      value: ["ipv4_addr", "inet_service"],
      flags: ["dynamic", "timeout"],
      timeout: 10800,
      size: 65536,
      elements: [],
    },
  ],
  chains: [
    {
      name: "two",
      rules: [rule([], { dnat: { family: 4, map: "points", key: ["ip daddr", "tcp dport", { numgen: "random", mod: 2 }] } })],
    },
    {
      name: "prerouting-nat",
      hook: { type: "nat", hook: "prerouting", priority: -100, policy: "accept" },
      rules: [
        rule([], { vmap: { key: ["ip daddr", "meta l4proto", "th dport"], map: "services" } }),
        rule(
          [
            { left: "fib daddr type", op: "==", right: "local" },
            { left: "ip daddr", op: "!=", right: "127.0.0.0/8" },
          ],
          { verdict: "jump", chain: "two" },
        ),
      ],
    },
    {
      name: "postrouting-nat",
      hook: { type: "nat", hook: "postrouting", priority: 100, policy: "accept" },
      rules: [
        rule([{ left: { field: "meta mark", mask: 0x4000 }, op: "==", right: "0x4000" }], { masquerade: { fullyRandom: true } }),
        rule(
          [
            { left: "ip saddr", op: "==", right: { set: "cidrs" } },
            { left: "ip daddr", op: "!=", right: { set: "cidrs" } },
          ],
          { masquerade: {} },
        ),
      ],
    },
    {
      name: "filter-forward",
      hook: { type: "filter", hook: "forward", priority: 0, policy: "accept" },
      rules: [
        rule([{ left: "ct state", op: "==", right: ["established", "related"] }], { verdict: "accept" }),
        rule([{ left: "icmpv6 type", op: "==", right: ["nd-neighbor-solicit", "nd-neighbor-advert"] }], { verdict: "accept" }),
        rule([{ left: "meta l4proto", op: "==", right: "tcp" }], { reject: "tcp reset" }),
        rule([], { reject: "icmpx port-unreachable" }),
        {
          matches: [
            { left: "meta l4proto", op: "==", right: "6" },
            { left: "th dport", op: "==", right: ["80", "443", "1000-2000"] },
          ],
          statements: [{ verdict: "drop" }],
          owner,
        },
        rule([{ left: "meta iifname", op: "==", right: "cni0" }], { setMark: { value: 0x4000, mask: 0xffffbfff } }),
      ],
    },
  ],
};

test("what was written is read back as it was meant: nothing more to do", () => {
  const namespace = createLinuxKernel().createNamespace();
  try {
    assert.equal(namespace.nft.readTable("inet", "fairlead"), undefined);
    namespace.nft.run(diffTable(undefined, TABLE));
    assert.equal(diffTable(namespace.nft.readTable("inet", "fairlead"), TABLE), "");
    const read = namespace.nft.readTable("inet", "fairlead");
    assert.deepEqual(read?.chains.find((chain) => chain.name === "filter-forward")?.rules[4]?.owner, owner);

    const changed: NftTable = {
      ...TABLE,
      sets: TABLE.sets.map((set) => (set.name === "points" ? { ...set, elements: set.elements.slice(1) } : set)),
      chains: TABLE.chains.filter((chain) => chain.name !== "postrouting-nat"),
    };
    const commands = diffTable(read, changed);
    assert.equal(commands.trim().split("\n").length, 3, commands);
    namespace.nft.run(commands);
    assert.equal(diffTable(namespace.nft.readTable("inet", "fairlead"), changed), "");
    assert.deepEqual(namespace.nft.listTables(), [{ family: "inet", name: "fairlead" }]);
    assert.throws(() => namespace.nft.run("add rule inet fairlead nowhere drop"), { code: "kernel" });
  } finally {
    namespace.close();
  }
});

test("50,000 elements go in and come back", () => {
  const namespace = createLinuxKernel().createNamespace();
  try {
    const elements = Array.from({ length: 50_000 }, (_, i) => ({
      key: [`10.${96 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`, "tcp", "80"],
      value: ["10.244.0.2", "8080"],
    }));
    const table: NftTable = {
      ...TABLE,
      chains: [],
      sets: [{ name: "many", key: ["ipv4_addr", "inet_proto", "inet_service"], value: ["ipv4_addr", "inet_service"], elements }],
    };
    namespace.nft.run(diffTable(undefined, table));
    assert.equal(diffTable(namespace.nft.readTable("inet", "fairlead"), table), "");
  } finally {
    namespace.close();
  }
});
