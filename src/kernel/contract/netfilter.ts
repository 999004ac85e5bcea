// What every Kernel must do with nftables, iptables, ipsets and logged packets.
import assert from "node:assert/strict";
import { test } from "node:test";
import { canonicalRule } from "../iptables/rule.ts";
import type { Kernel, NetworkNamespace } from "../kernel.ts";
import type { IpSet } from "../state.ts";
import { refused, withNode } from "./node.ts";

const NFT_BASE =
  "add table inet t\nadd chain inet t a\nadd chain inet t b\nadd set inet t s { type ipv4_addr; }\nadd map inet t m { type ipv4_addr : verdict; }\n";
const NFT_ROWS: readonly {
  readonly says: string;
  readonly given?: string;
  readonly run: string;
  readonly refused?: true;
  readonly is?: readonly string[];
}[] = [
  { says: "a jump to an absent chain", run: "add rule inet t a jump nowhere", refused: true },
  { says: "an absent table", run: "add chain inet nothing c", refused: true },
  { says: "a chain that is jumped to stays", given: "add rule inet t a jump b", run: "delete chain inet t b", refused: true },
  { says: "a set that is looked up stays", given: "add rule inet t a ip saddr @s drop", run: "delete set inet t s", refused: true },
  {
    says: "a key has one value",
    given: "add element inet t m { 10.0.0.1 : accept }",
    run: "add element inet t m { 10.0.0.1 : drop }",
    refused: true,
  },
  { says: "an absent element can't go", run: "delete element inet t s { 10.0.0.1 }", refused: true },
  { says: "nonsense", run: "add rule inet t a gibberish 7", refused: true },
  { says: "all or nothing", run: "add chain inet t c\nadd rule inet t c jump nowhere", refused: true, is: ["a", "b"] },
  {
    says: "chains in an order that makes sense only together",
    run: "add chain inet t c\nadd chain inet t d\nadd rule inet t c jump d",
    is: ["a", "b", "c", "d"],
  },
];

const IPTABLES_RULES = [
  '-d 10.96.0.10/32 -p udp -m comment --comment "shop/web:dns cluster IP" -m udp --dport 53 -j T-B',
  "! -s 10.244.0.0/16 -m statistic --mode random --probability 0.3333333333 -j T-B",
  "-p tcp -m addrtype --dst-type LOCAL -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1:8080",
  "-m mark ! --mark 0x4000/0x4000 -j RETURN",
];
const IPTABLES_BASE = `*nat\n:T-A - [0:0]\n:T-B - [0:0]\n${IPTABLES_RULES.map((rule) => `-A T-A ${rule}`).join("\n")}\n-I PREROUTING 1 -j T-A\nCOMMIT\n`;

const IPTABLES_ROWS: readonly { says: string; run: string; refused?: true; is?: readonly string[] }[] = [
  { says: "naming a chain empties it and no other", run: ":T-A - [0:0]\n-A T-A -j T-B", is: ["T-A 1", "T-B 0"] },
  { says: "a rule is deleted by what it says", run: "-D T-A -m mark ! --mark 0x4000/0x4000 -j RETURN", is: ["T-A 3", "T-B 0"] },
  { says: "a rule that is not there can't be deleted", run: "-D T-A -j RETURN", refused: true },
  { says: "a rule is put in its place", run: "-I T-A 2 -j RETURN", is: ["T-A 5", "T-B 0"] },
  { says: "a jump needs its chain", run: "-A T-A -j T-NONE", refused: true },
  { says: "a chain that is jumped to can't be deleted", run: "-X T-B", refused: true },
  { says: "a chain goes once nothing leads to it", run: "-D PREROUTING -j T-A\n:T-A - [0:0]\n-X T-A\n-X T-B", is: [] },
  { says: "a transaction with a refused line changes nothing", run: ":T-C - [0:0]\n-A T-C -j ACCEPT\n-D T-A -j RETURN", refused: true },
];

const IP_SETS: readonly IpSet[] = [
  { name: "T-A", type: "hash:ip,port", family: 4, elements: ["10.96.0.10,tcp:53", "10.96.0.10,udp:53", "10.96.0.11,sctp:7"] },
  { name: "T-B", type: "hash:ip,port", family: 6, elements: ["fd00:10:96::10,tcp:53"] },
  { name: "T-C", type: "hash:ip,port,ip", family: 4, elements: ["10.244.1.2,tcp:8080,10.244.1.2"] },
  { name: "T-D", type: "hash:ip,port,net", family: 4, elements: ["203.0.113.80,tcp:80,10.0.0.0/8"] },
  { name: "T-E", type: "bitmap:port", family: 4, elements: ["30080", "30081"] },
  { name: "T-F", type: "hash:ip", family: 6, elements: ["fd00:10:96::10"] },
];
const byName = (a: { readonly name: string }, b: { readonly name: string }) => (a.name < b.name ? -1 : 1);

