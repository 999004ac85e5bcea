// Packets that Log rules note, from a real kernel's hands: both ends named, once each, and never a flood of lines.

import assert from "node:assert/strict";
import { test } from "node:test";
import { PacketRig } from "../../test/packet-rig.ts";
import { until } from "../../test/patience.ts";
import { planTables, rigOf } from "../../test/three-ways.ts";
import { allow, CALICO_CLUSTER, named } from "../../test/truth/calico-cluster.ts";
import { snapshotOf } from "../cluster/index.ts";
import { createLinuxKernel, EMPTY_STATE } from "../kernel/index.ts";
import type { NodePlan } from "../plan/index.ts";
import { NO_NAMES } from "../policy/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { createPolicyLog } from "./policy-log.ts";

const LONG = `${"a".repeat(60)}.${"b".repeat(60)}.${"c".repeat(60)}`;
const LOG_WEB = { action: "Log", protocol: "UDP", source: { selector: "app == 'web'" } };
const FROM_ALL = { action: "Log", protocol: "TCP", source: { namespaceSelector: "all() || global()", nets: ["10.0.0.0/8", "::/0"] } };

test("what Log rules note, with the policy and its rule", async () => {
  const snapshot = snapshotOf([
    ...CALICO_CLUSTER,
    named("NetworkPolicy", "db", { selector: "app == 'mysql'", ingress: [FROM_ALL, LOG_WEB, allow()] }, "prod"),
    named("GlobalNetworkPolicy", LONG, { order: 1, selector: "app == 'mysql'", egress: [{ action: "Log", protocol: "SCTP" }, allow()] }),
  ] as KubeObject[]);
  const { nodes, pods } = rigOf(snapshot);
  const rig = new PacketRig(createLinuxKernel(), nodes, pods);
  const lines: string[] = [];
  const log = createPolicyLog(rig.namespace("node-2"), (line) => lines.push(line));
  try {
    const table = planTables(snapshot, NO_NAMES).get("node-2");
    assert.ok(table);
    rig.load("node-2", table);
    const plan = { kernel: { ...EMPTY_STATE, tables: [table] } } as unknown as NodePlan;
    log.follow(plan, snapshot);
    log.follow(plan, snapshot);
    const packet = (source: string, destination: string, protocol: number, sourcePort = 5000) => ({
      source,
      destination,
      protocol,
      sourcePort,
      destinationPort: 3306,
    });
    const [web, mysql, mysql6] = ["10.244.1.3", "10.244.2.2", "fd00:10:244:2::2"];
    // The partners' set holds the address of mon/prometheus: two ways to match, one note.
    const sent = [packet(web, mysql, 17), packet("10.244.2.4", mysql, 6), packet("fd00:10:244:1::3", mysql6, 6), packet(mysql, web, 132)];
    assert.equal(rig.send(sent, ({ size }) => size === 4).size, 4, "they were noted, and went on");
    await until(() => lines.length >= 4);
    assert.deepEqual(lines.map((line) => line.replace(/^policy log: /, "")).sort(), [
      "mon/prometheus (10.244.2.4:5000) → prod/mysql (10.244.2.2:3306) TCP: ingress rule 0 of NetworkPolicy.projectcalico.org prod/db",
      `prod/mysql (10.244.2.2:5000) → prod/web (10.244.1.3:3306) SCTP: egress rule 0 of GlobalNetworkPolicy ${LONG.slice(0, 97)}~`,
      "prod/web (10.244.1.3:5000) → prod/mysql (10.244.2.2:3306) UDP: ingress rule 1 of NetworkPolicy.projectcalico.org prod/db",
      "prod/web ([fd00:10:244:1::3]:5000) → prod/mysql ([fd00:10:244:2::2]:3306) TCP: ingress rule 0 of NetworkPolicy.projectcalico.org prod/db",
    ]);
    assert.equal(log.status.recent.length, 4);

    rig.send(Array.from({ length: 400 }, (_, index) => packet(web, mysql, 17, 6000 + index)));
    await until(() => log.status.packets >= 404);
    const { packets, unwritten, recent } = log.status;
    assert.equal(packets, 404);
    assert.ok(unwritten > 200 && lines.length < 200, `${unwritten} of ${packets} were counted only`);
    assert.equal(recent.length, 50, "the last ones are kept");
  } finally {
    log.close();
    rig.close();
  }
});
