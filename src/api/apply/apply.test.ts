// Server-side apply: who owns what after a sequence of applies and updates, and what the object then is.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ApiError } from "../errors.ts";
import { applyServerSide } from "./apply.ts";
import { compare, fieldsOf, pathsOf, readFields, sayPath, union, writeFields } from "./field-set.ts";
import { ownersAfterUpdate, readManagedFields, writeManagedFields } from "./managed-fields.ts";
import { builtinShapes, schemaShapes } from "./shape.ts";

type Document = { metadata: Record<string, unknown>; [field: string]: unknown };
const shapeOf = builtinShapes("Deployment");
const writer = (manager: string, subresource = "") => ({ manager, apiVersion: "apps/v1", subresource, now: "2026-01-01T00:00:00Z" });
const object = (spec: object, metadata: object = {}): Document => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", ...metadata },
  spec,
});
const apply = (live: Document | undefined, wanted: Document, manager: string, force = false): Document =>
  applyServerSide(live, wanted, { writer: writer(manager), force, shapeOf });
const update = (live: Document, after: Document, manager: string): Document => {
  const owners = ownersAfterUpdate(readManagedFields(live.metadata), live, after, { writer: writer(manager), shapeOf });
  return { ...after, metadata: { ...after.metadata, managedFields: writeManagedFields(owners) } };
};
const bare = ({ metadata, ...rest }: Document) => {
  const { managedFields: _, ...others } = metadata;
  return { ...rest, metadata: others };
};
const owned = (live: Document, manager: string) =>
  readManagedFields(live.metadata)
    .filter((entry) => entry.manager === manager)
    .flatMap(({ fields }) => [...pathsOf(fields)].map(sayPath))
    .sort();

test("what a manager leaves out is taken away, unless another wants it too", () => {
  let live = apply(undefined, object({ replicas: 2, paused: true }, { labels: { a: "1", b: "2" } }), "one");
  live = apply(live, object({ replicas: 2 }, { labels: { c: "3" } }), "two");
  live = apply(live, object({ paused: true }, { labels: { a: "1" } }), "one");
  assert.deepEqual(bare(live), object({ replicas: 2, paused: true }, { labels: { a: "1", c: "3" } }));
  live = apply(live, object({}), "two");
  assert.deepEqual(bare(live), object({ paused: true }, { labels: { a: "1" } }));
  assert.deepEqual(owned(live, "one"), [".metadata.labels.a", ".spec.paused"]);
});

test("what defaults have filled in goes with the field that they belong to", () => {
  const containers = (...more: object[]) =>
    object({ template: { spec: { containers: [Object.assign({ name: "web", image: "web:1" }, ...more)] } } });
  const probe = { tcpSocket: { port: 81 }, periodSeconds: 1 };
  const live = apply(undefined, containers({ readinessProbe: probe }), "one");
  const filled = {
    ...live,
    ...containers({ readinessProbe: { ...probe, failureThreshold: 3 }, imagePullPolicy: "Always" }),
    metadata: live.metadata,
  };
  assert.deepEqual(bare(apply(filled, containers(), "one")), containers({ imagePullPolicy: "Always" }));
  // Somebody else's field keeps it.
  const others = update(filled, containers({ readinessProbe: { ...probe, failureThreshold: 5 }, imagePullPolicy: "Always" }), "two");
  assert.deepEqual(
    bare(apply(others, containers(), "one")),
    containers({ readinessProbe: { failureThreshold: 5 }, imagePullPolicy: "Always" }),
  );
  // What others wrote into metadata without owning it stays.
  const noted = apply(undefined, object({ replicas: 1 }, { annotations: { mine: "1" } }), "one");
  const revised = { ...noted, metadata: { ...noted.metadata, annotations: { mine: "1", revision: "4" } } };
  assert.deepEqual(bare(apply(revised, object({ replicas: 1 }), "one")), object({ replicas: 1 }, { annotations: { revision: "4" } }));
});

test("another manager's value is a conflict that names field and manager, and force takes it over", () => {
  const live = apply(undefined, object({ replicas: 2 }), "one");
  assert.throws(
    () => apply(live, object({ replicas: 3 }), "two"),
    (error: unknown) =>
      error instanceof ApiError &&
      error.httpCode === 409 &&
      error.message === 'Apply failed with 1 conflict: conflict with "one" using apps/v1: .spec.replicas' &&
      error.details?.causes?.[0]?.field === ".spec.replicas" &&
      error.details.causes[0].reason === "FieldManagerConflict",
  );
  const forced = apply(live, object({ replicas: 3 }), "two", true);
  assert.deepEqual(owned(forced, "one"), []);
  assert.deepEqual(bare(apply(forced, object({}), "one")), object({ replicas: 3 }));
});

test("the same value is owned by both, and is no conflict", () => {
  const live = apply(apply(undefined, object({ replicas: 2 }), "one"), object({ replicas: 2 }), "two");
  assert.deepEqual(owned(live, "one"), [".spec.replicas"]);
  assert.deepEqual(owned(live, "two"), [".spec.replicas"]);
});

