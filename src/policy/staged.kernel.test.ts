// Staged policies decide nothing, and the kernel counts what each of their rules would have met.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { PacketRig } from "../../test/packet-rig.ts";
import { eventually } from "../../test/patience.ts";
import { planTables, rigOf } from "../../test/three-ways.ts";
import { CALICO_CLUSTER, named } from "../../test/truth/calico-cluster.ts";
import { snapshotOf } from "../cluster/index.ts";
import { createLinuxKernel, diffTable } from "../kernel/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { NO_NAMES } from "./index.ts";

test("staged policies are counted, in their place, and not enforced", async () => {
  const snapshot = snapshotOf([
    ...CALICO_CLUSTER,
    named(
      "StagedNetworkPolicy",
      "db",
      {
        selector: "app == 'mysql'",
        order: 1,
        ingress: [
          { action: "Deny", protocol: "UDP" },
          { action: "Allow", source: { selector: "app == 'api-server'" } },
        ],
      },
      "prod",
    ),
    named("StagedKubernetesNetworkPolicy", "closed", { podSelector: { matchLabels: { app: "mysql" } } }, "prod"),
    named("NetworkPolicy", "open", { order: 2, selector: "app == 'mysql'", ingress: [{ action: "Allow", protocol: "TCP" }] }, "prod"),
  ] as KubeObject[]);
  const { nodes, pods } = rigOf(snapshot);
  const rig = new PacketRig(createLinuxKernel(), nodes, pods);
  try {
    const table = planTables(snapshot, NO_NAMES).get("node-2");
    assert.ok(table);
    rig.load("node-2", table);
    const read = rig.namespace("node-2").nft.readTable("inet", "fairlead");
    assert.equal(read && diffTable(read, table), "", "what was written is read back");

    const packet = (source: string, protocol: number, sourcePort: number) => ({
      source,
      destination: "10.244.2.2",
      protocol,
      sourcePort,
      destinationPort: 3306,
    });
    const [api, web] = ["10.244.1.2", "10.244.1.3"];
    const sent = [packet(api, 6, 1000), packet(api, 6, 1001), packet(web, 6, 1000), packet(web, 17, 1000), packet(api, 132, 1000)];
    assert.deepEqual([...rig.send(sent, ({ size }) => size === 3).keys()].sort(), [0, 1, 2], "the policy that is in force decides");

    const listing = () =>
      rig.namespace("node-2").run(() => execFileSync("nft", ["list", "table", "inet", "fairlead"], { encoding: "utf8" }));
    const counts = () => {
      // A rule of the policy may be several of the kernel's: one for each family.
      const all: Record<string, number> = {};
      for (const [, packets, owner = ""] of listing().matchAll(/counter packets (\d+).*comment "Staged([^"]*)"/g))
        all[owner] = (all[owner] ?? 0) + Number(packets);
      return all;
    };
    // What is dropped arrives nowhere, and may be counted a moment later.
    await eventually(() => Object.values(counts()).reduce((sum, packets) => sum + packets, 0) >= 7);
    assert.deepEqual(counts(), {
      "NetworkPolicy/prod/db#0": 1,
      "NetworkPolicy/prod/db#1": 3,
      "NetworkPolicy/prod/db": 1,
      "KubernetesNetworkPolicy/prod/closed": 2,
    });
  } finally {
    rig.close();
  }
});
