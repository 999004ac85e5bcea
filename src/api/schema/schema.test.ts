// Schemas of custom kinds: defaults, pruning, checks and rules; fields that a kind does not have; and any schema with any value.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { valuesAt, withValueAt } from "./json-path.ts";
import { ruleFaults, unreadableRules } from "./rules.ts";
import { faultsOf, prune, type Schema, withDefaults } from "./structural.ts";
import { withoutUnknown } from "./unknown.ts";

const SPEC: Schema = {
  type: "object",
  required: ["length"],
  properties: {
    length: { type: "integer", minimum: 1, maximum: 400 },
    flag: { type: "string", enum: ["pt", "es"], default: "pt" },
    name: { type: "string", pattern: "^[a-z]+$", maxLength: 8 },
    crew: { type: "array", maxItems: 2, items: { type: "object", properties: { role: { type: "string", default: "deck" } } } },
    port: { "x-kubernetes-int-or-string": true },
    tags: { type: "object", additionalProperties: { type: "string" } },
    free: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
    one: { oneOf: [{ required: ["a"] }, { required: ["b"] }], type: "object", properties: { a: {}, b: {} } },
    when: { type: "string", format: "date-time", nullable: true },
  },
};

test("what is wrong is told by field", () => {
  const rows: readonly (readonly [object, readonly string[]])[] = [
    [{ length: 5 }, []],
    [{}, ["length FieldValueRequired"]],
    [{ length: "5" }, ["length FieldValueTypeInvalid"]],
    [{ length: 0 }, ["length FieldValueInvalid"]],
    [{ length: 1.5 }, ["length FieldValueTypeInvalid"]],
    [{ length: 5, flag: "xx" }, ["flag FieldValueNotSupported"]],
    [{ length: 5, name: "Abc" }, ["name FieldValueInvalid"]],
    [{ length: 5, name: "abcdefghi" }, ["name FieldValueInvalid"]],
    [{ length: 5, crew: [{}, {}, {}] }, ["crew FieldValueInvalid"]],
    [{ length: 5, crew: [{ role: 1 }] }, ["crew[0].role FieldValueTypeInvalid"]],
    [{ length: 5, port: "http" }, []],
    [{ length: 5, port: 80 }, []],
    [{ length: 5, port: true }, ["port FieldValueTypeInvalid"]],
    [{ length: 5, tags: { a: 1 } }, ["tags.a FieldValueTypeInvalid"]],
    [{ length: 5, one: { a: 1 } }, []],
    [{ length: 5, one: { a: 1, b: 1 } }, ["one FieldValueInvalid"]],
    [{ length: 5, when: null }, []],
    [{ length: 5, when: "yesterday" }, ["when FieldValueInvalid"]],
    [{ length: null }, ["length FieldValueInvalid"]],
  ];
  for (const [value, expected] of rows)
    assert.deepEqual(
      faultsOf(value, SPEC).map(({ field, reason }) => `${field} ${reason}`),
      expected,
      JSON.stringify(value),
    );
});

test("defaults are filled in, and unknown fields go, where the schema says nothing else", () => {
  const given = { length: 5, crew: [{ rank: 1 }], free: { any: { thing: 1 } }, tags: { a: "b" }, colour: "red" };
  const unknown: string[] = [];
  const pruned = prune(given, SPEC, { path: "spec", unknown: (path) => unknown.push(path) }, false);
  assert.deepEqual(unknown, ["spec.crew[0].rank", "spec.colour"]);
  assert.deepEqual(withDefaults(pruned, SPEC), {
    length: 5,
    flag: "pt",
    crew: [{ role: "deck" }],
    free: { any: { thing: 1 } },
    tags: { a: "b" },
  });
  const sound = { length: 5, flag: "es" };
  assert.equal(withDefaults(sound, SPEC), sound, "the same object where nothing was missing");
});

test("rules are asked with self and oldSelf; one that can't be read is told, not asked", () => {
  const schema: Schema = {
    type: "object",
    "x-kubernetes-validations": [
      { rule: "self.min <= self.max", message: "upside down" } as never,
      { rule: "self.max >= oldSelf.max" },
      { rule: "this is (no rule" },
    ],
    properties: {
      min: { type: "integer" },
      max: { type: "integer" },
      list: { type: "array", items: { type: "object", "x-kubernetes-validations": [{ rule: "has(self.a)" }] } },
    },
  };
  const faults = (value: object, old?: object) => ruleFaults(value, schema, old).map(({ field, message }) => `${field}: ${message}`);
  assert.deepEqual(faults({ min: 1, max: 2 }), []);
  assert.deepEqual(faults({ min: 3, max: 2 }), [': Invalid value: "object": upside down']);
  assert.equal(faults({ min: 1, max: 2 }, { min: 1, max: 3 }).length, 1);
  assert.deepEqual(
    ruleFaults({ min: 1, max: 2, list: [{ a: 1 }, {}] }, schema, undefined).map(({ field }) => field),
    ["list[1]"],
  );
  assert.deepEqual(unreadableRules(schema), [".: this is (no rule"]);
});

