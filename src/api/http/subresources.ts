// Subresources with rules of their own: scale, eviction, binding, ephemeral containers, tokens.

import type { KubeObject, Pod } from "../../resources/index.ts";
import { requestToken } from "../access/tokens.ts";
import { ApiError, badRequest } from "../errors.ts";
import { isMap, type Json } from "../patch/merge-patch.ts";
import { valuesAt, withValueAt } from "../schema/json-path.ts";
import { type ApiCall, answer, deleteOptions, dryRun, patched, present, tracking } from "./call.ts";
import { budgetRefusal } from "./eviction.ts";
import { json } from "./json-answer.ts";

const BUILTIN_SCALE = { spec: ".spec.replicas", status: ".status.replicas" };

interface Selecting {
  readonly spec?: { readonly selector?: { readonly matchLabels?: Readonly<Record<string, string>> } | Readonly<Record<string, string>> };
}

function scaleOf(call: ApiCall, object: KubeObject): KubeObject & Json {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const { spec, status, selector } = { selector: undefined, ...(call.resource.scalePaths ?? BUILTIN_SCALE) };
  const given = (object as Selecting).spec?.selector as Readonly<Record<string, unknown>> | undefined;
  // A ReplicationController's selector is the labels themselves.
  const labels = Object.entries((given?.matchLabels ?? (given?.matchExpressions ? {} : given) ?? {}) as object);
  const text =
    selector === undefined ? labels.map(([key, value]) => `${key}=${value}`).join(",") : String(valuesAt(object, selector)[0] ?? "");
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: JSON.parse(JSON.stringify({ name, namespace, uid, resourceVersion, creationTimestamp })) as KubeObject["metadata"],
    spec: { replicas: Number(valuesAt(object, spec)[0] ?? (call.resource.scalePaths ? 0 : 1)) },
    status: { replicas: Number(valuesAt(object, status)[0] ?? 0), selector: text },
  };
}

async function scale(call: ApiCall): Promise<Response> {
  const object = present(call);
  if (call.method === "GET") return json(scaleOf(call, object));
  const body = await call.body();
  const wanted = (call.method === "PATCH" ? patched(call, scaleOf(call, object), body) : body) as {
    spec?: { replicas?: unknown };
    metadata?: Json;
  };
  const replicas = wanted?.spec?.replicas ?? 0;
  if (!Number.isInteger(replicas) || Number(replicas) < 0)
    throw badRequest(`spec.replicas is a whole number from 0, not ${JSON.stringify(replicas)}`);
  const version = wanted.metadata?.resourceVersion;
  const next = {
    ...withValueAt(object as unknown as Json, (call.resource.scalePaths ?? BUILTIN_SCALE).spec, replicas),
    metadata: { ...object.metadata, ...(version ? { resourceVersion: version } : {}) },
  };
  return json(scaleOf(call, call.store.update(call.resource, next as unknown as KubeObject, { dryRun: dryRun(call), ...tracking(call) })));
}

const success = (code: number) => ({ kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code });

/** Deletes a pod, unless a budget says that it is needed (policy/v1). */
async function evict(call: ApiCall): Promise<Response> {
  const pod = present(call) as Pod;
  const body = ((await call.body()) ?? {}) as { readonly deleteOptions?: unknown };
  const options = deleteOptions(call, body.deleteOptions ?? {});
  const refusal = budgetRefusal(call.store, pod);
  if (refusal)
    throw new ApiError("TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", {
      causes: [{ reason: "DisruptionBudget", message: refusal }],
    });
  call.store.delete(call.resource, call.namespace, pod.metadata.name, options);
  return json(success(201), 201);
}

/** Gives a pod its node, once. */
async function bind(call: ApiCall): Promise<Response> {
  const pod = present(call) as Pod;
  const target = ((await call.body()) as { readonly target?: { readonly kind?: string; readonly name?: string } } | undefined)?.target;
  if (!target?.name || (target.kind ?? "Node") !== "Node") throw badRequest("Binding: target must name a Node");
  if (pod.spec.nodeName)
    throw new ApiError(
      "Conflict",
      `Operation cannot be fulfilled on pods/binding "${pod.metadata.name}": pod ${pod.metadata.name} is already assigned to node "${pod.spec.nodeName}"`,
    );
  call.store.update(call.resource, { ...pod, spec: { ...pod.spec, nodeName: target.name } } as KubeObject, { dryRun: dryRun(call) });
  return json(success(201), 201);
}

/** Containers that are added to a running pod, to look at it: none is changed or taken away again. */
async function ephemeralContainers(call: ApiCall): Promise<Response> {
  const pod = present(call) as Pod;
  if (call.method === "GET") return answer(call, pod);
  const body = await call.body();
  const wanted = (call.method === "PATCH" ? patched(call, pod, body) : body) as {
    readonly spec?: { readonly ephemeralContainers?: unknown };
  };
  const containers = wanted?.spec?.ephemeralContainers ?? [];
  if (!Array.isArray(containers) || !containers.every((each) => isMap(each) && typeof each.name === "string"))
    throw badRequest("spec.ephemeralContainers is a list of containers");
  const before = (pod.spec.ephemeralContainers ?? []) as readonly { readonly name: string }[];
  const names = containers.map((each) => String((each as Json).name));
  const others = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])].map(({ name }) => name);
  const gone = before.find(({ name }) => !names.includes(name));
  const twice = names.find((name, index) => others.includes(name) || names.indexOf(name) !== index);
  if (gone || twice !== undefined)
    throw new ApiError(
      "Invalid",
      `Pod "${pod.metadata.name}" is invalid: spec.ephemeralContainers: ${gone ? `Forbidden: existing ephemeral containers "${gone.name}" may not be removed` : `Duplicate value: "${twice}"`}`,
      {
        name: pod.metadata.name,
        kind: "Pod",
      },
    );
  const next = { ...pod, spec: { ...pod.spec, ephemeralContainers: containers } } as KubeObject;
  return answer(call, call.store.update(call.resource, next, { dryRun: dryRun(call), ...tracking(call) }));
}

async function token(call: ApiCall): Promise<Response> {
  return json(requestToken(call.access.tokens, call.store, call.namespace ?? "", call.name ?? "", await call.body()), 201);
}

const SPECIAL: Readonly<Record<string, { readonly methods: string; readonly serve: (call: ApiCall) => Promise<Response> }>> = {
  "/pods/eviction": { methods: "POST", serve: evict },
  "/pods/binding": { methods: "POST", serve: bind },
  "/pods/ephemeralcontainers": { methods: "GET PUT PATCH", serve: ephemeralContainers },
  "/serviceaccounts/token": { methods: "POST", serve: token },
};

/** The answer, if the call is of one of these; @throws ApiError 405 */
export function specialSubresource(call: ApiCall): Promise<Response> | undefined {
  const { resource, subresource, method } = call;
  if (subresource === undefined || call.name === undefined) return undefined;
  const special =
    subresource === "scale" && resource.scale
      ? { methods: "GET PUT PATCH", serve: scale }
      : SPECIAL[`${resource.group}/${resource.plural}/${subresource}`];
  if (!special) return undefined;
  if (!special.methods.split(" ").includes(method))
    throw new ApiError("MethodNotAllowed", "the server does not allow this method on the requested resource");
  return special.serve(call);
}
