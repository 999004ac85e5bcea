// Rules as text: words, groups, and which texts say the same.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { canonicalRule, splitGroups, splitWords, targetOf } from "./rule.ts";

test("words are those of iptables-save", () => {
  assert.deepEqual(splitWords('-m comment --comment "shop/web:http \\"x\\" cluster IP" -j KUBE-SVC-A'), [
    "-m",
    "comment",
    "--comment",
    'shop/web:http "x" cluster IP',
    "-j",
    "KUBE-SVC-A",
  ]);
});

test("an option's negation stands with it", () => {
  assert.deepEqual(splitGroups(splitWords("! -s 10.0.0.0/8 -p tcp -m tcp ! --dport 80 -m mark ! --mark 0x1/0x1 -j RETURN")), [
    ["!", "-s", "10.0.0.0/8"],
    ["-p", "tcp"],
    ["-m", "tcp", "!", "--dport", "80"],
    ["-m", "mark", "!", "--mark", "0x1/0x1"],
    ["-j", "RETURN"],
  ]);
});

test("the same in another order of matches, quotes, and with the kernel's rounding", () => {
  const equal = (a: string, b: string) => assert.equal(canonicalRule(a), canonicalRule(b));
  equal("-d 10.96.0.10/32 -p udp -m udp --dport 53 -j X", "-p udp -m udp --dport 53 -d 10.96.0.10/32 -j X");
  equal('-m comment --comment "fairlead"', "-m comment --comment fairlead");
  equal("-m statistic --mode random --probability 0.3333333333 -j X", "-m statistic --mode random --probability 0.33333333349 -j X");
  assert.notEqual(canonicalRule("-s 10.0.0.0/8 -j X"), canonicalRule("! -s 10.0.0.0/8 -j X"));
});

test("the chain or target that a rule leads to", () => {
  assert.equal(targetOf("-d 10.96.0.10/32 -j KUBE-SVC-A"), "KUBE-SVC-A");
  assert.equal(targetOf("-j MARK --set-xmark 0x4000/0x4000"), "MARK");
  assert.equal(targetOf("-g KUBE-SVC-A"), "KUBE-SVC-A");
  assert.equal(targetOf("-m comment --comment fairlead"), undefined);
});

test("any text has words and a canonical form", () => {
  fc.assert(fc.property(fc.string(), (text) => typeof canonicalRule(text) === "string"));
});
