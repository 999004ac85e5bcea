// Kubernetes objects for tests of Services: short to write, complete enough to plan from.
import type { Endpoint, EndpointSlice, Node, Service, ServiceSpec } from "../src/resources/index.ts";

export interface EndpointSpec {
  readonly address: string;
  readonly node?: string;
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
  readonly hints?: Endpoint["hints"];
  /** Name of the pod behind it. */
  readonly pod?: string;
}

/** A Service in namespace "shop"; `spec` as in a manifest. */
export function service(name: string, spec: ServiceSpec, balanced: readonly string[] = [], namespace = "shop"): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace, name },
    spec,
    ...(balanced.length > 0 ? { status: { loadBalancer: { ingress: balanced.map((ip) => ({ ip })) } } } : {}),
  };
}

/** The ranges that Services' addresses are taken from. */
export function serviceCidr(cidrs: readonly string[]) {
  return { apiVersion: "networking.k8s.io/v1", kind: "ServiceCIDR", metadata: { name: "kubernetes" }, spec: { cidrs } };
}

export interface SliceSpec {
  readonly endpoints: readonly EndpointSpec[];
  readonly port: number;
  readonly protocol?: "TCP" | "UDP" | "SCTP";
  readonly family?: 4 | 6;
  readonly namespace?: string;
}

/** The slice of a Service with one unnamed port. */
export function slice(name: string, { endpoints, port, protocol = "TCP", family = 4, namespace = "shop" }: SliceSpec): EndpointSlice {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace, name: `${name}-${family}`, labels: { "kubernetes.io/service-name": name } },
    addressType: family === 4 ? "IPv4" : "IPv6",
    ports: [{ port, protocol }],
    endpoints: endpoints.map(({ address, node, hints, pod, ...conditions }) => ({
      addresses: [address],
      conditions,
      ...(hints === undefined ? {} : { hints }),
      ...(pod === undefined ? {} : { targetRef: { kind: "Pod", namespace, name: pod } }),
      ...(node === undefined ? {} : { nodeName: node }),
    })),
  };
}

/** A Node with pod networks and underlay addresses. */
export function node(
  name: string,
  podCIDRs: readonly string[],
  addresses: readonly string[],
  annotations: Readonly<Record<string, string>> = {},
): Node {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, annotations },
    spec: { podCIDRs },
    status: { addresses: addresses.map((address) => ({ type: "InternalIP", address })) },
  };
}
