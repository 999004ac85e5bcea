// IPIP, which needs a kernel that has it: always, only across subnets, and what is left when the pool does not ask for it any more.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../src/resources/index.ts";
import { outputOf, raiseRouted } from "./routed-network.ts";

const POOL = { cidr: "10.244.0.0/16", natOutgoing: true };
const rows = [
  { says: "IPIP on one link", mode: "Always", subnets: false, route: /^10\.244\.1\.0\/26 via 10\.112\.0\.52 dev tunl0 proto 84 onlink/m },
  {
    says: "IPIPCrossSubnet on one link",
    mode: "CrossSubnet",
    subnets: false,
    route: /^10\.244\.1\.0\/26 via 10\.112\.0\.52 dev eth0 proto 84/m,
  },
  {
    says: "IPIPCrossSubnet over two",
    mode: "CrossSubnet",
    subnets: true,
    route: /^10\.244\.1\.0\/26 via 10\.112\.1\.52 dev tunl0 proto 84 onlink/m,
  },
] as const;

for (const { says, mode, subnets, route } of rows)
  test(says, async (t) => {
    const network = await raiseRouted({ nodes: 2, pools: { main: { ...POOL, ipipMode: mode } }, subnets });
    t.after(() => network.close());
    const [here, there] = [await network.pod(0, "a"), await network.pod(1, "b")];
    const { namespace: node, agent } = network.nodes[0] ?? assert.fail();
    const look = () => outputOf(node, "ip", "route");
    assert.ok(await network.settle(() => route.test(look())), `${look()} ${agent.status.reason} ${agent.status.remarks.join()}`);
    const ping = (...more: string[]) => here.run("ping", "-c", "1", "-W", "2", ...more, there.addresses[0] ?? "");
    assert.ok(await network.settle(() => ping() === 0));
    assert.equal(here.namespace.listLinks().find(({ name }) => name === "eth0")?.mtu, 1480);
    assert.equal(ping("-M", "do", "-s", "1452"), 0, "a full packet passes");
    assert.ok(agent.status.kernel.inSync, agent.status.kernel.lastError ?? "");
    // The pool is changed on the running network.
    const ref = { group: "projectcalico.org", version: "v3", plural: "ippools" };
    const pool = network.store.get<KubeObject & { spec: object }>(ref, undefined, "main") ?? assert.fail();
    network.store.update(ref, { ...pool, spec: { ...pool.spec, ipipMode: "Never", vxlanMode: "Always" } });
    assert.ok(await network.settle(() => /^10\.244\.1\.0\/26 via \S+ dev vxlan\.calico/m.test(look())), look());
    assert.ok(await network.settle(() => ping() === 0), "wrapped otherwise, and it still passes");
    assert.doesNotMatch(look(), /tunl0/);
    assert.ok(agent.status.kernel.inSync, agent.status.kernel.lastError ?? "");
  });
