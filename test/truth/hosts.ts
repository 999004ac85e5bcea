// What policies on nodes mean: Calico's host end points, and the nodes that Cilium's host policies select.
import { allow, deny, global, named, tier } from "./calico-cluster.ts";
import { namespace, node, pod, type TruthSuite, type TruthTable } from "./table.ts";

const OUT = "203.0.113.9";
const ALLOW = ["projectcalico-default-allow"];

const end = (spec: object, n = 1, labels: object = { role: "node" }) => ({
  apiVersion: "projectcalico.org/v3",
  kind: "HostEndpoint",
  metadata: { name: `host-${n}`, labels },
  spec: { node: `node-${n}`, interfaceName: "*", expectedIPs: [`10.112.0.5${n}`], ...spec },
});
const hosts = (spec: object) => global({ selector: "role == 'node'", ...spec });
const from = (net: string, more: object = {}) => ({ source: { nets: [net] }, ...more });
const felix = (spec: object) => named("FelixConfiguration", "default", spec);
const cilium = (spec: object) => ({
  apiVersion: "cilium.io/v2",
  kind: "CiliumClusterwideNetworkPolicy",
  metadata: { name: "host" },
  spec: { nodeSelector: { matchLabels: { rack: "a" } }, ...spec },
});

const CLOSED: readonly TruthTable[] = [
  {
    title: "a host end point without policy and profile is closed, but for what keeps the node alive",
    policies: [end({})],
    rows: [
      [OUT, "node-1", "80/TCP", false],
      [OUT, "node-1", "ICMP", false],
      [OUT, "node-1", "22/TCP", true],
      [OUT, "node-1", "22/UDP", false],
      [OUT, "node-1", "68/UDP", true],
      ["node-1", OUT, "80/TCP", false],
      ["node-1", OUT, "53/UDP", true],
      ["node-1", OUT, "6443/TCP", true],
      ["node-2", "node-1", "8472/UDP", true],
      ["node-1", "node-2", "8472/UDP", true],
      [OUT, "node-1", "8472/UDP", false],
      ["node-2", "node-1", "80/TCP", false],
      ["a/two", "node-1", "80/TCP", false],
      ["a/one", "node-1", "80/TCP", true],
      ["node-1", "a/one", "80/TCP", true],
      ["node-1", "a/two", "80/TCP", false],
      [OUT, "a/one", "80/TCP", true],
      ["a/one", "a/two", "80/TCP", true],
      ["a/one", OUT, "80/TCP", true],
      [OUT, "node-2", "80/TCP", true],
    ],
  },
  {
    title: "the profile that allows everything",
    policies: [end({ profiles: ALLOW })],
    rows: [
      [OUT, "node-1", "80/TCP", true],
      ["node-1", OUT, "80/TCP", true],
    ],
  },
  {
    title: "profiles of one's own, in the order in which the end point names them",
    policies: [
      end({ profiles: ["first", "second", "none"] }),
      named("Profile", "first", { ingress: [deny({ protocol: "TCP", destination: { ports: [81] } })], egress: [] }),
      named("Profile", "second", { ingress: [allow({ protocol: "TCP" })], egress: [allow()] }),
    ],
    rows: [
      [OUT, "node-1", "80/TCP", true],
      [OUT, "node-1", "81/TCP", false],
      [OUT, "node-1", "80/UDP", false],
      ["node-1", OUT, "80/UDP", true],
    ],
  },
  {
    title: "failsafe ports are the user's to choose",
    policies: [
      end({}),
      felix({ failsafeInboundHostPorts: [{ protocol: "tcp", port: 2222, net: "203.0.113.0/24" }], failsafeOutboundHostPorts: [] }),
    ],
    rows: [
      [OUT, "node-1", "22/TCP", false],
      [OUT, "node-1", "2222/TCP", true],
      ["198.51.100.9", "node-1", "2222/TCP", false],
      ["node-1", OUT, "53/UDP", false],
    ],
  },
  {
    title: "one interface, of all that comes in by it",
    policies: [end({ interfaceName: "out" })],
    rows: [
      [OUT, "node-1", "80/TCP", false],
      [OUT, "node-1", "22/TCP", true],
      ["a/one", "node-1", "80/TCP", true],
      [OUT, "a/one", "80/TCP", true],
      [OUT, "node-2", "80/TCP", true],
    ],
  },
  {
    title: "an end point that its address alone names",
    policies: [end({ interfaceName: undefined })],
    rows: [
      [OUT, "node-1", "80/TCP", false],
      ["node-1", OUT, "80/TCP", false],
      [OUT, "node-2", "80/TCP", true],
    ],
  },
];

