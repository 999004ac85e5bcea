// OpenAPI v3 of what the server serves (KEP-2896): `kubectl explain` and client-side validation read it. Built from the table of fields
// and from the schemas of custom kinds.
import { groupVersionOf, type Resource } from "../resource-table.ts";
import { type Field, messageOfKind } from "./fields.ts";
import { namedFields } from "./unknown.ts";

type Schema = Readonly<Record<string, unknown>>;

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

function describe(message: string, into: Map<string, Schema>, more: Schema = {}, head: Schema = {}): void {
  if (into.has(message)) return;
  into.set(message, {});
  const fields = [...namedFields(message).values()];
  const properties = Object.fromEntries([...Object.entries(head), ...fields.map((field) => [field.name, schemaOf(field)] as const)]);
  into.set(message, { type: "object", properties, ...more });
  for (const { type } of fields) if (type.length > 1) describe(type, into);
}

const TYPE_META: Schema = { apiVersion: { type: "string" }, kind: { type: "string" } };

function describeKind(resource: Resource, into: Map<string, Schema>): string {
  const { group, version, kind, schema } = resource;
  const kinds = { "x-kubernetes-group-version-kind": [{ group, version, kind }] };
  const message = messageOfKind(groupVersionOf(resource), kind);
  if (message !== undefined) {
    describe(message, into, kinds, TYPE_META);
    return message;
  }
  const given = (schema ?? {}) as { readonly properties?: Schema };
  describe("ObjectMeta", into);
  const properties = { ...given.properties, ...TYPE_META, metadata: ref("ObjectMeta") };
  const open = schema === undefined ? { "x-kubernetes-preserve-unknown-fields": true } : {};
  into.set(kind, { type: "object", ...given, ...open, properties, ...kinds });
  return kind;
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

/** The same kinds as an OpenAPI v2 document, for older clients. */
export function openApiV2(resources: readonly Resource[]): object {
  const schemas = new Map<string, Schema>();
  for (const resource of resources) describeKind(resource, schemas);
  const definitions = JSON.parse(
    JSON.stringify(Object.fromEntries(schemas)).replaceAll("#/components/schemas/", "#/definitions/"),
  ) as object;
  return { swagger: "2.0", info: { title: "Kubernetes", version: "v1.35.0" }, paths: {}, definitions };
}
