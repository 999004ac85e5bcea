// Random clusters from a seed: namespaces, nodes, dual-stack pods and NetworkPolicies with every feature, for comparing engines.

import type { KubeObject, LabelSelector, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from "../src/resources/index.ts";
import { chanceOf } from "./random.ts";

/** Two nodes, three namespaces, `pods` pods and `policies` policies. The same seed gives the same objects. */
export function randomCluster(seed: number, { pods = 8, policies = 5 } = {}): KubeObject[] {
  const { below, pick, often: chance } = chanceOf(seed);
  const namespaces = ["blue", "green", "red"];
  const labels = () => Object.fromEntries(["app", "role"].filter(() => chance(0.8)).map((key) => [key, pick(["a", "b"])]));
  const selector = (): LabelSelector => {
    if (chance(0.25)) return {};
    if (chance(0.5)) return { matchLabels: { [pick(["app", "role"])]: pick(["a", "b"]) } };
    const key = pick(["app", "role"]);
    return {
      matchExpressions: [
        pick([
          { key, operator: "In", values: ["a"] },
          { key, operator: "NotIn", values: ["a"] },
          { key, operator: "Exists" },
          { key, operator: "DoesNotExist" },
        ] as const),
      ],
    };
  };
  const namespaceSelector = (): LabelSelector =>
    pick([
      {},
      { matchLabels: { team: "a" } },
      { matchLabels: { "kubernetes.io/metadata.name": pick(namespaces) } },
      { matchExpressions: [{ key: "team", operator: "NotIn", values: ["a"] }] },
    ]);
  const peer = (): NetworkPolicyPeer => {
    const kind = below(4);
    if (kind === 0) return { podSelector: selector() };
    if (kind === 1) return { namespaceSelector: namespaceSelector() };
    if (kind === 2) return { namespaceSelector: namespaceSelector(), podSelector: selector() };
    return {
      ipBlock: pick([
        { cidr: "0.0.0.0/0", except: ["10.244.1.0/30", "10.244.1.0/31"] },
        { cidr: "10.244.0.0/16", except: ["10.244.2.0/24"] },
        { cidr: "::/0", except: ["fd00:10:244:1::/126"] },
        { cidr: "203.0.113.0/24" },
      ]),
    };
  };
  const port = (): NetworkPolicyPort =>
    pick([
      { port: 80 },
      { protocol: "UDP", port: 53 },
      { protocol: "TCP", port: 8000, endPort: 8100 },
      { port: "web" },
      { protocol: "UDP", port: "web" },
      { protocol: "UDP" },
      { protocol: "SCTP", port: 80 },
    ]);
  const list = <T>(make: () => T): T[] => Array.from({ length: below(3) }, make);
  const objects: KubeObject[] = [];
  for (const [index, name] of namespaces.entries()) {
    objects.push({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels: index === 2 ? {} : { team: pick(["a", "b"]) } } });
  }
  for (const n of [1, 2]) {
    const node = {
      spec: { podCIDR: `10.244.${n}.0/24`, podCIDRs: [`10.244.${n}.0/24`, `fd00:10:244:${n}::/64`] },
      status: {
        addresses: [
          { type: "InternalIP", address: `10.112.0.5${n}` },
          { type: "InternalIP", address: `fd00:10:112::5${n}` },
        ],
      },
    };
    objects.push({ apiVersion: "v1", kind: "Node", metadata: { name: `node-${n}` }, ...node } as KubeObject);
  }
  for (let index = 0; index < pods; index++) {
    const n = 1 + (index % 2);
    const host = index === pods - 1;
    const ports = [{ name: "web", containerPort: pick([80, 8080]), protocol: pick(["TCP", "UDP"]) }].filter(() => chance(0.8));
    const addresses = host ? [`10.112.0.5${n}`] : [`10.244.${n}.${index + 2}`, `fd00:10:244:${n}::${(index + 2).toString(16)}`];
    objects.push({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { namespace: pick(namespaces), name: `pod-${index}`, labels: labels() },
      spec: {
        nodeName: `node-${n}`,
        ...(index % 3 === 0 ? { serviceAccountName: "app" } : {}),
        containers: [{ name: "main", ports }],
        ...(host ? { hostNetwork: true } : {}),
      },
      status: { phase: "Running", podIP: addresses[0], podIPs: addresses.map((ip) => ({ ip })) },
    } as KubeObject);
  }
  for (let index = 0; index < policies; index++) {
    const policy: NetworkPolicy = {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { namespace: pick(namespaces), name: `policy-${index}` },
      spec: {
        podSelector: selector(),
        ...(chance(0.3) ? {} : { policyTypes: pick([["Ingress"], ["Egress"], ["Ingress", "Egress"]] as const) }),
        ...(chance(0.3)
          ? {}
          : { ingress: list(() => ({ ...(chance(0.2) ? {} : { from: list(peer) }), ...(chance(0.5) ? {} : { ports: list(port) }) })) }),
        ...(chance(0.3)
          ? {}
          : { egress: list(() => ({ ...(chance(0.2) ? {} : { to: list(peer) }), ...(chance(0.5) ? {} : { ports: list(port) }) })) }),
      },
    };
    objects.push(policy);
  }
  return objects;
}

/** Cluster-wide policies for the clusters of `randomCluster`: both tiers, every action, pods, namespaces and networks, every way to name a port. */
export function randomClusterPolicies(seed: number, count = 4): KubeObject[] {
  const { below, pick, often, some } = chanceOf(seed ^ 0x5eed);
  const namespaces = () =>
    pick<LabelSelector>([{}, { matchLabels: { team: "a" } }, { matchExpressions: [{ key: "team", operator: "NotIn", values: ["a"] }] }]);
  const pods = () => ({
    namespaceSelector: namespaces(),
    podSelector: pick<LabelSelector>([{}, { matchLabels: { app: "a" } }, { matchLabels: { role: "b" } }]),
  });
  const selection = () => (often(0.5) ? { namespaces: namespaces() } : { pods: pods() });
  const networks = () => ({ networks: [pick(["10.244.1.0/24", "10.244.0.0/16", "fd00:10:244:2::/64", "203.0.113.0/24"])] });
  const protocol = () =>
    pick<object>([
      { tcp: { destinationPort: { number: 80 } } },
      { tcp: {} },
      { udp: { destinationPort: { range: { start: 1, end: 100 } } } },
      { tcp: { destinationPort: { range: { start: 8000, end: 8100 } } } },
      { destinationNamedPort: "web" },
    ]);
  const rule = (direction: "from" | "to") => ({
    action: pick(["Accept", "Deny", "Pass"]),
    [direction]: some<object>(2, () => (direction === "to" && often(0.3) ? networks() : selection())),
    ...(often(0.5) ? {} : { protocols: some(2, protocol) }),
  });
  return Array.from({ length: count }, (_, index) => ({
    apiVersion: "policy.networking.k8s.io/v1alpha2",
    kind: "ClusterNetworkPolicy",
    metadata: { name: `cluster-${index}` },
    spec: {
      tier: pick(["Admin", "Baseline"]),
      // Equal priorities are undefined: each has its own.
      priority: 10 * index + below(10),
      subject: selection(),
      ingress: Array.from({ length: below(3) }, () => rule("from")),
      egress: Array.from({ length: below(3) }, () => rule("to")),
    },
  })) as unknown as KubeObject[];
}