const POLICIES: readonly TruthTable[] = [
  {
    title: "a policy on host end points: its end denies before the profile",
    policies: [
      end({ profiles: ALLOW }),
      hosts({ ingress: [allow(from("203.0.113.0/24", { protocol: "TCP", destination: { ports: [80] } }))] }),
    ],
    rows: [
      [OUT, "node-1", "80/TCP", true],
      [OUT, "node-1", "81/TCP", false],
      ["198.51.100.9", "node-1", "80/TCP", false],
      ["node-1", OUT, "80/TCP", true],
      [OUT, "a/one", "81/TCP", true],
    ],
  },
  {
    title: "a host end point's named ports",
    policies: [
      end({ profiles: ALLOW, ports: [{ name: "admin", port: 8443, protocol: "TCP" }] }),
      hosts({ ingress: [allow({ protocol: "TCP", destination: { ports: ["admin", 81] } })] }),
      global({ selector: "app == 'two'", egress: [deny({ protocol: "TCP", destination: { ports: ["admin"] } }), allow()] }),
    ],
    rows: [
      [OUT, "node-1", "8443/TCP", true],
      [OUT, "node-1", "8444/TCP", false],
      [OUT, "node-1", "81/TCP", true],
      ["a/two", "node-1", "8443/TCP", false],
      ["a/two", "node-1", "81/TCP", true],
      ["a/two", OUT, "8443/TCP", true],
    ],
  },
  {
    title: "egress of the host",
    policies: [end({ profiles: ALLOW }), hosts({ egress: [deny({ destination: { nets: [`${OUT}/32`] } }), allow()] })],
    rows: [
      ["node-1", OUT, "80/TCP", false],
      ["node-1", "198.51.100.9", "80/TCP", true],
      ["node-1", "a/two", "80/TCP", true],
      ["a/one", OUT, "80/TCP", true],
    ],
  },
  {
    title: "tiers and Pass on hosts",
    policies: [
      end({ profiles: ALLOW }),
      tier("first", 10),
      hosts({ tier: "first", ingress: [{ action: "Pass", protocol: "TCP" }, deny({ protocol: "UDP", destination: { ports: [80] } })] }),
      hosts({ ingress: [allow(from("203.0.113.0/24"))] }),
    ],
    rows: [
      [OUT, "node-1", "80/TCP", true],
      ["198.51.100.9", "node-1", "80/TCP", false],
      [OUT, "node-1", "80/UDP", false],
      [OUT, "node-1", "81/UDP", false],
    ],
  },
  {
    title: "a policy for everybody selects pods and hosts alike",
    policies: [end({ profiles: ALLOW }), global({ ingress: [allow({ protocol: "TCP" })] })],
    rows: [
      [OUT, "node-1", "80/TCP", true],
      [OUT, "node-1", "80/UDP", false],
      [OUT, "a/one", "80/UDP", false],
      [OUT, "node-2", "80/UDP", true],
    ],
  },
  {
    title: "namespaced end points alone: no host",
    policies: [end({ profiles: ALLOW }), global({ namespaceSelector: "all()", ingress: [deny()] })],
    rows: [
      [OUT, "node-1", "80/TCP", true],
      [OUT, "a/one", "80/TCP", false],
    ],
  },
  {
    title: "host end points as peers: their expected addresses",
    policies: [
      end({ profiles: ALLOW }, 2),
      global({ selector: "app == 'one'", ingress: [allow({ source: { selector: "role == 'node'" } })] }),
    ],
    rows: [
      ["node-2", "a/one", "80/TCP", true],
      ["a/two", "a/one", "80/TCP", false],
      [OUT, "a/one", "80/TCP", false],
    ],
  },
  {
    title: "labels that a profile lends",
    policies: [
      end({ profiles: ["lends", ...ALLOW] }, 1, {}),
      named("Profile", "lends", { labelsToApply: { role: "node" } }),
      hosts({ ingress: [deny({ protocol: "UDP" }), allow()] }),
    ],
    rows: [
      [OUT, "node-1", "80/UDP", false],
      [OUT, "node-1", "80/TCP", true],
    ],
  },
  {
    title: "global() means hosts too",
    policies: [
      end({ profiles: ALLOW }, 2),
      global({ selector: "app == 'one'", ingress: [allow({ source: { namespaceSelector: "global()" } })] }),
    ],
    rows: [
      ["node-2", "a/one", "80/TCP", true],
      ["a/two", "a/one", "80/TCP", false],
    ],
  },
];

