// What an object means where it says nothing: defaults per kind, as the API server fills them in. Pure.
import { alter, alterEach, fill, isMap, type JsonMap, textOf } from "./json.ts";
import { podOnlyDefaults, podSpecDefaults } from "./pod-defaults.ts";
import { withoutLeftovers } from "./service-leftovers.ts";

/** Three hours, in seconds: how long a client stays with its end point. */
const AFFINITY_SECONDS = 10_800;

/**
 * The object with the defaults of its kind filled in: a new object, or the same where nothing was missing. What was given
 * is never changed. `old` is the object that an update replaces: what only its type needed goes with that type. Shapes that make no sense are left as they are, for `validate` to speak of; nothing is thrown.
 */
export function applyDefaults<T>(object: T, old?: unknown): T {
  if (!isMap(object)) return object;
  if (old !== undefined && object.kind === "Service" && object.apiVersion === "v1" && isMap(old) && isMap(old.spec)) {
    const before = old.spec;
    return serviceRule(alter(object, "spec", (given) => withoutLeftovers(given, before))) as T;
  }
  const rule = RULES[`${textOf(object.apiVersion)}/${textOf(object.kind)}`];
  return (rule ? rule(object) : object) as T;
}

const spec = (change: (spec: JsonMap) => JsonMap) => (object: JsonMap) => alter(object, "spec", change);
const template = (of: JsonMap) => alter(of, "template", (inner) => alter(inner, "spec", podSpecDefaults));

const serviceRule = spec(serviceDefaults);

const RULES: Readonly<Record<string, (object: JsonMap) => JsonMap>> = {
  "v1/Namespace": namespaceDefaults,
  "v1/Pod": spec((of) => podOnlyDefaults(podSpecDefaults(of))),
  "v1/Service": serviceRule,
  "v1/Secret": (object) => fill(withStringData(object), { type: "Opaque" }),
  "v1/ReplicationController": spec((of) => template(fill(of, { replicas: 1, selector: templateLabels(of) }))),
  "v1/Endpoints": (object) =>
    alterEach(object, "subsets", (subset) => alterEach(subset, "ports", (port) => fill(port, { protocol: "TCP" }))),
  "apps/v1/Deployment": spec(deploymentDefaults),
  "apps/v1/ReplicaSet": spec((of) => template(fill(of, { replicas: 1 }))),
  "apps/v1/DaemonSet": spec(daemonSetDefaults),
  "apps/v1/StatefulSet": spec(statefulSetDefaults),
  "batch/v1/Job": spec(jobDefaults),
  "batch/v1/CronJob": spec(cronJobDefaults),
  "networking.k8s.io/v1/NetworkPolicy": spec(networkPolicyDefaults),
  "discovery.k8s.io/v1/EndpointSlice": (object) => alterEach(object, "ports", (port) => fill(port, { name: "", protocol: "TCP" })),
};

/** What was given as text goes into the data, over what is there, and is not kept beside it. */
function withStringData(object: JsonMap): JsonMap {
  const { stringData, ...rest } = object;
  if (!isMap(stringData) || !Object.values(stringData).every((value) => typeof value === "string")) return object;
  if (rest.data !== undefined && rest.data !== null && !isMap(rest.data)) return object;
  const data = Object.fromEntries(Object.entries(stringData).map(([key, value]) => [key, Buffer.from(String(value)).toString("base64")]));
  return { ...rest, data: { ...(rest.data as JsonMap | null | undefined), ...data } };
}

function namespaceDefaults(object: JsonMap): JsonMap {
  const { metadata } = object;
  if (!isMap(metadata) || typeof metadata.name !== "string" || metadata.name === "") return object;
  if (metadata.labels !== undefined && metadata.labels !== null && !isMap(metadata.labels)) return object;
  const labels = (metadata.labels ?? {}) as JsonMap;
  if (labels["kubernetes.io/metadata.name"] === metadata.name) return object;
  return { ...object, metadata: { ...metadata, labels: { ...labels, "kubernetes.io/metadata.name": metadata.name } } };
}

