import assert from "node:assert/strict";
import { test } from "node:test";
import { fillCorefile, nodeCacheOptions } from "./node-cache.ts";

const container = (args: string[], image = "registry.k8s.io/dns/k8s-dns-node-cache:1.26.0") => ({ name: "node-cache", image, args });

test("the words of kubernetes/dns' node cache", () => {
  assert.deepEqual(nodeCacheOptions(container(["-localip", "169.254.20.10,10.96.0.10", "-conf", "/etc/Corefile", "-upstreamsvc", "up"])), {
    addresses: ["169.254.20.10", "10.96.0.10"],
    conf: "/etc/Corefile",
    upstream: "up",
  });
  assert.deepEqual(nodeCacheOptions(container(["-localip=169.254.25.10"]))?.addresses, ["169.254.25.10"]);
  assert.equal(nodeCacheOptions(container([], "coredns/coredns")), undefined);
  assert.equal(nodeCacheOptions({ ...container([]), command: ["sh"] }), undefined);
});

test("its Corefile's placeholders are filled in", () => {
  const options = { addresses: [], conf: "", upstream: "kube-dns-upstream" };
  const text = "forward . __PILLAR__CLUSTER__DNS__\nforward . __PILLAR__UPSTREAM__SERVERS__";
  assert.equal(
    fillCorefile(text, options, { KUBE_DNS_UPSTREAM_SERVICE_HOST: "10.96.1.0" }),
    "forward . 10.96.1.0\nforward . /etc/resolv.conf",
  );
  assert.throws(() => fillCorefile(text, options, {}), /there is no Service kube-dns-upstream/);
});
