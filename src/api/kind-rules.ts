// What kinds ask for of their own: the defaults and the faults of the resources room, and the schemas of custom kinds.
import { applyDefaults, type KubeObject, validateBody } from "../resources/index.ts";
import type { MutableObject } from "./admission.ts";
import type { StatusCause } from "./errors.ts";
import { ruleFaults } from "./schema/rules.ts";
import type { Schema } from "./schema/structural.ts";
import { faultsOf, prune, withDefaults } from "./schema/structural.ts";
import type { KindRules } from "./sqlite-store.ts";

/** The rules of all kinds that are known. Metadata is checked by the store itself, for any kind. */
export const kindRules: KindRules = {
  applyDefaults(object, old, { schema }) {
    const filled = schema ? shaped(object, schema) : applyDefaults(object, old);
    if (filled === object) return;
    for (const field of Object.keys(object)) if (!(field in filled)) delete object[field];
    Object.assign(object, filled);
  },
  validate: (object, old, { schema }) =>
    schema
      ? schemaFaults(object, old, schema)
      : validateBody(object, old).map(({ reason, message, field }) => ({ reason, message, field })),
};

function shaped(object: MutableObject, schema: Schema): MutableObject {
  const pruned = prune(object, schema, { path: "", unknown: () => {} });
  return withDefaults(pruned, schema) as MutableObject;
}

function schemaFaults(object: MutableObject, old: KubeObject | undefined, schema: Schema): readonly StatusCause[] {
  const { metadata: _, apiVersion: __, kind: ___, ...body } = object;
  const { metadata: ____, ...properties } = schema.properties ?? {};
  const bare = { ...schema, properties, required: (schema.required ?? []).filter((name) => name !== "metadata") };
  const faults = faultsOf(body, bare);
  return faults.length > 0 ? faults : ruleFaults(object, schema, old);
}
