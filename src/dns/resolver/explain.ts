// Which object a cluster name stands for, or what is missing for it to stand for one. Pure, from a snapshot.
import { formatAddress, tryParseAddress } from "../../base/index.ts";
import type { ClusterSnapshot } from "../../cluster/index.ts";
import type { Service } from "../../resources/index.ts";

export interface ObjectName {
  readonly kind: "Namespace" | "Service" | "EndpointSlice" | "Pod";
  readonly namespace?: string;
  readonly name: string;
}

export interface NameOrigin {
  /** What the answer is made of; empty where nothing stands behind the name. */
  readonly objects: readonly ObjectName[];
  readonly says: string;
}

/** Explains a question's name (with its final dot) in the cluster's zone or its reverse zones; undefined for any other name. */
export function explainName(snapshot: ClusterSnapshot, name: string, domain: string): NameOrigin | undefined {
  const lower = name.toLowerCase();
  const zone = `${domain.toLowerCase()}.`;
  if (lower === zone) return nothing("the cluster's zone itself");
  if (lower.endsWith(`.${zone}`)) return inZone(snapshot, lower.slice(0, -zone.length - 1).split("."), domain);
  const address = reverse(lower);
  return address === undefined ? undefined : ofAddress(snapshot, address);
}

function nothing(says: string): NameOrigin {
  return { objects: [], says };
}

/** `labels`: without the zone. */
function inZone(snapshot: ClusterSnapshot, labels: readonly string[], domain: string): NameOrigin {
  const kind = labels.at(-1);
  if (labels.length === 1 && kind === "dns-version") return nothing("the version of the DNS specification");
  if (kind !== "svc" && kind !== "pod") return nothing(`below ${domain} there are svc and pod only`);
  const namespace = labels.at(-2);
  if (namespace === undefined) return nothing("a name without addresses: Services stand below it");
  if (!snapshot.namespaces.get(namespace)) return nothing(`there is no namespace ${namespace}`);
  if (kind === "pod") return ofPod(snapshot, namespace, labels.slice(0, -2));
  const name = labels.at(-3);
  if (name === undefined) return { objects: [{ kind: "Namespace", name: namespace }], says: "a namespace: Services stand below it" };
  const service = snapshot.services.get(`${namespace}/${name}`);
  if (!service) return nothing(`there is no Service ${namespace}/${name}${elsewhere(snapshot, name, namespace)}`);
  return ofService(snapshot, service, labels.slice(0, -3));
}

function elsewhere(snapshot: ClusterSnapshot, name: string, namespace: string): string {
  const others = [...snapshot.services.values()].filter(({ metadata }) => metadata.name === name && metadata.namespace !== namespace);
  return others.length === 0 ? "" : `; there is one in ${others.map(({ metadata }) => metadata.namespace).join(", ")}`;
}

function ofPod(snapshot: ClusterSnapshot, namespace: string, labels: readonly string[]): NameOrigin {
  const [dashed, ...more] = labels;
  if (dashed === undefined) return nothing("a name without addresses: pods' addresses stand below it");
  const address = tryParseAddress(dashed.replaceAll("-", ".")) ?? tryParseAddress(dashed.replaceAll("-", ":"));
  if (more.length > 0 || !address) return nothing(`${labels.join(".")} is no address with dashes`);
  const pod = snapshot.pods.byAddress(formatAddress(address));
  if (pod?.metadata.namespace !== namespace) return nothing(`no pod of ${namespace} has the address ${formatAddress(address)}`);
  return { objects: [{ kind: "Pod", namespace, name: pod.metadata.name }], says: `the address of pod ${namespace}/${pod.metadata.name}` };
}

