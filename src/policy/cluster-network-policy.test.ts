// What is not valid in cluster-wide policies, and where it is said to be; what they mean is in test/truth-tables.test.ts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { cluster, OPS, rule, type Spec } from "../../test/truth/cluster-wide.ts";
import type { KubeObject } from "../resources/index.ts";
import { readClusterPolicy } from "./cluster-network-policy.ts";

test("what is not valid is told with its place", () => {
  const remarksOf = (spec: Spec) =>
    readClusterPolicy(cluster(spec) as unknown as KubeObject).remarks.map((text) => text.replace(/^ClusterNetworkPolicy c\d+: /, ""));
  const cases: readonly [Spec, RegExp][] = [
    [{ tier: "Top" }, /^spec\.tier: "Top" is neither Admin nor Baseline/],
    [{ priority: 5000 }, /^spec\.priority: 5000 is no number from 0 to 1000/],
    [{ subject: {} }, /^spec\.subject: nothing is not followed here: namespaces, pods/],
    [rule("Drop", [OPS]), /^spec\.ingress\[0\]\.action: "Drop" is no action/],
    [
      rule("Accept", [{ pods: { podSelector: { matchExpressions: [{ key: "a", operator: "Like" }] } } }]),
      /^spec\.ingress\[0\]\.from\[0\]\.pods\.podSelector: "Like" is no operator/,
    ],
    [
      { egress: [{ action: "Accept", to: [{ networks: ["10.0.0.0"] }] }] },
      /^spec\.egress\[0\]\.to\[0\]\.networks\[0\]: "10\.0\.0\.0" is not a prefix/,
    ],
    [rule("Accept", [OPS], { protocols: [{ icmp: {} }] }), /^spec\.ingress\[0\]\.protocols\[0\]: icmp is not known/],
    [
      rule("Accept", [OPS], { protocols: [{ tcp: { destinationPort: { range: { start: 9, end: 1 } } } }] }),
      /destinationPort: 9–1 is no port or range/,
    ],
    [
      { egress: [{ action: "Accept", to: [{ domainNames: ["a b"] }] }] },
      /^spec\.egress\[0\]\.to\[0\]\.domainNames\[0\]: "a b" is no DNS name/,
    ],
    [{ egress: [{ action: "Pass", to: [{ domainNames: ["*.example.com"] }] }] }, /^spec\.egress\[0\]: domainNames go with Accept only/],
    [rule("Deny", [{ pods: 7 }, {}]), /what it says is not understood, so it denies everything/],
  ];
  for (const [spec, expected] of cases)
    assert.ok(
      remarksOf(spec).some((text) => expected.test(text)),
      `${expected}: ${remarksOf(spec).join("; ")}`,
    );
  assert.deepEqual(remarksOf(rule("Deny", [OPS])), []);
  for (const nonsense of [null, 7, "x", [], { ingress: { a: 1 }, egress: [null, 7] }, { subject: null, ingress: [{ from: "all" }] }])
    readClusterPolicy({ apiVersion: "v", kind: "ClusterNetworkPolicy", metadata: { name: "n" }, spec: nonsense } as unknown as KubeObject);
});
