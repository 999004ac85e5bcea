// DSCP marking seen on real packets: on what leaves the cluster, and on nothing else.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PacketRig } from "../../test/packet-rig.ts";
import { planTables, rigOf } from "../../test/three-ways.ts";
import { node, pod } from "../../test/truth/table.ts";
import { snapshotOf } from "../cluster/index.ts";
import { createLinuxKernel } from "../kernel/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { NO_NAMES, planPolicy } from "./index.ts";

const marked = (key: string, dscp: string, n: number, ...ips: string[]) => {
  const object = pod(key, {}, n, ips) as KubeObject;
  return { ...object, metadata: { ...object.metadata, annotations: { "qos.projectcalico.org/dscp": dscp } } };
};

test("what marked pods send out of the cluster carries the value, what stays within carries none", () => {
  const snapshot = snapshotOf([
    node(1),
    node(2),
    marked("a/voice", "EF", 1, "10.244.1.2", "fd00:10:244:1::2"),
    marked("a/bulk", "10", 1, "10.244.1.3"),
    marked("a/wrong", "urgent", 1, "10.244.1.4"),
    pod("a/plain", {}, 1, ["10.244.1.5"]),
    pod("a/far", {}, 2, ["10.244.2.2"]),
  ] as KubeObject[]);
  const { nodes, pods } = rigOf(snapshot);
  const rig = new PacketRig(createLinuxKernel(), nodes, pods);
  try {
    for (const [name, table] of planTables(snapshot, NO_NAMES)) rig.load(name, table);
    const table = rig.namespace("node-1").nft.readTable("inet", "fairlead");
    assert.deepEqual(
      table?.chains.find(({ name }) => name === "dscp-46")?.rules.flatMap(({ statements }) => statements),
      [{ setDscp: 46 }, { setDscp: 46, family: 6 }],
      "what was written is read back",
    );
    const packet = (source: string, destination: string, protocol = 6) => ({
      source,
      destination,
      protocol,
      sourcePort: 5000,
      destinationPort: 80,
    });
    const rows = [
      [packet("10.244.1.2", "203.0.113.9"), 46],
      [packet("10.244.1.2", "203.0.113.9", 17), 46],
      [packet("fd00:10:244:1::2", "2001:db8::9"), 46],
      [packet("10.244.1.3", "203.0.113.9"), 10],
      [packet("10.244.1.4", "203.0.113.9"), 0],
      [packet("10.244.1.5", "203.0.113.9"), 0],
      [packet("10.244.1.2", "10.244.1.5"), 0],
      [packet("10.244.1.2", "10.244.2.2"), 0],
      [packet("203.0.113.9", "10.244.1.2"), 0],
    ] as const;
    const arrived = rig.send(
      rows.map(([each]) => each),
      ({ size }) => size === rows.length,
    );
    assert.deepEqual(
      rows.map((_, index) => arrived.get(index)?.dscp),
      rows.map(([, dscp]) => dscp),
    );
    assert.deepEqual(planPolicy(snapshot, "node-1", []).remarks, [
      'Pod a/wrong: metadata.annotations["qos.projectcalico.org/dscp"]: "urgent" is no DSCP: a number from 0 to 63 or a name such as EF, AF41, CS1; nothing is marked',
    ]);
    assert.ok(
      !planTables(snapshot, NO_NAMES)
        .get("node-2")
        ?.chains.some(({ name }) => name.startsWith("postrouting-mangle")),
      "a node without marked pods has no such hook",
    );
  } finally {
    rig.close();
  }
});
