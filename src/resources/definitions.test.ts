import assert from "node:assert/strict";
import { test } from "node:test";
import { definitionsOf } from "./definitions.ts";

test("a kind of several versions has one definition, whose first version is stored", () => {
  const [definition, ...more] = definitionsOf(({ kind }) => kind === "CiliumCIDRGroup");
  assert.deepEqual(more, []);
  assert.equal(definition?.metadata.name, "ciliumcidrgroups.cilium.io");
  assert.deepEqual(
    definition?.spec.versions.map(({ name, storage }) => [name, storage]),
    [
      ["v2", true],
      ["v2alpha1", false],
    ],
  );
  assert.deepEqual(definition?.spec.names.shortNames, ["ccg"]);
});

test("Kubernetes' own kinds need none; those of its projects say that nobody approved them", () => {
  assert.deepEqual(
    definitionsOf(({ group }) => group === "apps" || group === ""),
    [],
  );
  const [anp] = definitionsOf(({ kind }) => kind === "AdminNetworkPolicy");
  assert.match(anp?.metadata.annotations?.["api-approved.kubernetes.io"] ?? "", /^unapproved, /);
  assert.equal(anp?.spec.scope, "Cluster");
  const [block] = definitionsOf(({ kind }) => kind === "IPAMBlock");
  assert.equal(block?.metadata.annotations, undefined);
});
