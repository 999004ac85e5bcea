// OpenAPI v3 of what the server serves (KEP-2896): `kubectl explain` and client-side validation read it. Built from the table of fields
// and from the schemas of custom kinds.
import { groupVersionOf, type Resource } from "../resource-table.ts";
import { type Field, messageOfKind } from "./fields.ts";
import { namedFields } from "./unknown.ts";

export type Schema = Readonly<Record<string, unknown>>;

/** Where in the group version's document a message is described. */
const ref = (message: string): Schema => ({ $ref: `#/components/schemas/${message}` });

const PLAIN: Readonly<Record<string, Schema>> = {
  s: { type: "string" },
  i: { type: "integer", format: "int64" },
  b: { type: "boolean" },
  y: { type: "string", format: "byte" },
  Q: { type: "string", format: "quantity" },
  T: { type: "string", format: "date-time" },
  I: { oneOf: [{ type: "string" }, { type: "integer" }], format: "int-or-string" },
  R: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
};

function schemaOf(field: Field): Schema {
  const one = PLAIN[field.type] ?? ref(field.type);
  if (field.shape === "list") return { type: "array", items: one };
  return field.shape === "map" ? { type: "object", additionalProperties: one } : one;
}

function describe(message: string, into: Map<string, Schema>): void {
  if (into.has(message)) return;
  into.set(message, {});
  const fields = [...namedFields(message).values()];
  into.set(message, { type: "object", properties: Object.fromEntries(fields.map((field) => [field.name, schemaOf(field)] as const)) });
  for (const { type } of fields) if (type.length > 1) describe(type, into);
}

const KINDS = "x-kubernetes-group-version-kind";
const TYPE_META: Schema = { apiVersion: { type: "string" }, kind: { type: "string" } };

/** Describes a kind, a custom one under the given name. Gives the name that it has. */
function describeKind(resource: Resource, into: Map<string, Schema>, custom = resource.kind): string {
  const { group, version, kind, schema } = resource;
  const message = messageOfKind(groupVersionOf(resource), kind);
  if (message !== undefined) {
    describe(message, into);
    // Several kinds may be made of the same message, and a kind may be a part of another.
    const there = into.get(message) ?? {};
    const kinds = (there[KINDS] as readonly object[] | undefined) ?? [];
    const properties = { ...TYPE_META, ...(there.properties as Schema) };
    into.set(message, { ...there, properties, [KINDS]: [...kinds, { group, version, kind }] });
    return message;
  }
  const given = (schema ?? {}) as { readonly properties?: Schema };
  describe("ObjectMeta", into);
  const properties = { ...given.properties, ...TYPE_META, metadata: ref("ObjectMeta") };
  const open = schema === undefined ? { "x-kubernetes-preserve-unknown-fields": true } : {};
  into.set(custom, { type: "object", ...given, ...open, properties, [KINDS]: [{ group, version, kind }] });
  return custom;
}

const text = (name: string): Schema => ({ name, in: "query", schema: { type: "string", uniqueItems: true } });
const WRITE_PARAMETERS = ["dryRun", "fieldManager", "fieldValidation"].map(text);

/** The document of one group version. */
export function openApiDocument(resources: readonly Resource[]): object {
  const schemas = new Map<string, Schema>();
  const paths: Record<string, object> = {};
  for (const resource of resources) {
    const { group, version, kind, plural, namespaced } = resource;
    const name = describeKind(resource, schemas);
    const root = group ? `/apis/${groupVersionOf(resource)}` : `/api/${version}`;
    const collection = `${root}${namespaced ? "/namespaces/{namespace}" : ""}/${plural}`;
    const content = { "application/json": { schema: ref(name) } };
    const operation = (action: string) => ({
      "x-kubernetes-action": action,
      "x-kubernetes-group-version-kind": { group, version, kind },
      responses: { 200: { description: "OK", content } },
      ...(["get", "list"].includes(action) ? {} : { parameters: WRITE_PARAMETERS }),
    });
    paths[collection] = { get: operation("list"), post: operation("post") };
    paths[`${collection}/{name}`] = {
      get: operation("get"),
      put: operation("put"),
      patch: operation("patch"),
      delete: operation("delete"),
    };
  }
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version: "v1.35.0" },
    paths,
    components: { schemas: Object.fromEntries(schemas) },
  };
}

/** The schemas of kinds of any group, and of what they are made of, by name. */
export function describeKinds(resources: readonly Resource[]): ReadonlyMap<string, Schema> {
  const schemas = new Map<string, Schema>();
  for (const resource of resources) describeKind(resource, schemas, [resource.group, resource.version, resource.kind].join("."));
  return schemas;
}
