// Cilium's policies by chance, for the clusters of `randomCluster`: every part of layers 3 and 4, now and then a wrong one.
import type { DnsAnswers } from "../src/policy/index.ts";
import type { KubeObject } from "../src/resources/index.ts";
import { type Chance, chanceOf } from "./random.ts";

const NAMESPACES = ["blue", "green", "red"];
const BLOCKS = ["203.0.113.0/24", "0.0.0.0/0", "198.51.100.9", "::/0", "2001:db8::/64", "10.0.0.0/8"];

/** What the node's pods were answered: names of the world, and one of a pod. */
export const RANDOM_NAMES: DnsAnswers = {
  "a.example.com": ["203.0.113.9", "2001:db8::9"],
  "b.example.com": ["198.51.100.9", "10.244.1.3"],
};

/** Groups, the API server's end points, and `count` policies of both kinds. */
export function randomCilium(seed: number, count = 4): KubeObject[] {
  const chance = chanceOf(seed ^ 0xc111);
  const { often, pick } = chance;
  const objects = [
    ...["group-1", "group-2"].filter(() => often(0.7)).map((name) => group(chance, name)),
    ...apiServer(),
    ...Array.from({ length: count }, (_, index) => policy(chance, `cilium-${index}`)),
  ];
  return (pick([true, false]) ? objects : objects.toReversed()) as unknown as KubeObject[];
}

function group({ pick, some }: Chance, name: string): object {
  const spec = { externalCIDRs: some(3, () => pick(["203.0.113.0/25", "198.51.100.0/24", "2001:db8::/48"])) };
  return { apiVersion: "cilium.io/v2", kind: "CiliumCIDRGroup", metadata: { name, labels: { app: pick(["a", "b"]) } }, spec };
}

const apiServer = () => [
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace: "default", name: "kubernetes" },
    spec: { clusterIP: "None", ports: [{ port: 443 }] },
  },
  {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace: "default", name: "kubernetes", labels: { "kubernetes.io/service-name": "kubernetes" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.112.0.52"] }],
    ports: [{ port: 443, protocol: "TCP" }],
  },
];

function policy(chance: Chance, name: string): object {
  const { often, pick } = chance;
  const wide = often(0.3);
  const metadata = { name, ...(wide ? {} : { namespace: pick(NAMESPACES) }) };
  const kind = wide ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy";
  const body = often(0.1) ? { specs: [spec(chance), spec(chance)] } : { spec: spec(chance) };
  return { apiVersion: "cilium.io/v2", kind, metadata, ...body };
}

function spec(chance: Chance): object {
  const { often, some } = chance;
  const entries = (direction: "ingress" | "egress", deny: boolean) => some(2, () => entry(chance, direction, deny));
  const flag = () => (often(0.2) ? { enableDefaultDeny: { [often(0.5) ? "ingress" : "egress"]: often(0.3) } } : {});
  return {
    ...(often(0.02) ? {} : { endpointSelector: selector(chance, 0.1) }),
    ...(often(0.6) ? { ingress: entries("ingress", false) } : {}),
    ...(often(0.6) ? { egress: entries("egress", false) } : {}),
    ...(often(0.2) ? { ingressDeny: entries("ingress", true) } : {}),
    ...(often(0.2) ? { egressDeny: entries("egress", true) } : {}),
    ...flag(),
  };
}

/** `elsewhere`: how often it speaks of namespaces. */
function selector({ pick, often }: Chance, elsewhere: number): object {
  const key = pick(["app", "k8s:role", "any:app"]);
  const where = often(elsewhere)
    ? pick([
        { key: "k8s:io.kubernetes.pod.namespace", operator: "In", values: [pick(NAMESPACES)] },
        { key: "io.kubernetes.pod.namespace", operator: "Exists" },
        { key: "io.cilium.k8s.namespace.labels.team", operator: pick(["Exists", "DoesNotExist"]) },
        { key: "k8s:io.cilium.k8s.namespace.labels.team", operator: "In", values: ["a", "b"] },
      ])
    : undefined;
  const what = pick<object>([
    {},
    { matchLabels: { [key]: pick(["a", "b"]) } },
    { matchExpressions: [{ key, operator: "NotIn", values: ["a"] }] },
    { matchExpressions: [{ key, operator: pick(["Exists", "DoesNotExist"]) }] },
  ]) as { readonly matchExpressions?: readonly object[] };
  return where ? { ...what, matchExpressions: [...(what.matchExpressions ?? []), where] } : what;
}

function entry(chance: Chance, direction: "ingress" | "egress", deny: boolean): object {
  const { often, pick, some } = chance;
  const word = direction === "ingress" ? "from" : "to";
  const peers = pick<() => object>([
    () => ({}),
    () => ({ [`${word}Endpoints`]: some(2, () => selector(chance, 0.4)) }),
    () => ({ [`${word}Endpoints`]: [] }),
    () => ({
      [`${word}Entities`]: some(2, () => pick(["all", "world", "cluster", "host", "remote-node", "kube-apiserver", "world-ipv4", "none"])),
    }),
    () => ({ [`${word}CIDR`]: some(2, () => pick(BLOCKS)) }),
    () => ({ [`${word}CIDRSet`]: some(2, () => block(chance)) }),
    () => ({ [`${word}Nodes`]: [{ matchLabels: { rack: pick(["1", "2"]) } }] }),
    () =>
      direction === "egress" && !deny
        ? { toFQDNs: some(2, () => pick([{ matchName: "a.example.com" }, { matchPattern: "*.example.com" }])) }
        : {},
    () => (direction === "egress" ? { toServices: [{ k8sService: { serviceName: "kubernetes", namespace: "default" } }] } : {}),
  ])();
  return {
    ...peers,
    ...(often(0.1) ? { [`${word}Requires`]: [selector(chance, 0.2)] } : {}),
    ...what(chance),
    ...(often(0.02) ? { nonsense: true } : {}),
  };
}

function block({ pick, often }: Chance): object {
  const except = often(0.4) ? { except: ["203.0.113.0/28"] } : {};
  return pick<object>([
    { cidr: "203.0.113.0/24", ...except },
    { cidr: "0.0.0.0/0", ...except },
    { cidrGroupRef: pick(["group-1", "group-2", "group-3"]), ...except },
    { cidrGroupSelector: { matchLabels: { app: "a" } }, ...except },
  ]);
}

function what(chance: Chance): object {
  const { often, pick, some } = chance;
  if (often(0.4)) return {};
  if (often(0.15))
    return { icmps: [{ fields: some(2, () => pick([{ type: 8 }, { type: "EchoRequest", family: "IPv6" }, { type: 13 }, { type: 3 }])) }] };
  const port = () =>
    pick<object>([
      { port: "80" },
      { port: "80", protocol: "TCP" },
      { port: "53", protocol: "UDP" },
      { port: "8000", endPort: 8100, protocol: "TCP" },
      { port: "web" },
      { port: "web", protocol: "TCP" },
      { port: "0", protocol: pick(["TCP", "ANY"]) },
      { port: "80", protocol: "SCTP" },
    ]);
  return { toPorts: some(2, () => ({ ports: some(2, port), ...(often(0.1) ? { rules: { dns: [{ matchPattern: "*" }] } } : {}) })) };
}
