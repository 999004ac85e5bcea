// The directory kept by changes answers as one built anew, whatever the order.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { dnsWorld } from "../../../../test/dns-world.ts";
import { sourceFromObjects } from "../../../cluster/index.ts";
import type { EndpointSlice, KubeObject } from "../../../resources/index.ts";
import { formatRecord } from "../../text/format.ts";
import { findAnswer, type ZoneOptions } from "./answers.ts";
import { Directory, directoryOf } from "./directory.ts";
import { slimObject } from "./watched.ts";

const ROUNDS = Number(process.env.FAIRLEAD_ROUNDS ?? 100);

const options: ZoneOptions = {
  zones: ["cluster.local.", "in-addr.arpa.", "ip6.arpa."],
  domain: "cluster.local.",
  ttl: 5,
  pods: "verified",
  endpointPodNames: false,
  endpoints: true,
  ignoreEmpty: false,
  namespaces: undefined,
  namespaceLabels: undefined,
  labels: undefined,
  own: [],
};

const NAMES = [
  ...["api", "dual", "six", "empty", "mysql", "cache", "gone", "reader", "outside"].map((name) => `${name}.production.svc.cluster.local.`),
  "mysql-1.mysql.production.svc.cluster.local.",
  "10-244-1-5.production.pod.cluster.local.",
  "production.svc.cluster.local.",
  ...["1.1.96.10", "10.2.244.10", "5.1.244.10", "7.1.244.10", "99.1.244.10"].map((address) => `${address}.in-addr.arpa.`),
];

/** Everything that the names stand for, as text. */
function told(directory: Directory): string[] {
  return NAMES.flatMap((name) =>
    [1, 28, 33, 12].map((type) => {
      const zone = name.endsWith("arpa.") ? "in-addr.arpa." : "cluster.local.";
      const found = findAnswer(directory, options, { name, type, zone });
      const records = found.kind === "records" ? [...found.records, ...(found.additionals ?? [])].map(formatRecord) : [];
      return `${name} ${type} ${found.kind} ${records.sort().join(" | ")}`;
    }),
  );
}

function built(objects: Iterable<KubeObject>): Directory {
  const directory = new Directory(() => 0);
  directory.apply([...objects].map((object) => ({ type: "ADDED", object })));
  return directory;
}

const keyOf = (object: KubeObject) => `${object.kind} ${object.metadata.namespace} ${object.metadata.name}`;

test("after any changes it answers as one that was built anew (invariant 1)", () => {
  const world: KubeObject[] = dnsWorld();
  const change = fc.record({ index: fc.nat(world.length - 1), action: fc.constantFrom("add", "delete", "unready", "move") });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
      const kept = new Directory(() => 0);
      const there = new Map<string, KubeObject>();
      for (const { index, action } of changes) {
        const object = world[index] as KubeObject;
        if (action === "delete") {
          kept.apply([{ type: "DELETED", object: there.get(keyOf(object)) ?? object }]);
          there.delete(keyOf(object));
          continue;
        }
        const changed = action === "add" ? object : altered(object, action);
        kept.apply([{ type: there.has(keyOf(object)) ? "MODIFIED" : "ADDED", object: changed }]);
        there.set(keyOf(object), changed);
      }
      assert.deepEqual(told(kept), told(built(there.values())));
    }),
    { numRuns: ROUNDS },
  );
});

/** A slice whose end points are not ready, or that belongs to another Service; other objects as they are. */
function altered(object: KubeObject, action: "unready" | "move"): KubeObject {
  if (object.kind !== "EndpointSlice") return object;
  if (action === "move") return { ...object, metadata: { ...object.metadata, labels: { "kubernetes.io/service-name": "reader" } } };
  const slice = object as EndpointSlice;
  return { ...slice, endpoints: (slice.endpoints ?? []).map((each) => ({ ...each, conditions: { ready: false } })) } as EndpointSlice;
}

test("objects with only the fields that it keeps answer the same", () => {
  assert.deepEqual(told(built(dnsWorld().map(slimObject))), told(built(dnsWorld())));
});

test("what names do not show changes nothing: no serial, no call", () => {
  const directory = built(dnsWorld());
  let calls = 0;
  directory.onChange(() => calls++);
  const pod = dnsWorld().find(({ metadata, kind }) => kind === "Pod" && metadata.name === "api-1") as KubeObject;
  directory.apply([{ type: "MODIFIED", object: { ...pod, metadata: { ...pod.metadata, labels: { a: "b" } } } as KubeObject }]);
  directory.apply([{ type: "ADDED", object: { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x", namespace: "y" } } }]);
  assert.equal(calls, 0);
  directory.apply([{ type: "DELETED", object: pod }]);
  assert.equal(calls, 1);
});

test("one directory serves all that ask for a source, and follows it until the last lets go", async () => {
  const source = sourceFromObjects(dnsWorld());
  const [one, two] = [directoryOf(source), directoryOf(source)];
  assert.equal(one.directory, two.directory);
  await new Promise(setImmediate);
  assert.ok(one.directory.entry("production", "api"));
  one.release();
  one.release();
  assert.equal(directoryOf(source).directory, two.directory);
  two.release();
});
