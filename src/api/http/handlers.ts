// One handler per verb, for every resource: from a request's path, query and body to the store and back.
import type { KubeObject } from "../../resources/index.ts";
import { applyServerSide } from "../apply/apply.ts";
import { ownersAfterUpdate, readManagedFields, type Writer, writeManagedFields } from "../apply/managed-fields.ts";
import { builtinShapes, schemaShapes } from "../apply/shape.ts";
import { ApiError, badRequest, invalid, notFound } from "../errors.ts";
import { applyJsonPatch } from "../patch/json-patch.ts";
import { applyMergePatch, isMap, type Json } from "../patch/merge-patch.ts";
import { applyStrategicMerge } from "../patch/strategic-merge.ts";
import { tableOf } from "../printers/printers.ts";
import { groupVersionOf, type Resource } from "../resource-table.ts";
import type { SqliteStore } from "../sqlite-store.ts";
import type { DeleteOptions, WriteOptions } from "../store.ts";
import { watchStream } from "./watch-stream.ts";

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
  /** The body's document; undefined where there is none. */
  readonly body: () => Promise<unknown>;
}

function json(value: object, code = 200): Response {
  return new Response(`${JSON.stringify(value)}\n`, { status: code, headers: { "content-type": "application/json" } });
}

function shape(call: ApiCall, header: boolean) {
  const { kind, group } = call.resource;
  return { kind, group, include: call.query.get("includeObject") ?? undefined, now: Date.now(), header };
}

function answer(call: ApiCall, object: KubeObject, code = 200): Response {
  if (!call.accept.includes("as=Table")) return json(object, code);
  return json(tableOf(shape(call, true), [object], { resourceVersion: object.metadata.resourceVersion }), code);
}

function dryRun(call: ApiCall): boolean {
  const asked = call.query.getAll("dryRun");
  if (asked.some((value) => value !== "All")) throw badRequest(`Invalid value: "${asked}": dryRun may be "All"`);
  return asked.length > 0;
}

function selection(call: ApiCall) {
  const labelSelector = call.query.get("labelSelector");
  const fields = [call.query.get("fieldSelector"), call.name === undefined ? undefined : `metadata.name=${call.name}`];
  const fieldSelector = fields.filter((text) => text).join(",");
  return {
    ...(call.namespace === undefined ? {} : { namespace: call.namespace }),
    ...(labelSelector ? { labelSelector } : {}),
    ...(fieldSelector ? { fieldSelector } : {}),
  };
}

function seconds(text: string | null, otherwise: number): number {
  return text !== null && /^\d{1,7}$/.test(text) && Number(text) > 0 ? Number(text) : otherwise;
}

function watch(call: ApiCall): Response {
  const { store, resource, query } = call;
  const initialEvents = query.get("sendInitialEvents") === "true";
  const from = initialEvents ? undefined : (query.get("resourceVersion") ?? undefined);
  const bookmark = (initial: boolean) => {
    const metadata = {
      name: "",
      resourceVersion: store.resourceVersion,
      ...(initial ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}),
    };
    return { type: "BOOKMARK" as const, object: { apiVersion: groupVersionOf(resource), kind: resource.kind, metadata } };
  };
  const asTable = call.accept.includes("as=Table");
  const stream = watchStream({
    subscribe: (listener) =>
      store.watch(resource, { ...selection(call), ...(from === undefined ? {} : { resourceVersion: from }) }, listener),
    render: ({ object }, first) =>
      asTable ? tableOf(shape(call, first), [object], { resourceVersion: object.metadata.resourceVersion }) : object,
    bookmark: query.get("allowWatchBookmarks") === "true" ? bookmark : undefined,
    initialEvents,
    timeoutMilliseconds: seconds(query.get("timeoutSeconds"), 1800 + Math.floor(Math.random() * 1800)) * 1000,
  });
  return new Response(stream, { headers: { "content-type": "application/json" } });
}

