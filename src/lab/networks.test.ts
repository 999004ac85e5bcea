import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_NETWORKS, planNetworks, takenNetworks } from "./networks.ts";

test("networks: a node's share, and the addresses that are given out first", () => {
  const rows: readonly (readonly [string[], string[], number, { 4: number; 6: number }, string, string])[] = [
    [[...DEFAULT_NETWORKS.podCidrs], [...DEFAULT_NETWORKS.serviceCidrs], 3, { 4: 24, 6: 64 }, "10.96.0.10", "10.96.0.1"],
    [["10.50.0.0/26"], ["10.60.0.0/28"], 3, { 4: 28, 6: 64 }, "10.60.0.10", "10.60.0.1"],
    [["10.50.0.0/24"], ["10.60.0.0/24"], 1, { 4: 24, 6: 64 }, "10.60.0.10", "10.60.0.1"],
    [["10.50.0.0/24"], ["10.60.0.0/24"], 2, { 4: 25, 6: 64 }, "10.60.0.10", "10.60.0.1"],
    [["fd00:50::/64", "10.50.0.0/16"], ["fd00:60::/112", "10.60.0.0/16"], 5, { 4: 24, 6: 67 }, "fd00:60::a", "fd00:60::1"],
  ];
  for (const [podCidrs, serviceCidrs, nodes, nodeMask, dnsAddress, apiAddress] of rows) {
    const plan = planNetworks({ podCidrs, serviceCidrs, nodes });
    assert.deepEqual(plan, { podCidrs, serviceCidrs, nodeMask, dnsAddress, apiAddress });
  }
});

test("networks: every range that is wrong is named with its option, and a way out", () => {
  const fallback = { podCidrs: ["10.50.0.0/16"], serviceCidrs: ["10.60.0.0/16"], nodes: 3 };
  const rows: readonly (readonly [Partial<typeof fallback>, RegExp])[] = [
    [{ podCidrs: [] }, /^--pod-cidr names no range \(write/],
    [{ podCidrs: ["10.50.0.0/33"] }, /^--pod-cidr: "10\.50\.0\.0\/33" is no address range/],
    [{ serviceCidrs: ["10.60.0.1/16"] }, /^--service-cidr 10\.60\.0\.1\/16: it has bits set.*\(write 10\.60\.0\.0\/16\)$/],
    [
      { serviceCidrs: ["10.0.0.0/11"], podCidrs: ["10.50.0.0/16"] },
      /it has 2097152 addresses \(a Service range of this family is from \/12/,
    ],
    [{ serviceCidrs: ["10.50.128.0/24"] }, /pod range .* and the Service range .* overlap/],
    [{ podCidrs: ["10.112.4.0/24"] }, /and the lab's underlay 10\.112\.0\.0\/16 overlap/],
    [{ podCidrs: ["198.51.0.0/16"] }, /and the lab's outside 198\.51\.100\.0\/24 overlap/],
    [{ podCidrs: ["10.50.0.0/27"], nodes: 5 }, /too small for 5 nodes \(a node needs a \/29/],
  ];
  for (const [change, expected] of rows) assert.throws(() => planNetworks({ ...fallback, ...change }), { message: expected });
});

test("networks of another cluster: its Services' addresses, and its nodes' ranges where they are not within those planned", () => {
  const planned = planNetworks({ podCidrs: ["10.50.0.0/16"], serviceCidrs: ["10.60.0.0/16"], nodes: 3 });
  const of = (taken: Partial<Parameters<typeof takenNetworks>[1]>) => takenNetworks(planned, { podCidrs: [], ...taken });
  assert.deepEqual(of({}), planned);
  assert.equal(of({ apiAddress: "172.20.0.1" }).dnsAddress, "172.20.0.10");
  assert.equal(of({ apiAddress: "fd00:1::1" }).dnsAddress, "fd00:1::a");
  assert.equal(of({ apiAddress: "172.20.0.1", dnsAddress: "172.20.7.7" }).dnsAddress, "172.20.7.7");
  assert.deepEqual(of({ podCidrs: ["10.50.3.0/24", "10.50.4.0/24"] }).podCidrs, ["10.50.0.0/16"]);
  assert.deepEqual(of({ podCidrs: ["10.50.3.0/24", "172.16.0.0/24"] }).podCidrs, ["10.50.3.0/24", "172.16.0.0/24"]);
  assert.throws(() => of({ podCidrs: ["10.112.3.0/24"] }), {
    message: /that the cluster has given 10\.112\.3\.0\/24 and the lab's underlay/,
  });
});
