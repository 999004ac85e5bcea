import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterWriter } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { holdLease } from "./lease.ts";

const LEASES = { group: "coordination.k8s.io", version: "v1", plural: "leases" };

test("a holder that is not heard of while this process stands still keeps the lease; one that is silent loses it", async (t) => {
  let now = 0;
  t.mock.method(performance, "now", () => now);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const lease = { metadata: { name: "fairlead", resourceVersion: "1" }, spec: { holderIdentity: "other", leaseDurationSeconds: 15 } };
  let looks = 0;
  const writer: ClusterWriter = {
    get: async () => {
      looks++;
      return lease as unknown as KubeObject;
    },
    create: async () => assert.fail("it is there"),
    patch: async () => lease as unknown as KubeObject,
  };
  let held = 0;
  const hold = () => {
    held++;
    return () => {};
  };
  const own = holdLease({
    writer,
    place: { resource: LEASES, namespace: "kube-system", name: "fairlead" },
    identity: "this",
    held: hold,
    log: assert.fail,
  });
  const look = async (later: number) => {
    now += later;
    t.mock.timers.tick(3000);
    await new Promise((resolve) => setImmediate(resolve));
  };
  await new Promise((resolve) => setImmediate(resolve));
  for (const later of [3000, 60_000, 3000]) await look(later);
  assert.deepEqual([looks, held], [4, 0], "a minute of standstill");
  for (let i = 0; i < 2; i++) await look(3000);
  assert.equal(held, 1);
  await own.close();
});