const STAGES: readonly TruthTable[] = [
  {
    title: "applyOnForward: what goes through the host",
    policies: [
      end({ profiles: ALLOW }),
      hosts({ applyOnForward: true, ingress: [allow(from("198.51.100.0/24")), deny({ protocol: "UDP" })] }),
    ],
    rows: [
      ["198.51.100.9", "a/one", "80/TCP", true],
      [OUT, "a/one", "80/TCP", false],
      [OUT, "a/one", "80/UDP", false],
      ["a/two", "a/one", "80/TCP", false],
      ["a/one", OUT, "80/TCP", true],
      [OUT, "node-1", "80/TCP", false],
      ["198.51.100.9", "node-1", "80/TCP", true],
    ],
  },
  {
    title: "applyOnForward on the way out",
    policies: [
      end({ profiles: ALLOW }),
      hosts({ applyOnForward: true, egress: [deny({ destination: { nets: [`${OUT}/32`] } }), allow()] }),
    ],
    rows: [
      ["a/one", OUT, "80/TCP", false],
      ["a/one", "a/two", "80/TCP", true],
      ["node-1", OUT, "80/TCP", false],
      ["a/two", "a/one", "80/TCP", true],
    ],
  },
  {
    title: "the pod's own policies are asked as well",
    policies: [
      end({ profiles: ALLOW }),
      hosts({ applyOnForward: true, ingress: [allow()] }),
      global({ selector: "app == 'one'", ingress: [deny({ protocol: "UDP" }), allow()] }),
    ],
    rows: [
      [OUT, "a/one", "80/TCP", true],
      [OUT, "a/one", "80/UDP", false],
    ],
  },
  {
    title: "preDNAT has no end, and what it allows the host end point is asked no more",
    policies: [
      end({}),
      hosts({ preDNAT: true, applyOnForward: true, order: 1, ingress: [allow(from("198.51.100.0/24")), deny({ protocol: "UDP" })] }),
    ],
    rows: [
      ["198.51.100.9", "node-1", "80/TCP", true],
      [OUT, "node-1", "80/TCP", false],
      [OUT, "node-1", "22/TCP", true],
      [OUT, "a/one", "80/TCP", true],
      [OUT, "a/one", "80/UDP", false],
      ["a/two", "a/one", "80/UDP", false],
      ["a/one", OUT, "80/UDP", true],
    ],
  },
  {
    title: "doNotTrack both ways, without an end",
    policies: [
      end({ profiles: ALLOW }),
      hosts({
        doNotTrack: true,
        applyOnForward: true,
        ingress: [allow({ protocol: "UDP", destination: { ports: [123] } }), deny({ protocol: "UDP" })],
        egress: [deny({ protocol: "UDP", destination: { nets: [`${OUT}/32`] } })],
      }),
      hosts({ ingress: [allow({ protocol: "TCP" })] }),
    ],
    rows: [
      [OUT, "node-1", "80/UDP", false],
      [OUT, "node-1", "80/TCP", true],
      [OUT, "node-1", "ICMP", false],
      ["node-1", OUT, "80/UDP", false],
      ["node-1", "198.51.100.9", "80/UDP", true],
      [OUT, "a/one", "80/UDP", false],
      [OUT, "a/one", "80/TCP", true],
      [OUT, "a/one", "123/UDP", true],
    ],
  },
  {
    title: "untracked and preDNAT policies are nothing to pods",
    policies: [
      global({ doNotTrack: true, applyOnForward: true, ingress: [deny()] }),
      global({ preDNAT: true, applyOnForward: true, ingress: [deny()] }),
    ],
    rows: [
      [OUT, "a/one", "80/TCP", true],
      ["a/two", "a/one", "80/TCP", true],
    ],
  },
];

const CILIUM: readonly TruthTable[] = [
  {
    title: "Cilium's host policy: also what the node's own pods send to it",
    policies: [cilium({ ingress: [{ fromEntities: ["remote-node"] }, { fromEndpoints: [{ matchLabels: { app: "two" } }] }] })],
    rows: [
      [OUT, "node-1", "80/TCP", false],
      [OUT, "node-1", "22/TCP", false],
      ["node-2", "node-1", "80/TCP", true],
      ["a/one", "node-1", "80/TCP", false],
      ["a/two", "node-1", "80/TCP", true],
      ["node-1", OUT, "80/TCP", true],
      ["node-1", "a/one", "80/TCP", true],
      [OUT, "a/one", "80/TCP", true],
      [OUT, "node-2", "80/TCP", true],
    ],
  },
  {
    title: "Cilium's host policy of egress, beside a host end point of Calico's: both must allow",
    policies: [
      cilium({ egress: [{ toCIDR: ["203.0.113.0/24", "198.51.100.0/24"] }] }),
      end({ profiles: ALLOW }),
      hosts({ egress: [deny({ destination: { nets: ["198.51.100.0/24"] } }), allow()] }),
    ],
    rows: [
      ["node-1", OUT, "80/TCP", true],
      ["node-1", "198.51.100.9", "80/TCP", false],
      ["node-1", "192.0.2.9", "80/TCP", false],
      ["a/one", "192.0.2.9", "80/TCP", true],
    ],
  },
];

export const HOSTS: TruthSuite = {
  language: "policies on hosts",
  cluster: [
    namespace("a"),
    node(1, { rack: "a" }),
    node(2, { rack: "b" }),
    pod("a/one", { app: "one" }, 1, ["10.244.1.2"]),
    pod("a/two", { app: "two" }, 2, ["10.244.2.2"]),
  ],
  tables: [...CLOSED, ...POLICIES, ...STAGES, ...CILIUM],
};
