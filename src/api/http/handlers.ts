// One handler per verb, for every resource: from a request's path, query and body to the store and back.
import type { KubeObject } from "../../resources/index.ts";
import { checkGrants } from "../access/grants.ts";
import { REVIEWS } from "../access/reviews.ts";
import { applyServerSide } from "../apply/apply.ts";
import { ApiError, badRequest, invalid, notFound } from "../errors.ts";
import { tableOf } from "../printers/printers.ts";
import { groupVersionOf } from "../resource-table.ts";
import { eventLine, listText } from "../serialized.ts";
import type { DeleteOptions, WatchEvent, WriteOptions } from "../store.ts";
import {
  type ApiCall,
  answer,
  deleteOptions,
  dryRun,
  knownFields,
  patched,
  placed,
  present,
  shape,
  shapesOf,
  tracking,
  writerOf,
} from "./call.ts";
import { answeredItself, json, largeJson } from "./json-answer.ts";
import { pageOf } from "./pages.ts";
import { specialSubresource } from "./subresources.ts";
import { serveWatch } from "./watch-stream.ts";

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
  const watching = {
    subscribe: (listener: (event: WatchEvent) => void) =>
      store.watch(resource, { ...selection(call), ...(from === undefined ? {} : { resourceVersion: from }) }, listener),
    line: (event: WatchEvent, first: boolean) => (asTable ? tableLine(call, event, first) : eventLine(event)),
    bookmark: query.get("allowWatchBookmarks") === "true" ? bookmark : undefined,
    initialEvents,
    timeoutMilliseconds: seconds(query.get("timeoutSeconds"), 1800 + Math.floor(Math.random() * 1800)) * 1000,
  };
  serveWatch(watching, call.outgoing);
  return answeredItself();
}

function tableLine(call: ApiCall, { type, object }: WatchEvent, first: boolean): Uint8Array {
  const table = tableOf(shape(call, first), [object], { resourceVersion: object.metadata.resourceVersion });
  return Buffer.from(`${JSON.stringify({ type, object: table })}\n`);
}

async function list(call: ApiCall): Promise<Response> {
  if (["true", "1"].includes(call.query.get("watch") ?? "")) return watch(call);
  const selected = selection(call);
  const { items: all, resourceVersion: version } = call.store.list(call.resource, selected);
  const question = JSON.stringify([call.resource.group, call.resource.plural, selected]);
  const { items, metadata } = pageOf(call.store, { items: all, version, question, query: call.query, now: Date.now() });
  const text = call.accept.includes("as=Table")
    ? `${JSON.stringify(tableOf(shape(call, true), items, metadata))}\n`
    : listText({ kind: `${call.resource.kind}List`, apiVersion: groupVersionOf(call.resource), metadata }, items);
  return largeJson(text, call.incoming.headers["accept-encoding"]);
}

function store(call: ApiCall, given: KubeObject, track = tracking(call).track): KubeObject {
  const { subresource } = call;
  const object = knownFields(call, given);
  checkGrants(call, object);
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
  return create(call, applied, track);
}

function create(call: ApiCall, given: KubeObject, track: NonNullable<WriteOptions["track"]>): Response {
  const object = knownFields(call, given);
  checkGrants(call, object);
  return answer(call, call.store.create(call.resource, object, { dryRun: dryRun(call), track }), 201);
}

async function remove(call: ApiCall): Promise<DeleteOptions> {
  return deleteOptions(call, (await call.body()) ?? {});
}

/** A kind that is only asked: the answer is the object with its status, and nothing is stored. */
async function ask(call: ApiCall, review: (typeof REVIEWS)[string]): Promise<Response> {
  if (call.method !== "POST") throw new ApiError("MethodNotAllowed", "the server does not allow this method on the requested resource");
  const { store, identity, namespace, resource, access } = call;
  const body = { kind: resource.kind, apiVersion: groupVersionOf(resource), metadata: {}, ...((await call.body()) as object | undefined) };
  return json(review({ store, identity, namespace, tokens: access.tokens, body }), 201);
}

/** Answers a call on objects. @throws ApiError */
export async function handle(call: ApiCall): Promise<Response> {
  const { method, name, subresource, resource } = call;
  const special = specialSubresource(call);
  if (special) return special;
  const review = REVIEWS[`${resource.group}/${resource.plural}`];
  if (review) return ask(call, review);
  const known =
    subresource === undefined ||
    (subresource === "status" && resource.status) ||
    (subresource === "finalize" && resource.kind === "Namespace");
  if (!known) throw new ApiError("NotFound", `the server could not find the requested resource: ${resource.plural}/${subresource}`, {});
  if (name === undefined) {
    if (method === "GET") return list(call);
    if (method === "POST") return create(call, placed(call, await call.body()), tracking(call).track);
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
