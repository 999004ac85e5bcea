// What a Service no longer needs when its type changes. kubectl apply leaves fields that the server had filled in.
import { isDeepStrictEqual } from "node:util";
import { alterEach, isMap, type JsonMap } from "./json.ts";

const hasNodePorts = (type: unknown) => type === "NodePort" || type === "LoadBalancer";

/** The specification without what only the old type needed, where it is still as it was; what was changed stays, to be judged. */
export function withoutLeftovers(spec: JsonMap, old: JsonMap): JsonMap {
  const type = spec.type ?? "ClusterIP";
  const gone: string[] = [];
  if (type === "ExternalName") gone.push("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy");
  const reachable = hasNodePorts(type) || (Array.isArray(spec.externalIPs) && spec.externalIPs.length > 0);
  if (!reachable) gone.push("externalTrafficPolicy");
  if (type !== "LoadBalancer") gone.push("allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort");
  if (spec.sessionAffinity !== "ClientIP") gone.push("sessionAffinityConfig");
  const isLeft = (key: string) => spec[key] !== undefined && isDeepStrictEqual(spec[key], old[key]);
  const left = gone.filter(isLeft);
  const next = left.length === 0 ? spec : Object.fromEntries(Object.entries(spec).filter(([key]) => !left.includes(key)));
  if (hasNodePorts(type) || !hasNodePorts(old.type)) return next;
  const before = new Set((Array.isArray(old.ports) ? old.ports : []).flatMap((port: unknown) => (isMap(port) ? [port.nodePort] : [])));
  return alterEach(next, "ports", (port) => {
    if (port.nodePort === undefined || !before.has(port.nodePort)) return port;
    const { nodePort: _gone, ...rest } = port;
    return rest;
  });
}