/** The place to go on from: the version of the first page and the key of its last object. */
function readToken(text: string): { version: string; after: string } {
  try {
    const token = JSON.parse(Buffer.from(text, "base64url").toString()) as { version?: unknown; after?: unknown };
    if (typeof token.version === "string" && typeof token.after === "string") return { version: token.version, after: token.after };
  } catch {
    // Told below.
  }
  throw badRequest("continue key is not valid");
}

const keyOf = (object: KubeObject) => `${object.metadata.namespace ?? ""}\0${object.metadata.name}`;

function list(call: ApiCall): Response {
  if (["true", "1"].includes(call.query.get("watch") ?? "")) return watch(call);
  const { items: all, resourceVersion } = call.store.list(call.resource, selection(call));
  const limit = seconds(call.query.get("limit"), Number.POSITIVE_INFINITY);
  const token = call.query.get("continue");
  const after = token ? readToken(token).after : undefined;
  const rest = after === undefined ? all : all.filter((object) => keyOf(object) > after);
  const items = rest.slice(0, limit);
  const last = items.at(-1);
  const more = rest.length > items.length && last;
  const metadata = {
    resourceVersion,
    ...(more
      ? {
          continue: Buffer.from(JSON.stringify({ version: resourceVersion, after: keyOf(last) })).toString("base64url"),
          remainingItemCount: rest.length - items.length,
        }
      : {}),
  };
  if (call.accept.includes("as=Table")) return json(tableOf(shape(call, true), items, metadata));
  return json({ kind: `${call.resource.kind}List`, apiVersion: groupVersionOf(call.resource), metadata, items });
}

function present(call: ApiCall): KubeObject {
  const object = call.store.get(call.resource, call.namespace, call.name ?? "");
  if (!object) throw notFound(call.resource, call.name ?? "");
  return object;
}