function serviceDefaults(given: JsonMap): JsonMap {
  let next = fill(given, { type: "ClusterIP", sessionAffinity: "None" });
  if (next.sessionAffinity === "ClientIP") {
    next = alter(fill(next, { sessionAffinityConfig: {} }), "sessionAffinityConfig", (config) =>
      alter(fill(config, { clientIP: {} }), "clientIP", (client) => fill(client, { timeoutSeconds: AFFINITY_SECONDS })),
    );
  }
  const external = next.type === "NodePort" || next.type === "LoadBalancer";
  const reachable = external || (next.type === "ClusterIP" && Array.isArray(next.externalIPs) && next.externalIPs.length > 0);
  next = fill(next, {
    internalTrafficPolicy: next.type === "ExternalName" ? undefined : "Cluster",
    externalTrafficPolicy: reachable ? "Cluster" : undefined,
    allocateLoadBalancerNodePorts: next.type === "LoadBalancer" ? true : undefined,
  });
  return alterEach(next, "ports", (port) => {
    const unset = port.targetPort === 0 || port.targetPort === "";
    return fill(unset ? { ...port, targetPort: port.port } : port, { protocol: "TCP", targetPort: port.port });
  });
}

function templateLabels(of: JsonMap): JsonMap | undefined {
  const metadata = isMap(of.template) ? of.template.metadata : undefined;
  return isMap(metadata) && isMap(metadata.labels) ? metadata.labels : undefined;
}

function deploymentDefaults(given: JsonMap): JsonMap {
  let next = fill(given, { replicas: 1, strategy: {}, revisionHistoryLimit: 10, progressDeadlineSeconds: 600 });
  next = alter(next, "strategy", (strategy) => rolling(strategy, { maxUnavailable: "25%", maxSurge: "25%" }));
  return template(next);
}

function daemonSetDefaults(given: JsonMap): JsonMap {
  const next = fill(given, { updateStrategy: {}, revisionHistoryLimit: 10 });
  return template(alter(next, "updateStrategy", (strategy) => rolling(strategy, { maxUnavailable: 1, maxSurge: 0 })));
}

function statefulSetDefaults(given: JsonMap): JsonMap {
  let next = fill(given, {
    replicas: 1,
    podManagementPolicy: "OrderedReady",
    updateStrategy: {},
    revisionHistoryLimit: 10,
    persistentVolumeClaimRetentionPolicy: {},
  });
  next = alter(next, "updateStrategy", (strategy) => rolling(strategy, { partition: 0 }));
  next = alter(next, "persistentVolumeClaimRetentionPolicy", (policy) => fill(policy, { whenDeleted: "Retain", whenScaled: "Retain" }));
  return template(next);
}

/** A strategy is RollingUpdate unless it says otherwise, and then has bounds. */
function rolling(strategy: JsonMap, bounds: JsonMap): JsonMap {
  const next = fill(strategy, { type: "RollingUpdate" });
  return next.type === "RollingUpdate" ? alter(fill(next, { rollingUpdate: {} }), "rollingUpdate", (of) => fill(of, bounds)) : next;
}

function jobDefaults(given: JsonMap): JsonMap {
  // With neither number given a job is one pod; with only a parallelism, any of its pods may finish it.
  const single = (given.completions ?? undefined) === undefined && (given.parallelism ?? undefined) === undefined;
  return template(
    fill(given, {
      completions: single ? 1 : undefined,
      parallelism: 1,
      backoffLimit: 6,
      completionMode: "NonIndexed",
      suspend: false,
      podReplacementPolicy: isMap(given.podFailurePolicy) ? "Failed" : "TerminatingOrFailed",
      manualSelector: false,
    }),
  );
}

function cronJobDefaults(given: JsonMap): JsonMap {
  const next = fill(given, { concurrencyPolicy: "Allow", suspend: false, successfulJobsHistoryLimit: 3, failedJobsHistoryLimit: 1 });
  return alter(next, "jobTemplate", (inner) => alter(inner, "spec", jobDefaults));
}

function networkPolicyDefaults(given: JsonMap): JsonMap {
  // Egress counts only if it has rules: an empty list of them isolates nothing by itself.
  const egress = Array.isArray(given.egress) && given.egress.length > 0;
  const empty = Array.isArray(given.policyTypes) && given.policyTypes.length === 0;
  let next = empty ? { ...given, policyTypes: undefined } : given;
  next = fill(next, { policyTypes: egress ? ["Ingress", "Egress"] : ["Ingress"] });
  for (const direction of ["ingress", "egress"]) {
    next = alterEach(next, direction, (rule) => alterEach(rule, "ports", (port) => fill(port, { protocol: "TCP" })));
  }
  return next;
}