function ofService(snapshot: ClusterSnapshot, service: Service, labels: readonly string[]): NameOrigin {
  const { name, namespace = "" } = service.metadata;
  const object: ObjectName = { kind: "Service", namespace, name };
  const full = `${namespace}/${name}`;
  if (service.spec.type === "ExternalName")
    return labels.length > 0
      ? nothing(`Service ${full} is an ExternalName: nothing stands below it`)
      : { objects: [object], says: `Service ${full} is another name of ${service.spec.externalName}` };
  const headless = service.spec.clusterIP === "None";
  if (!headless && labels.length === 0) return { objects: [object], says: `the cluster address of Service ${full}` };
  const isPort = labels.length === 2;
  if (isPort && !headless) {
    const [port = "", protocol = ""] = labels.map((label) => label.replace(/^_/, ""));
    const has = service.spec.ports?.some(
      (each) => (each.name ?? "").toLowerCase() === port && (each.protocol ?? "TCP").toLowerCase() === protocol,
    );
    return has
      ? { objects: [object], says: `port ${port}/${protocol} of Service ${full}` }
      : nothing(`Service ${full} has no port ${port}/${protocol}`);
  }
  return ofEndpoints(snapshot, service, isPort ? undefined : labels[0]);
}

/** End points of a Service, or the one whose own name is `host`. */
function ofEndpoints(snapshot: ClusterSnapshot, service: Service, host: string | undefined): NameOrigin {
  const { name, namespace = "" } = service.metadata;
  const objects: ObjectName[] = [{ kind: "Service", namespace, name }];
  let found = 0;
  let unready = 0;
  for (const slice of snapshot.endpointSlices.ofService(namespace, name)) {
    const named = (slice.endpoints ?? []).filter(
      (endpoint) =>
        host === undefined ||
        endpoint.hostname?.toLowerCase() === host ||
        endpoint.addresses.some((address) => address.replace(/[.:]/g, "-") === host) ||
        endpoint.targetRef?.name === host,
    );
    const ready = named.filter((endpoint) => service.spec.publishNotReadyAddresses || endpoint.conditions?.ready !== false);
    unready += named.length - ready.length;
    if (ready.length === 0) continue;
    found += ready.length;
    objects.push({ kind: "EndpointSlice", namespace, name: slice.metadata.name });
    for (const { targetRef } of ready)
      if (targetRef?.kind === "Pod" && targetRef.name) objects.push({ kind: "Pod", namespace, name: targetRef.name });
  }
  const what = host === undefined ? `Service ${namespace}/${name}` : `${host} of Service ${namespace}/${name}`;
  if (found > 0) return { objects, says: `${found} ready end point${found === 1 ? "" : "s"} of ${what}` };
  const why = unready > 0 ? `: ${unready} ${unready === 1 ? "is" : "are"} not ready` : "";
  return { objects: objects.slice(0, 1), says: `no ready end point of ${what}${why}` };
}

function ofAddress(snapshot: ClusterSnapshot, address: string): NameOrigin {
  for (const service of snapshot.services.values()) {
    if (![service.spec.clusterIP, ...(service.spec.clusterIPs ?? [])].includes(address)) continue;
    const { name, namespace = "" } = service.metadata;
    return { objects: [{ kind: "Service", namespace, name }], says: `the cluster address of Service ${namespace}/${name}` };
  }
  for (const slice of snapshot.endpointSlices.values()) {
    if (!slice.endpoints?.some((endpoint) => endpoint.addresses.includes(address))) continue;
    const namespace = slice.metadata.namespace ?? "";
    const service = slice.metadata.labels?.["kubernetes.io/service-name"] ?? "";
    return {
      objects: [{ kind: "EndpointSlice", namespace, name: slice.metadata.name }],
      says: `an end point of Service ${namespace}/${service}`,
    };
  }
  return nothing(`no Service and no end point has the address ${address}`);
}

/** The address of a name below in-addr.arpa or ip6.arpa; undefined if it is none. */
function reverse(name: string): string | undefined {
  const four = /^((?:\d{1,3}\.){4})in-addr\.arpa\.$/.exec(name)?.[1];
  if (four !== undefined) return format(four.split(".").slice(0, 4).reverse().join("."));
  const six = /^((?:[0-9a-f]\.){32})ip6\.arpa\.$/.exec(name)?.[1];
  if (six === undefined) return undefined;
  const nibbles = six.split(".").slice(0, 32).reverse().join("");
  return format((nibbles.match(/.{4}/g) ?? []).join(":"));
}

function format(text: string): string | undefined {
  const address = tryParseAddress(text);
  return address ? formatAddress(address) : undefined;
}