function placed(call: ApiCall, body: unknown): KubeObject {
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

function writerOf(call: ApiCall): Writer {
  const manager = call.query.get("fieldManager") || call.userAgent.split("/")[0] || "unknown";
  if (manager.length > 128) throw badRequest("fieldManager is longer than 128 characters");
  const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
  return { manager, apiVersion: groupVersionOf(call.resource), subresource: call.subresource ?? "", now };
}

function shapesOf({ resource }: ApiCall) {
  return resource.schema === undefined ? builtinShapes(resource.kind) : schemaShapes(resource.kind, resource.schema);
}

/** Who owns the fields after an ordinary write of this call. */
function tracking(call: ApiCall): { readonly track: NonNullable<WriteOptions["track"]> } {
  const writer = writerOf(call);
  return {
    track(before, after) {
      const entries = readManagedFields(after.metadata);
      const owners = ownersAfterUpdate(entries, before, after, { writer, shapeOf: shapesOf(call) });
      return owners === entries ? undefined : writeManagedFields(owners);
    },
  };
}

function store(call: ApiCall, object: KubeObject, track = tracking(call).track): KubeObject {
  const { subresource } = call;
  const into = subresource === "status" || subresource === "finalize" ? ({ subresource } as const) : {};
  return call.store.update(call.resource, object, { ...into, dryRun: dryRun(call), track });
}

/** Server-side apply: makes the object, or merges what this manager wants into it. */
async function apply(call: ApiCall): Promise<Response> {
  const { resource, query, name = "" } = call;
  if (!query.get("fieldManager"))
    throw invalid("meta.k8s.io", "PatchOptions", "", [
      { reason: "FieldValueRequired", message: "Required value: is required for apply patch", field: "fieldManager" },
    ]);
  const wanted = placed(call, await call.body());
  if (wanted.apiVersion !== groupVersionOf(resource) || wanted.kind !== resource.kind)
    throw badRequest(
      `the body is a ${wanted.kind} of ${wanted.apiVersion}, and the path holds a ${resource.kind} of ${groupVersionOf(resource)}`,
    );
  if ("managedFields" in wanted.metadata && (wanted.metadata.managedFields as unknown[] | null)?.length)
    throw badRequest("metadata.managedFields must be nil");
  const live = call.store.get(resource, call.namespace, name);
  if (!live && call.subresource !== undefined) throw notFound(resource, name);
  const force = query.get("force") === "true";
  const applied = applyServerSide(live, wanted, { writer: writerOf(call), force, shapeOf: shapesOf(call) });
  const owners = (applied.metadata as { readonly managedFields?: readonly object[] }).managedFields;
  const track = () => owners;
  if (live) return answer(call, store(call, applied, track));
  return answer(call, call.store.create(resource, applied, { dryRun: dryRun(call), track }), 201);
}

function patched(call: ApiCall, document: unknown, patch: unknown): unknown {
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

async function remove(call: ApiCall): Promise<DeleteOptions> {
  const body = (await call.body()) ?? {};
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

interface Scaled extends KubeObject {
  readonly spec?: { readonly replicas?: number; readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> } };
  readonly status?: { readonly replicas?: number };
}

function scaleOf(object: Scaled): KubeObject & Json {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const labels = Object.entries(object.spec?.selector?.matchLabels ?? {});
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: JSON.parse(JSON.stringify({ name, namespace, uid, resourceVersion, creationTimestamp })) as KubeObject["metadata"],
    spec: { replicas: object.spec?.replicas ?? 1 },
    status: { replicas: object.status?.replicas ?? 0, selector: labels.map(([key, value]) => `${key}=${value}`).join(",") },
  };
}

async function scale(call: ApiCall): Promise<Response> {
  const object = present(call) as Scaled;
  if (call.method === "GET") return json(scaleOf(object));
  const body = await call.body();
  const wanted = (call.method === "PATCH" ? patched(call, scaleOf(object), body) : body) as {
    spec?: { replicas?: unknown };
    metadata?: Json;
  };
  const replicas = wanted?.spec?.replicas ?? 0;
  if (!Number.isInteger(replicas) || Number(replicas) < 0)
    throw badRequest(`spec.replicas is a whole number from 0, not ${JSON.stringify(replicas)}`);
  const version = wanted.metadata?.resourceVersion;
  const next = {
    ...object,
    metadata: { ...object.metadata, ...(version ? { resourceVersion: version } : {}) },
    spec: { ...object.spec, replicas },
  };
  return json(
    scaleOf(call.store.update(call.resource, next as unknown as KubeObject, { dryRun: dryRun(call), ...tracking(call) }) as Scaled),
  );
}

/** Answers a call on objects. @throws ApiError */
export async function handle(call: ApiCall): Promise<Response> {
  const { method, name, subresource, resource } = call;
  if (subresource === "scale" && resource.scale) return scale(call);
  const known =
    subresource === undefined ||
    (subresource === "status" && resource.status) ||
    (subresource === "finalize" && resource.kind === "Namespace");
  if (!known) throw new ApiError("NotFound", `the server could not find the requested resource: ${resource.plural}/${subresource}`);
  if (name === undefined) {
    if (method === "GET") return list(call);
    if (method === "POST")
      return answer(call, call.store.create(resource, placed(call, await call.body()), { dryRun: dryRun(call), ...tracking(call) }), 201);
    if (method === "DELETE") {
      const options = await remove(call);
      const { items, resourceVersion } = call.store.list(resource, selection(call));
      const gone = items.map((object) => call.store.delete(resource, object.metadata.namespace, object.metadata.name, options));
      return json({ kind: `${resource.kind}List`, apiVersion: groupVersionOf(resource), metadata: { resourceVersion }, items: gone });
    }
  } else if (method === "GET") {
    return call.query.get("watch") === "true" ? watch(call) : answer(call, present(call));
  } else if (method === "PUT") {
    return answer(call, store(call, placed(call, await call.body())));
  } else if (method === "PATCH") {
    if (call.contentType === "application/apply-patch+yaml") return apply(call);
    const body = await call.body();
    return answer(call, store(call, placed(call, patched(call, present(call), body))));
  } else if (method === "DELETE") {
    return answer(call, call.store.delete(resource, call.namespace, name, await remove(call)));
  }
  throw new ApiError("MethodNotAllowed", "the server does not allow this method on the requested resource");
}