test("an ordinary write owns what it changes, alone", () => {
  let live = apply(undefined, object({ replicas: 2, paused: true }), "one");
  live = update(live, { ...live, spec: { replicas: 5, paused: true } }, "scaler");
  assert.deepEqual(owned(live, "scaler"), [".spec.replicas"]);
  assert.deepEqual(owned(live, "one"), [".spec.paused"]);
  assert.throws(() => apply(live, object({ replicas: 2, paused: true }), "one"), /conflict with "scaler"/);
  assert.deepEqual(bare(apply(live, object({ paused: true }), "one")), object({ replicas: 5, paused: true }));
});

test("lists with keys merge by them, sets by value, others are one value", () => {
  const pod = (containers: object[], more: object = {}, metadata: object = {}) =>
    object({ template: { spec: { containers, ...more } } }, metadata);
  let live = apply(undefined, pod([{ name: "a", image: "a:1", args: ["x"] }], {}, { finalizers: ["f/1"] }), "one");
  live = apply(live, pod([{ name: "b", image: "b:1" }], {}, { finalizers: ["f/2"] }), "two");
  assert.deepEqual(
    bare(live),
    pod(
      [
        { name: "b", image: "b:1" },
        { name: "a", image: "a:1", args: ["x"] },
      ],
      {},
      { finalizers: ["f/2", "f/1"] },
    ),
  );
  assert.deepEqual(owned(live, "two"), [
    '.metadata.finalizers[="f/2"]',
    '.spec.template.spec.containers[name="b"]',
    '.spec.template.spec.containers[name="b"].image',
    '.spec.template.spec.containers[name="b"].name',
  ]);
  live = apply(live, pod([], {}, { finalizers: [] }), "one");
  assert.deepEqual(bare(live), pod([{ name: "b", image: "b:1" }], {}, { finalizers: ["f/2"] }));
  assert.throws(() => apply(live, pod([{ name: "b", image: "b:2" }]), "three"), /containers\[name="b"\]\.image/);
  const ports = (list: object[]) => pod([{ name: "b", ports: list }]);
  live = apply(live, ports([{ containerPort: 53 }, { containerPort: 53, protocol: "UDP" }]), "four");
  assert.deepEqual(
    owned(live, "four").filter((path) => path.endsWith("]")),
    [
      '.spec.template.spec.containers[name="b"]',
      '.spec.template.spec.containers[name="b"].ports[containerPort=53,protocol="TCP"]',
      '.spec.template.spec.containers[name="b"].ports[containerPort=53,protocol="UDP"]',
    ],
  );
});

test("a schema says how the lists of a custom kind merge", () => {
  const schema = {
    properties: {
      spec: {
        properties: {
          rules: { items: { properties: { id: {} } }, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"] },
          names: { "x-kubernetes-list-type": "set" },
          whole: { "x-kubernetes-map-type": "atomic" },
        },
      },
    },
  };
  const custom = schemaShapes("Thing", schema);
  const make = (live: Document | undefined, wanted: Document, manager: string) =>
    applyServerSide(live, wanted, { writer: writer(manager), force: false, shapeOf: custom });
  let live = make(undefined, object({ rules: [{ id: 1, x: 1 }], names: ["a"], plain: [1], whole: { a: 1 } }), "one");
  live = make(live, object({ rules: [{ id: 2, x: 2 }], names: ["b"] }), "two");
  assert.deepEqual((bare(live) as Partial<Document>).spec, {
    rules: [
      { id: 2, x: 2 },
      { id: 1, x: 1 },
    ],
    names: ["b", "a"],
    plain: [1],
    whole: { a: 1 },
  });
  assert.throws(() => make(live, object({ whole: { b: 1 } }), "two"), /: \.spec\.whole$/);
});

test("sets of fields are the same after they were written and read", () => {
  const names = fc.constantFrom("a", "b", "c", "containers", "env", "finalizers");
  const tree = fc.letrec((tie) => ({
    value: fc.oneof({ maxDepth: 4 }, fc.integer(), fc.array(tie("value"), { maxLength: 3 }), tie("map")),
    map: fc.dictionary(names, tie("value"), { maxKeys: 4, noNullPrototype: true }),
  })).map;
  fc.assert(
    fc.property(tree, tree, (a, b) => {
      const [x, y] = [fieldsOf(object(a as object), shapeOf), fieldsOf(object(b as object), shapeOf)];
      assert.deepEqual(readFields(writeFields(union(x, y))), union(x, y));
      // Whatever differs is found in one of the three, and the way back finds the opposite.
      const [there, back] = [compare(a, b, shapeOf), compare(b, a, shapeOf)];
      assert.deepEqual(there.added, back.removed);
      assert.deepEqual(there.modified, back.modified);
      // Applied twice it is as applied once, and the first owner never meets a conflict of its own.
      const once = apply(undefined, object(a as object), "one");
      assert.deepEqual(apply(once, object(a as object), "one"), once);
      const both = apply(once, object(b as object), "two", true);
      assert.deepEqual(bare(apply(both, object(b as object), "two")), bare(both));
    }),
    { numRuns: 300 },
  );
});