test("fields that Kubernetes' own kinds do not have are found at any depth", () => {
  const pod = {
    spec: {
      containers: [{ name: "a", imagee: "b", env: [{ name: "x", valueFrom: { fieldReff: {} } }] }],
      volumes: [{ name: "v", emptyDir: {} }],
    },
    extra: 1,
  };
  const unknown: string[] = [];
  const known = withoutUnknown(pod, { apiVersion: "v1", kind: "Pod" }, (path) => unknown.push(path));
  assert.deepEqual(unknown, ["spec.containers[0].imagee", "spec.containers[0].env[0].valueFrom.fieldReff", "extra"]);
  assert.deepEqual(known, {
    spec: { containers: [{ name: "a", env: [{ name: "x", valueFrom: {} }] }], volumes: [{ name: "v", emptyDir: {} }] },
  });
  const foreign = { spec: { anything: 1 } };
  assert.equal(
    withoutUnknown(foreign, { apiVersion: "projectcalico.org/v3", kind: "NetworkPolicy" }, () => assert.fail()),
    foreign,
  );
});

test("paths find what they name", () => {
  const object = { spec: { a: [{ n: 1 }, { n: 2 }], "b.c": 3 }, status: { conditions: [{ type: "Ready", status: "True" }] } };
  const rows: readonly (readonly [string, readonly unknown[]])[] = [
    [".spec.a[1].n", [2]],
    ["{.spec.a[*].n}", [1, 2]],
    [".spec['b.c']", [3]],
    [".spec.b\\.c", [3]],
    ['.status.conditions[?(@.type=="Ready")].status', ["True"]],
    [".none.at.all", []],
    [".spec[", []],
  ];
  for (const [path, expected] of rows) assert.deepEqual(valuesAt(object, path), expected, path);
  assert.deepEqual(withValueAt({ spec: { a: 1 } }, ".spec.b.c", 2), { spec: { a: 1, b: { c: 2 } } });
});

test("any schema, any value: nothing is thrown, and what was pruned and filled in stays so", () => {
  const value = fc.jsonValue({ maxDepth: 4 });
  const schema = fc.letrec<{ schema: Schema }>((tie) => ({
    schema: fc.record(
      {
        type: fc.constantFrom("object", "array", "string", "integer", "nonsense"),
        properties: fc.dictionary(fc.constantFrom("a", "b", "__proto__", "constructor"), tie("schema"), { maxKeys: 3 }),
        items: tie("schema"),
        additionalProperties: fc.oneof(fc.boolean(), tie("schema")),
        default: value,
        pattern: fc.constantFrom("^a", "(", "[a-z]+"),
        enum: fc.array(value, { maxLength: 2 }),
        "x-kubernetes-preserve-unknown-fields": fc.boolean(),
        "x-kubernetes-validations": fc.array(fc.record({ rule: fc.constantFrom("self.a > 1", "size(self) < 3", ")(") }), { maxLength: 2 }),
      },
      { requiredKeys: [] },
    ) as fc.Arbitrary<Schema>,
  })).schema;
  fc.assert(
    fc.property(schema, value, (of, given) => {
      faultsOf(given, of);
      ruleFaults(given, of, given);
      const pruned = prune(given, of, { path: "", unknown: () => {} });
      assert.deepEqual(prune(pruned, of, { path: "", unknown: () => assert.fail("pruned twice") }), pruned);
      const filled = withDefaults(pruned, of);
      assert.deepEqual(withDefaults(filled, of), filled);
    }),
    { numRuns: Number(process.env.RUNS ?? 200) },
  );
});

test("a value of another type than its field's is refused, with its path", () => {
  const read = (spec: object, kind = "Pod", apiVersion = "v1") =>
    withoutUnknown({ apiVersion, kind, metadata: {}, spec }, { apiVersion, kind }, () => {});
  const rows: readonly (readonly [object, string])[] = [
    [{ containers: [{ env: [{ name: 7 }] }] }, "number into Go struct field EnvVar.spec.containers[0].env[0].name of type string"],
    [{ containers: { name: "a" } }, "object into Go struct field PodSpec.spec.containers of type []struct"],
    [
      { containers: [{ ports: [{ containerPort: "80" }] }] },
      "string into Go struct field ContainerPort.spec.containers[0].ports[0].containerPort of type int",
    ],
    [{ nodeSelector: { a: true } }, "bool into Go struct field PodSpec.spec.nodeSelector of type string"],
    [{ hostNetwork: "yes" }, "string into Go struct field PodSpec.spec.hostNetwork of type bool"],
    [{ securityContext: [] }, "array into Go struct field PodSpec.spec.securityContext of type struct"],
    [{ terminationGracePeriodSeconds: 1.5 }, "number into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int"],
  ];
  for (const [spec, says] of rows)
    assert.throws(() => read(spec), { message: `Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal ${says}` });
  read({ containers: [{ name: "a", resources: { limits: { cpu: 1, memory: "1Gi" } }, command: ["a"], env: null }] });
  read(
    {
      ports: [
        { port: 80, targetPort: "http" },
        { port: 81, targetPort: 8080 },
      ],
    },
    "Service",
  );
  read({ user: "a", extra: { scopes: ["x"] } }, "SubjectAccessReview", "authorization.k8s.io/v1");
});
