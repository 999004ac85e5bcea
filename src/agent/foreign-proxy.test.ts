// A foreign proxy's parts are found, told and, if asked, removed; ours and others' are left alone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createFakeKernel } from "../kernel/index.ts";
import { foreignProxy, remarksOf } from "./foreign-proxy.ts";

function world() {
  const namespace = createFakeKernel().createNamespace();
  namespace.nft.run("add table ip kube-proxy\nadd table inet other\n");
  namespace.iptables.restore(
    4,
    "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-A - [0:0]\n:KUBE-KUBELET-CANARY - [0:0]\n:DOCKER - [0:0]\n-A KUBE-SERVICES -j KUBE-SVC-A\n-A PREROUTING -j KUBE-SERVICES\n-A PREROUTING -j DOCKER\nCOMMIT\n",
  );
  namespace.apply({ op: "add", link: { name: "kube-ipvs0", kind: { type: "other", name: "dummy" } } });
  namespace.apply({ op: "add", address: { link: "kube-ipvs0", address: "10.96.0.1/32" } });
  const service = { family: 4, protocol: "tcp", port: 443, scheduler: "rr", destinations: [] } as const;
  for (const address of ["10.96.0.1", "192.0.2.1"]) namespace.ipvs.apply({ op: "add", service: { ...service, address } });
  namespace.ipsets.create({ name: "KUBE-CLUSTER-IP", type: "hash:ip,port", family: 4 });
  namespace.ipsets.create({ name: "mine", type: "hash:ip", family: 4 });
  return namespace;
}

test("each part is told, with what it does and what to do", () => {
  assert.deepEqual(
    remarksOf(foreignProxy(world(), "nftables")).map((remark) => remark.replace(/; .*/, "")),
    [
      "another service proxy: nft table ip kube-proxy translates Services as well",
      "another service proxy: 2 KUBE- chains in table nat of iptables",
      "another service proxy: kube-ipvs0 makes Services' addresses the node's own, for IPVS",
    ],
  );
});

test("what a mode takes over is no residue", () => {
  assert.equal(foreignProxy(world(), "iptables").length, 2);
  assert.equal(foreignProxy(world(), "ipvs").length, 2);
});

test("removed, nothing of it is left, and nothing else is gone", () => {
  const namespace = world();
  for (const { remove } of foreignProxy(namespace, "nftables")) remove();
  assert.deepEqual(foreignProxy(namespace, "nftables"), []);
  assert.deepEqual(namespace.nft.listTables(), [{ family: "inet", name: "other" }]);
  const chains = namespace.iptables.save(4)[0]?.chains.map(({ name, rules }) => `${name} ${rules.join()}`);
  assert.ok(chains?.includes("PREROUTING -j DOCKER") && chains.includes("KUBE-KUBELET-CANARY "));
  assert.deepEqual(
    namespace.ipvs.list().map(({ address }) => address),
    ["192.0.2.1"],
  );
  assert.deepEqual(
    namespace.ipsets.list(() => true).map(({ name }) => name),
    ["mine"],
  );
});

test("our own are not foreign", () => {
  const namespace = createFakeKernel().createNamespace();
  namespace.iptables.restore(4, "*nat\n:KUBE-PROXY-CANARY - [0:0]\n-A KUBE-PROXY-CANARY -m comment --comment fairlead\nCOMMIT\n");
  namespace.apply({ op: "add", link: { name: "kube-ipvs0", kind: { type: "other", name: "dummy" }, ifalias: "fairlead" } });
  assert.deepEqual(foreignProxy(namespace, "nftables"), []);
});