export function describeNetfilter(makeKernel: () => Kernel): void {
  test("a group of logged packets has one reader, and is free again afterwards", () =>
    withNode(makeKernel(), (namespace, fabric) => {
      const read = (of: NetworkNamespace, group = 7) => of.readPacketLog(group, () => {});
      const stop = read(namespace);
      refused(() => read(namespace), "EPERM");
      read(namespace, 8)();
      read(fabric)();
      stop();
      stop();
      read(namespace)();
    }));

  for (const { says, given, run, refused: isRefused, is } of NFT_ROWS) {
    test(`nftables: ${says}`, () =>
      withNode(makeKernel(), ({ nft }) => {
        nft.run(NFT_BASE + (given ?? ""));
        if (isRefused) assert.throws(() => nft.run(run));
        else nft.run(run);
        if (is)
          assert.deepEqual(
            nft
              .readTable("inet", "t")
              ?.chains.map((chain) => chain.name)
              .sort(),
            is,
          );
      }));
  }

  test("iptables: what was restored is saved, in the kernel's chains and in others", () =>
    withNode(makeKernel(), ({ iptables }) => {
      assert.deepEqual(iptables.save(4), []);
      iptables.restore(4, IPTABLES_BASE);
      const nat = iptables.save(4).find(({ name }) => name === "nat");
      const rulesOf = (name: string) => nat?.chains.find((chain) => chain.name === name)?.rules.map(canonicalRule);
      assert.deepEqual(rulesOf("T-A"), [...IPTABLES_RULES].map(canonicalRule));
      assert.deepEqual(rulesOf("PREROUTING"), ["-j T-A"].map(canonicalRule));
      assert.deepEqual(iptables.save(6), []);
    }));

  for (const { says, run, refused: isRefused, is } of IPTABLES_ROWS)
    test(`iptables: ${says}`, () =>
      withNode(makeKernel(), ({ iptables }) => {
        iptables.restore(4, IPTABLES_BASE);
        const commands = `*nat\n${run}\nCOMMIT\n`;
        if (isRefused) assert.throws(() => iptables.restore(4, commands), { code: "iptables" });
        else iptables.restore(4, commands);
        const nat = iptables.save(4).find(({ name }) => name === "nat");
        const counts = (nat?.chains ?? []).filter(({ name }) => name.startsWith("T-")).map(({ name, rules }) => `${name} ${rules.length}`);
        assert.deepEqual(counts.sort(), is ?? ["T-A 4", "T-B 0"]);
      }));

  test("ipset: sets of every type hold what they are given, and no more", () =>
    withNode(makeKernel(), ({ ipsets }) => {
      const ours = (name: string) => name.startsWith("T-");
      for (const { elements: _elements, ...set } of IP_SETS) ipsets.create(set);
      for (const { name, elements } of IP_SETS) ipsets.change(name, { add: elements });
      const sorted = () => ipsets.list(ours).map((set) => ({ ...set, elements: [...set.elements].sort() }));
      assert.deepEqual(sorted().sort(byName), [...IP_SETS].sort(byName));
      refused(() => ipsets.create({ name: "T-A", type: "hash:ip", family: 4 }), "EEXIST");
      ipsets.change("T-A", { add: ["10.96.0.10,tcp:53"], delete: ["10.96.0.10,udp:53", "10.96.0.11,sctp:7", "10.96.0.99,udp:53"] });
      assert.deepEqual(ipsets.list((name) => name === "T-A")[0]?.elements, ["10.96.0.10,tcp:53"]);
      ipsets.destroy("T-A");
      refused(() => ipsets.destroy("T-A"), "ENOENT");
      refused(() => ipsets.change("T-A", { add: ["10.96.0.10,tcp:53"] }), "ENOENT");
      assert.equal(ipsets.list(ours).length, IP_SETS.length - 1);
    }));

  test("nftables: an absent table reads as undefined, and a deleted one is gone", () =>
    withNode(makeKernel(), ({ nft }) => {
      assert.equal(nft.readTable("inet", "t"), undefined);
      nft.run(NFT_BASE);
      assert.deepEqual(nft.listTables(), [{ family: "inet", name: "t" }]);
      nft.run("delete table inet t");
      assert.deepEqual(nft.listTables(), []);
    }));
}
