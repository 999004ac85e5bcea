// The count of what stands on the nodes follows the pods' events, whatever they were before.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pod } from "../../resources/index.ts";
import { Places } from "./places.ts";

const pod = (
  name: string,
  nodeName: string | undefined,
  more: { owner?: string; hostPort?: number; phase?: string; gone?: boolean } = {},
): Pod =>
  ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      namespace: "shop",
      name,
      ...(more.owner ? { ownerReferences: [{ uid: more.owner, controller: true }] } : {}),
      ...(more.gone ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}),
    },
    spec: {
      ...(nodeName === undefined ? {} : { nodeName }),
      containers: [{ name: "c", ...(more.hostPort ? { ports: [{ containerPort: 80, hostPort: more.hostPort }] } : {}) }],
    },
    status: { phase: more.phase ?? "Running" },
  }) as unknown as Pod;
const seen = (places: Places, node = "n1") => [
  places.on(node).pods,
  places.on(node).ownedBy("set"),
  places.on(node).clash(["TCP/8080"])?.pod,
];

test("pods count from their binding until they are gone", () => {
  const places = new Places();
  const steps: readonly [event: "ADDED" | "MODIFIED" | "DELETED", object: Pod, expected: readonly unknown[]][] = [
    ["ADDED", pod("a", undefined, { owner: "set" }), [0, 0, undefined]],
    ["MODIFIED", pod("a", "n1", { owner: "set" }), [1, 1, undefined]],
    ["MODIFIED", pod("a", "n1", { owner: "set" }), [1, 1, undefined]],
    ["ADDED", pod("b", "n1", { hostPort: 8080 }), [2, 1, "shop/b"]],
    ["ADDED", pod("c", "n1", { hostPort: 8080 }), [3, 1, "shop/b"]],
    ["DELETED", pod("b", "n1", { hostPort: 8080 }), [2, 1, "shop/c"]],
    ["MODIFIED", pod("c", "n1", { hostPort: 8080, phase: "Succeeded" }), [1, 1, undefined]],
    ["MODIFIED", pod("a", "n1", { owner: "set", gone: true }), [0, 0, undefined]],
    ["DELETED", pod("a", "n1", { owner: "set" }), [0, 0, undefined]],
  ];
  for (const [type, object, expected] of steps) {
    places.apply({ type, object });
    assert.deepEqual(seen(places), expected, `${type} ${object.metadata.name}`);
  }
  assert.deepEqual(seen(places, "n2"), [0, 0, undefined]);
});
