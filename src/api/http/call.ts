// What the handlers of all verbs share: a call, its answer, who writes, and what a patch makes of an object.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { KubeObject } from "../../resources/index.ts";
import type { Access } from "../access/authenticate.ts";
import type { Identity } from "../access/identity.ts";
import { ownersAfterUpdate, readManagedFields, type Writer, writeManagedFields } from "../apply/managed-fields.ts";
import { builtinShapes, schemaShapes } from "../apply/shape.ts";
import { ApiError, badRequest, notFound } from "../errors.ts";
import { applyJsonPatch } from "../patch/json-patch.ts";
import { applyMergePatch, isMap, type Json } from "../patch/merge-patch.ts";
import { applyStrategicMerge } from "../patch/strategic-merge.ts";
import { tableOf } from "../printers/printers.ts";
import { groupVersionOf, type Resource } from "../resource-table.ts";
import { prune } from "../schema/structural.ts";
import { withoutUnknown } from "../schema/unknown.ts";
import { textOf } from "../serialized.ts";
import type { SqliteStore } from "../sqlite-store.ts";
import type { DeleteOptions, WriteOptions } from "../store.ts";
import { json, jsonText } from "./json-answer.ts";

/** A request, understood as far as its path goes. */
export interface ApiCall {
  readonly store: SqliteStore;
  readonly resource: Resource;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  readonly method: string;
  readonly query: URLSearchParams;
  readonly accept: string;
  readonly contentType: string;
  readonly userAgent: string;
  readonly identity: Identity;
  readonly access: Access;
  /** What the client is told beside the answer (RFC 7234 §5.5). */
  readonly warnings: string[];
  /** The body's document; undefined where there is none. */
  readonly body: () => Promise<unknown>;
  /** The connection, for an answer that is written as it comes. */
  readonly incoming: IncomingMessage;
  readonly outgoing: ServerResponse;
}

export function shape(call: ApiCall, header: boolean) {
  const { kind, group, columns } = call.resource;
  return { kind, group, columns, include: call.query.get("includeObject") ?? undefined, now: Date.now(), header };
}

export function answer(call: ApiCall, object: KubeObject, code = 200): Response {
  if (!call.accept.includes("as=Table")) return jsonText(`${textOf(object)}\n`, code);
  return json(tableOf(shape(call, true), [object], { resourceVersion: object.metadata.resourceVersion }), code);
}

export function dryRun(call: ApiCall): boolean {
  const asked = call.query.getAll("dryRun");
  if (asked.some((value) => value !== "All")) throw badRequest(`Invalid value: "${asked}": dryRun may be "All"`);
  return asked.length > 0;
}

export function present(call: ApiCall): KubeObject {
  const object = call.store.get(call.resource, call.namespace, call.name ?? "");
  if (!object) throw notFound(call.resource, call.name ?? "");
  return object;
}

export function placed(call: ApiCall, body: unknown): KubeObject {
  if (!isMap(body)) throw badRequest("the body is not an object");
  const metadata = isMap(body.metadata) ? body.metadata : {};
  const { namespace, name } = metadata;
  if (call.namespace !== undefined && namespace !== undefined && namespace !== "" && namespace !== call.namespace) {
    throw badRequest(
      `the namespace of the provided object does not match the namespace sent on the request (${namespace}, ${call.namespace})`,
    );
  }
  if (call.name !== undefined && name !== undefined && name !== call.name) {
    throw badRequest(`the name of the object (${name}) does not match the name on the URL (${call.name})`);
  }
  const place = {
    ...(call.namespace === undefined ? {} : { namespace: call.namespace }),
    ...(call.name === undefined ? {} : { name: call.name }),
  };
  return { ...body, metadata: { ...metadata, ...place } } as unknown as KubeObject;
}

/** The object as far as its kind has the fields, as fieldValidation asks: others are refused, told, or left out in silence. @throws ApiError 400 */
export function knownFields(call: ApiCall, object: KubeObject): KubeObject {
  const mode = call.query.get("fieldValidation") || "Warn";
  if (!["Strict", "Warn", "Ignore"].includes(mode))
    throw badRequest(`fieldValidation: Unsupported value: "${mode}": supported values: "Ignore", "Strict", "Warn"`);
  const { schema, kind, version } = call.resource;
  const unknown: string[] = [];
  const known = schema
    ? (prune(object, schema, { path: "", unknown: (path) => unknown.push(path) }) as KubeObject)
    : withoutUnknown(object, { apiVersion: groupVersionOf(call.resource), kind }, (path) => unknown.push(path));
  if (unknown.length === 0) return known;
  const said = unknown.map((path) => `unknown field "${path}"`);
  if (mode === "Strict")
    throw badRequest(`${kind} in version "${version}" cannot be handled as a ${kind}: strict decoding error: ${said.join(", ")}`);
  if (mode === "Warn") call.warnings.push(...said);
  return known;
}

export function writerOf(call: ApiCall): Writer {
  const manager = call.query.get("fieldManager") || call.userAgent.split("/")[0] || "unknown";
  if (manager.length > 128) throw badRequest("fieldManager is longer than 128 characters");
  const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  return { manager, apiVersion: groupVersionOf(call.resource), subresource: call.subresource ?? "", now };
}

export function shapesOf({ resource }: ApiCall) {
  return resource.schema === undefined ? builtinShapes(resource.kind) : schemaShapes(resource.kind, resource.schema);
}

/** Who owns the fields after an ordinary write of this call. */
export function tracking(call: ApiCall): { readonly track: NonNullable<WriteOptions["track"]> } {
  const writer = writerOf(call);
  return {
    track(before, after) {
      const entries = readManagedFields(after.metadata);
      const owners = ownersAfterUpdate(entries, before, after, { writer, shapeOf: shapesOf(call) });
      return owners === entries ? undefined : writeManagedFields(owners);
    },
  };
}

export function patched(call: ApiCall, document: unknown, patch: unknown): unknown {
  switch (call.contentType) {
    case "application/json-patch+json":
      return applyJsonPatch(document, patch);
    case "application/merge-patch+json":
      return applyMergePatch(document, patch);
    case "application/strategic-merge-patch+json":
      return applyStrategicMerge(call.resource.kind, document as Json, patch);
    default:
      throw new ApiError(
        "UnsupportedMediaType",
        `the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml`,
      );
  }
}

/** Reads DeleteOptions from a body and the query. @throws ApiError 400 */
export function deleteOptions(call: ApiCall, body: unknown): DeleteOptions {
  if (!isMap(body)) throw badRequest("the body is not DeleteOptions");
  const grace =
    body.gracePeriodSeconds ?? (call.query.has("gracePeriodSeconds") ? Number(call.query.get("gracePeriodSeconds")) : undefined);
  if (grace !== undefined && grace !== null && (!Number.isInteger(grace) || Number(grace) < 0))
    throw badRequest("gracePeriodSeconds is a whole number from 0");
  const policy = body.propagationPolicy ?? call.query.get("propagationPolicy") ?? undefined;
  if (policy !== undefined && !["Foreground", "Background", "Orphan"].includes(String(policy))) {
    throw badRequest(`propagationPolicy "${policy}" is not one of Foreground, Background, Orphan`);
  }
  return {
    dryRun: dryRun(call) || Array.isArray(body.dryRun),
    ...(typeof grace === "number" ? { gracePeriodSeconds: grace } : {}),
    ...(policy === undefined ? {} : { propagationPolicy: policy as "Background" }),
    ...(isMap(body.preconditions) ? { preconditions: body.preconditions } : {}),
  };
}
