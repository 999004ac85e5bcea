// The cluster that the policy benchmarks speak of: many policies over many pods, as plain objects.
import type { NodeFacts } from "../src/plan/index.ts";
import type { KubeObject, NetworkPolicy, Pod } from "../src/resources/index.ts";
import { node } from "../test/service-objects.ts";

export interface PolicyWorldSize {
  readonly nodes: number;
  readonly pods: number;
  readonly policies: number;
  readonly namespaces: number;
  /** Pods of the node that is measured; the others share the rest. */
  readonly podsOfNode: number;
}

const APPS = 20;
const TEAMS = 10;

/** Objects by number: the same number with another `round` is the same object, changed. */
export interface PolicyWorld {
  readonly objects: readonly KubeObject[];
  readonly facts: NodeFacts;
  pod(index: number, labels?: Readonly<Record<string, string>>): Pod;
  policy(index: number, round?: number): NetworkPolicy;
}

/** Pods of every namespace are on the measured node, and each application of a namespace has a few pods and as many policies. */
export function policyWorld({ nodes, pods, policies, namespaces, podsOfNode }: PolicyWorldSize): PolicyWorld {
  const nodeOf = (pod: number) => (pod < podsOfNode ? 0 : 1 + ((pod - podsOfNode) % (nodes - 1)));
  const placeOf = (pod: number) => (pod < podsOfNode ? pod : Math.floor((pod - podsOfNode) / (nodes - 1)));
  const addressOf = (pod: number) => `10.${100 + (nodeOf(pod) >> 8)}.${nodeOf(pod) & 255}.${2 + placeOf(pod)}`;
  const namespaceOf = (index: number) => `ns-${index % namespaces}`;
  const appOf = (index: number) => `app-${Math.floor(index / namespaces) % APPS}`;
  const pod = (index: number, labels: Readonly<Record<string, string>> = {}): Pod => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: namespaceOf(index), name: `pod-${index}`, labels: { app: appOf(index), ...labels } },
    spec: { nodeName: `node-${nodeOf(index)}`, containers: [{ name: "main", ports: [{ name: "web", containerPort: 8080 }] }] },
    status: { phase: "Running", podIP: addressOf(index), podIPs: [{ ip: addressOf(index) }] },
  });
  const policy = (index: number, round = 0): NetworkPolicy => {
    const turn = Math.floor(index / namespaces);
    const dns = { to: [{ namespaceSelector: { matchLabels: { team: "t0" } } }], ports: [{ protocol: "UDP" as const, port: 53 }] };
    const port = { port: turn % 2 ? 8080 : 8000 + ((turn + round) % 500) };
    const team = {
      namespaceSelector: { matchLabels: { team: `t${(turn + round) % TEAMS}` } },
      podSelector: { matchLabels: { app: appOf(index) } },
    };
    const block = { ipBlock: { cidr: `10.${(turn + round) % 250}.0.0/16`, except: [`10.${(turn + round) % 250}.1.0/24`] } };
    const spec: NetworkPolicy["spec"][] = [
      {
        podSelector: { matchLabels: { app: appOf(index) } },
        ingress: [{ from: [{ podSelector: { matchLabels: { app: `app-${turn % APPS}` } } }], ports: [port] }],
      },
      { podSelector: { matchLabels: { app: appOf(index) } }, ingress: [{ from: [team], ports: [{ port: "web" }, port] }] },
      {
        podSelector: { matchLabels: { app: appOf(index) } },
        ingress: [{ from: [block], ports: [port] }],
        egress: [dns, { to: [team] }],
        policyTypes: ["Ingress", "Egress"],
      },
      {
        podSelector: { matchExpressions: [{ key: "app", operator: "NotIn", values: [appOf(index)] }] },
        ingress: [{ from: [{ podSelector: {} }], ports: [port] }],
      },
    ];
    return {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { namespace: namespaceOf(index), name: `policy-${index}` },
      spec: spec[turn % 10 === 0 ? 3 : turn % 3] as NetworkPolicy["spec"],
    };
  };
  const objects: KubeObject[] = [
    ...Array.from({ length: namespaces }, (_, index): KubeObject => {
      const metadata = { name: namespaceOf(index), labels: { team: `t${index % TEAMS}` } };
      return { apiVersion: "v1", kind: "Namespace", metadata };
    }),
    ...Array.from({ length: nodes }, (_, index) =>
      node(`node-${index}`, [`10.${100 + (index >> 8)}.${index & 255}.0/24`], [`10.112.${index >> 8}.${index & 255}`]),
    ),
    ...Array.from({ length: pods }, (_, index) => pod(index)),
    ...Array.from({ length: policies }, (_, index) => policy(index)),
  ];
  const facts: NodeFacts = {
    node: "node-0",
    underlay: { link: "ens160", mtu: 1500, addresses: ["10.112.0.0/16"] },
    attachments: Array.from({ length: podsOfNode }, (_, index) => ({
      containerId: `c${index}`,
      interface: "eth0",
      podNamespace: namespaceOf(index),
      podName: `pod-${index}`,
      netns: "",
      hostLink: `veth${index}`,
      mac: `0a:00:00:00:00:${(index & 255).toString(16).padStart(2, "0")}`,
      addresses: [`${addressOf(index)}/24`],
    })),
  };
  return { objects, facts, pod, policy };
}
