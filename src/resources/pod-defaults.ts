// What a pod's specification means where it says nothing, as the API server fills it in.
import { alter, alterEach, fill, isMap, type JsonMap } from "./json.ts";

const PROBES = ["livenessProbe", "readinessProbe", "startupProbe"] as const;
/** 0644: the mode of files from ConfigMaps, Secrets and projections. */
const FILE_MODE = 0o644;

/** Defaults of a pod's or a template's specification. */
export function podSpecDefaults(spec: JsonMap): JsonMap {
  let next = fill(spec, {
    restartPolicy: "Always",
    dnsPolicy: "ClusterFirst",
    terminationGracePeriodSeconds: 30,
    schedulerName: "default-scheduler",
    securityContext: {},
  });
  const onHost = spec.hostNetwork === true;
  for (const list of ["initContainers", "containers"]) next = alterEach(next, list, (container) => containerDefaults(container, onHost));
  return alterEach(next, "volumes", volumeDefaults);
}

/** Defaults that only pods themselves have, not templates: service links, and requests where there are only limits. */
export function podOnlyDefaults(spec: JsonMap): JsonMap {
  let next = fill(spec, { enableServiceLinks: true });
  for (const list of ["initContainers", "containers"]) next = alterEach(next, list, requestsFromLimits);
  return next;
}

function containerDefaults(container: JsonMap, onHost: boolean): JsonMap {
  let next = fill(container, {
    imagePullPolicy: isFloating(container.image) ? "Always" : "IfNotPresent",
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
    resources: {},
  });
  next = alterEach(next, "ports", (port) => fill(port, { protocol: "TCP", hostPort: onHost ? port.containerPort : undefined }));
  for (const probe of PROBES) next = alter(next, probe, probeDefaults);
  next = alter(next, "lifecycle", (lifecycle) =>
    ["postStart", "preStop"].reduce((all, hook) => alter(all, hook, (handler) => alter(handler, "httpGet", httpGetDefaults)), lifecycle),
  );
  return alterEach(next, "env", (env) =>
    alter(env, "valueFrom", (from) => alter(from, "fieldRef", (ref) => fill(ref, { apiVersion: "v1" }))),
  );
}

function probeDefaults(probe: JsonMap): JsonMap {
  const next = fill(probe, { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 });
  return alter(alter(next, "httpGet", httpGetDefaults), "grpc", (grpc) => fill(grpc, { service: "" }));
}

function httpGetDefaults(get: JsonMap): JsonMap {
  return fill(get.path === "" ? { ...get, path: "/" } : get, { path: "/", scheme: "HTTP" });
}

function volumeDefaults(volume: JsonMap): JsonMap {
  const sources = Object.keys(volume).filter((key) => key !== "name" && volume[key] !== null);
  let next = sources.length === 0 ? fill(volume, { emptyDir: {} }) : volume;
  for (const source of ["configMap", "secret", "projected", "downwardAPI"])
    next = alter(next, source, (value) => fill(value, { defaultMode: FILE_MODE }));
  return alter(next, "hostPath", (path) => fill(path, { type: "" }));
}

function requestsFromLimits(container: JsonMap): JsonMap {
  return alter(container, "resources", (resources) => {
    if (!isMap(resources.limits) || Object.keys(resources.limits).length === 0) return resources;
    const requests = isMap(resources.requests) ? fill(resources.requests, resources.limits) : resources.limits;
    return requests === resources.requests ? resources : { ...resources, requests };
  });
}

/** An image without a tag, or with the tag `latest`, and without a digest, may change under its name. */
function isFloating(image: unknown): boolean {
  if (typeof image !== "string" || image.includes("@")) return false;
  const last = image.slice(image.lastIndexOf("/") + 1);
  return !last.includes(":") || last.endsWith(":latest");
}
