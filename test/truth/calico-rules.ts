// What the parts of a Calico rule mean: both sides, protocols, ports, ICMP, sets, Services, service accounts, negations.
import { allow, deny, global, local } from "./calico-cluster.ts";
import type { Row, TruthTable } from "./table.ts";

const OUT = "203.0.113.200";
/** An ingress rule of a policy of prod over everybody there. */
const ingress = (...rules: object[]) => [local({ ingress: rules })];
const egress = (...rules: object[]) => [local({ egress: rules })];
const source = (of: object, more: object = {}) => allow({ source: of, ...more });
const target = (of: object, more: object = {}) => allow({ destination: of, ...more });
const into = (rows: readonly (readonly [string, string, boolean])[]): Row[] =>
  rows.map(([from, what, may]) => [from, "prod/mysql", what, may]);

const SOURCES: readonly TruthTable[] = [
  {
    title: "a selector alone: end points of the policy's own namespace",
    policies: ingress(source({ selector: "app == 'api-server'" })),
    rows: into([
      ["prod/api", "80/TCP", true],
      ["dev/api", "80/TCP", false],
      ["prod/web", "80/TCP", false],
      [OUT, "80/TCP", false],
    ]),
  },
  {
    title: "in a global policy: of every namespace",
    policies: [global({ selector: "app == 'mysql'", ingress: [source({ selector: "app == 'api-server'" })] })],
    rows: into([
      ["prod/api", "80/TCP", true],
      ["dev/api", "80/TCP", true],
      ["dev/tool", "80/TCP", false],
    ]),
  },
  {
    title: "namespaceSelector and selector: both",
    policies: ingress(source({ namespaceSelector: "env == 'dev'", selector: "app == 'api-server'" })),
    rows: into([
      ["dev/api", "80/TCP", true],
      ["dev/tool", "80/TCP", false],
      ["prod/api", "80/TCP", false],
    ]),
  },
  {
    title: "namespaceSelector alone: everybody there, its network sets too",
    policies: ingress(source({ namespaceSelector: "env == 'dev'" })),
    rows: into([
      ["dev/tool", "80/TCP", true],
      ["prod/web", "80/TCP", false],
      ["203.0.113.200", "80/TCP", true],
      ["203.0.113.20", "80/TCP", false],
    ]),
  },
  {
    title: "namespaceSelector all(): whoever has a namespace",
    policies: ingress(source({ namespaceSelector: "all()" })),
    rows: into([
      ["mon/prometheus", "80/TCP", true],
      ["198.51.100.9", "80/TCP", false],
      ["192.0.2.9", "80/TCP", false],
    ]),
  },
  {
    title: "namespaceSelector global(): whoever has none",
    policies: ingress(source({ namespaceSelector: "global()" })),
    rows: into([
      ["198.51.100.9", "80/TCP", true],
      ["198.51.101.7", "80/TCP", true],
      ["prod/api", "80/TCP", false],
      ["203.0.113.20", "80/TCP", false],
      ["192.0.2.9", "80/TCP", false],
    ]),
  },
  {
    title: "global() in an expression",
    policies: ingress(source({ namespaceSelector: "global() || env == 'dev'", selector: "has(site) || app == 'tool'" })),
    rows: into([
      ["198.51.100.9", "80/TCP", true],
      ["dev/tool", "80/TCP", true],
      ["dev/api", "80/TCP", false],
      ["203.0.113.20", "80/TCP", false],
    ]),
  },
  {
    title: "!= in a namespaceSelector holds for whoever has no namespace",
    policies: ingress(source({ namespaceSelector: "env != 'prod'" })),
    rows: into([
      ["dev/tool", "80/TCP", true],
      ["mon/prometheus", "80/TCP", true],
      ["198.51.100.9", "80/TCP", true],
      ["prod/api", "80/TCP", false],
    ]),
  },
  {
    title: "network sets by their labels, of the own namespace alone",
    policies: ingress(source({ selector: "site == 'office'" })),
    rows: into([
      ["203.0.113.20", "80/TCP", true],
      ["203.0.113.200", "80/TCP", false],
      ["198.51.100.9", "80/TCP", false],
    ]),
  },
  {
    title: "network sets in a global policy: every one",
    policies: [global({ selector: "app == 'mysql'", ingress: [source({ selector: "has(site)" })] })],
    rows: into([
      ["203.0.113.20", "80/TCP", true],
      ["203.0.113.200", "80/TCP", true],
      ["198.51.100.9", "80/TCP", true],
      ["192.0.2.9", "80/TCP", false],
      ["mon/prometheus", "80/TCP", true],
      ["prod/web", "80/TCP", false],
    ]),
  },
  {
    title: "network sets of IPv6",
    policies: [global({ selector: "app == 'mysql'", ingress: [source({ selector: "has(site)" })] })],
    rows: [
      ["2001:db8:1::9", "fd00:10:244:2::2", "80/TCP", true],
      ["2001:db8:2::9", "fd00:10:244:2::2", "80/TCP", false],
    ],
  },
  {
    title: "nets, and addresses without a length",
    policies: ingress(source({ nets: ["10.244.1.3", "203.0.113.0/24"] })),
    rows: into([
      ["prod/web", "80/TCP", true],
      ["prod/api", "80/TCP", false],
      [OUT, "80/TCP", true],
    ]),
  },
  {
    title: "nets of IPv6 say nothing about IPv4",
    policies: ingress(source({ nets: ["fd00:10:244:1::/64"] })),
    rows: [
      ["fd00:10:244:1::2", "fd00:10:244:2::2", "80/TCP", true],
      ["fd00:10:244:2::3", "fd00:10:244:2::2", "80/TCP", false],
      ["prod/api", "prod/mysql", "80/TCP", false],
    ],
  },
  {
    title: "nets and selector: both",
    policies: ingress(source({ nets: ["10.244.1.0/24"], selector: "role == 'backend'" })),
    rows: into([
      ["prod/api", "80/TCP", true],
      ["prod/web", "80/TCP", false],
    ]),
  },
  {
    title: "notNets",
    policies: ingress(source({ nets: ["10.244.0.0/16"], notNets: ["10.244.1.0/31", "10.244.1.2"] })),
    rows: into([
      ["prod/api", "80/TCP", false],
      ["prod/web", "80/TCP", true],
      [OUT, "80/TCP", false],
    ]),
  },
  {
    title: "notNets alone: everybody else, of both families",
    policies: ingress(source({ notNets: ["10.244.1.3/32"] })),
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", false],
      ["prod/api", "prod/mysql", "80/TCP", true],
      [OUT, "prod/mysql", "80/TCP", true],
      ["fd00:10:244:1::3", "fd00:10:244:2::2", "80/TCP", true],
    ],
  },
  {
    title: "notSelector in a policy of a namespace: others of the namespace",
    policies: ingress(source({ notSelector: "app == 'web'" })),
    rows: into([
      ["prod/api", "80/TCP", true],
      ["prod/web", "80/TCP", false],
      ["dev/api", "80/TCP", false],
      [OUT, "80/TCP", false],
    ]),
  },
  {
    title: "notSelector in a global policy: also who is no end point",
    policies: [global({ selector: "app == 'mysql'", ingress: [source({ notSelector: "has(app)" })] })],
    rows: into([
      ["prod/web", "80/TCP", false],
      ["dev/tool", "80/TCP", false],
      [OUT, "80/TCP", true],
      ["192.0.2.9", "80/TCP", true],
    ]),
  },
  {
    title: "a negated selector holds end points only",
    policies: [global({ selector: "app == 'mysql'", ingress: [source({ selector: "!has(app)" })] })],
    rows: into([
      ["prod/web", "80/TCP", false],
      [OUT, "80/TCP", true],
      ["192.0.2.9", "80/TCP", false],
    ]),
  },
  {
    title: "service accounts by name, of the own namespace",
    policies: ingress(source({ serviceAccounts: { names: ["api"] } })),
    rows: into([
      ["prod/api", "80/TCP", true],
      ["dev/api", "80/TCP", false],
      ["prod/web", "80/TCP", false],
    ]),
  },
  {
    title: "service accounts by labels, elsewhere",
    policies: ingress(source({ namespaceSelector: "all()", serviceAccounts: { selector: "tier == 'app'" } })),
    rows: into([
      ["prod/api", "80/TCP", true],
      ["dev/api", "80/TCP", true],
      ["prod/web", "80/TCP", false],
      [OUT, "80/TCP", false],
    ]),
  },
  {
    title: "a Service as source: its end points, from any port",
    policies: [local({ selector: "app == 'web'", ingress: [source({ services: { name: "mysql", namespace: "prod" } })] })],
    rows: [
      ["prod/mysql", "prod/web", "80/TCP", true],
      ["prod/api", "prod/web", "80/TCP", false],
    ],
  },
  {
    title: "the destination of an ingress rule narrows whom it lets in to",
    policies: ingress(allow({ destination: { selector: "app == 'mysql'" } })),
    rows: [
      ["dev/tool", "prod/mysql", "80/TCP", true],
      ["dev/tool", "prod/web", "80/TCP", false],
    ],
  },
];

const TARGETS: readonly TruthTable[] = [
  {
    title: "egress to a selector",
    policies: egress(target({ selector: "app == 'mysql'" })),
    rows: [
      ["prod/api", "prod/mysql", "80/TCP", true],
      ["prod/api", "prod/web", "80/TCP", false],
      ["prod/api", OUT, "80/TCP", false],
    ],
  },
  {
    title: "egress to nets but for some",
    policies: egress(target({ nets: ["0.0.0.0/0"], notNets: ["203.0.113.0/24"] })),
    rows: [
      ["prod/api", "192.0.2.9", "80/TCP", true],
      ["prod/api", OUT, "80/TCP", false],
      ["prod/api", "10.112.0.52", "80/TCP", true],
      ["fd00:10:244:1::2", "fd00:10:244:2::3", "80/TCP", false],
    ],
  },
  {
    title: "egress to a Service: its end points and their ports, nothing more",
    policies: egress(target({ services: { name: "mysql", namespace: "prod" } })),
    rows: [
      ["prod/api", "prod/mysql", "3306/TCP", true],
      ["prod/api", "prod/mysql", "3306/UDP", false],
      ["prod/api", "prod/mysql", "80/TCP", false],
      ["prod/api", "prod/web", "3306/TCP", false],
    ],
  },
  {
    title: "a Service of the policy's own namespace needs no namespace; an unknown one is nobody",
    policies: [
      local({ selector: "app == 'api-server'", egress: [target({ services: { name: "mysql" } })] }),
      local({ selector: "app == 'web'", egress: [target({ services: { name: "none" } })] }),
    ],
    rows: [
      ["prod/api", "prod/mysql", "3306/TCP", true],
      ["prod/web", "prod/mysql", "3306/TCP", false],
    ],
  },
  {
    title: "services with ports beside them are not understood",
    policies: egress(target({ services: { name: "mysql" }, ports: [3306] }, { protocol: "TCP" })),
    rows: [["prod/api", "prod/mysql", "3306/TCP", false]],
  },
  {
    title: "the source of an egress rule narrows who may go",
    policies: egress(allow({ source: { selector: "app == 'web'" } })),
    rows: [
      ["prod/web", OUT, "80/TCP", true],
      ["prod/api", OUT, "80/TCP", false],
    ],
  },
];

const TRAFFIC: readonly TruthTable[] = [
  {
    title: "a protocol",
    policies: ingress(allow({ protocol: "TCP" })),
    rows: into([
      ["prod/web", "80/TCP", true],
      ["prod/web", "80/UDP", false],
      ["prod/web", "ICMP", false],
    ]),
  },
  {
    title: "protocols in any case, SCTP, UDPLite",
    policies: ingress(allow({ protocol: "sctp" }), allow({ protocol: "UDPLite" })),
    rows: into([
      ["prod/web", "80/SCTP", true],
      ["prod/web", "80/UDPLite", true],
      ["prod/web", "80/UDP", false],
    ]),
  },
  {
    title: "protocols by number",
    policies: ingress(allow({ protocol: 99 }), allow({ protocol: 17 }), allow({ protocol: "47" })),
    rows: into([
      ["prod/web", "protocol 99", true],
      ["prod/web", "protocol 47", true],
      ["prod/web", "protocol 98", false],
      ["prod/web", "80/UDP", true],
      ["prod/web", "80/TCP", false],
    ]),
  },
  {
    title: "notProtocol",
    policies: ingress(allow({ notProtocol: "UDP" })),
    rows: into([
      ["prod/web", "80/UDP", false],
      ["prod/web", "80/TCP", true],
      ["prod/web", "protocol 99", true],
      ["prod/web", "ICMP", true],
    ]),
  },
  {
    title: "ports, ranges and their edges",
    policies: ingress(target({ ports: [80, "8000:8099", "443"] }, { protocol: "TCP" })),
    rows: into([
      ["prod/web", "80/TCP", true],
      ["prod/web", "443/TCP", true],
      ["prod/web", "8000/TCP", true],
      ["prod/web", "8099/TCP", true],
      ["prod/web", "8100/TCP", false],
      ["prod/web", "7999/TCP", false],
      ["prod/web", "80/UDP", false],
    ]),
  },
  {
    title: "named ports are the destination's, for the packet's protocol",
    policies: ingress(target({ ports: ["db"] }, { protocol: "TCP" }), target({ ports: ["dns"] }, { protocol: "UDP" })),
    rows: [
      ["prod/web", "prod/mysql", "3306/TCP", true],
      ["prod/web", "prod/mysql", "3306/UDP", false],
      ["prod/web", "prod/mysql", "53/UDP", true],
      ["prod/api", "prod/web", "3306/TCP", false],
      ["prod/api", "prod/web", "53/UDP", true],
    ],
  },
  {
    title: "a named port of egress, and a number beside it",
    policies: egress(target({ ports: ["db", 81] }, { protocol: "TCP" })),
    rows: [
      ["prod/api", "prod/mysql", "3306/TCP", true],
      ["prod/api", "prod/mysql", "81/TCP", true],
      ["prod/api", "dev/tool", "3306/TCP", false],
      ["prod/api", OUT, "3306/TCP", false],
      ["prod/api", OUT, "81/TCP", true],
    ],
  },
  {
    title: "notPorts",
    policies: ingress(target({ notPorts: [22, "6000:6063"] }, { protocol: "TCP" })),
    rows: into([
      ["prod/web", "22/TCP", false],
      ["prod/web", "6063/TCP", false],
      ["prod/web", "6064/TCP", true],
      ["prod/web", "23/UDP", false],
    ]),
  },
  {
    title: "notPorts by name",
    policies: ingress(target({ notPorts: ["db"] }, { protocol: "TCP" })),
    rows: into([
      ["prod/web", "3306/TCP", false],
      ["prod/web", "3307/TCP", true],
    ]),
  },
  {
    title: "ports but for some of them",
    policies: ingress(target({ ports: ["80:90"], notPorts: [85] }, { protocol: "TCP" })),
    rows: into([
      ["prod/web", "80/TCP", true],
      ["prod/web", "85/TCP", false],
      ["prod/web", "91/TCP", false],
    ]),
  },
  {
    title: "source ports",
    policies: ingress(source({ ports: ["5000:5010"] }, { protocol: "UDP" })),
    rows: into([
      ["prod/web", "80/UDP from 5000", true],
      ["prod/web", "80/UDP from 5011", false],
      ["prod/web", "80/TCP from 5000", false],
    ]),
  },
  {
    title: "not source ports, and both ends' ports at once",
    policies: ingress(allow({ protocol: "TCP", source: { notPorts: ["1:1023"] }, destination: { ports: [80] } })),
    rows: into([
      ["prod/web", "80/TCP from 5000", true],
      ["prod/web", "80/TCP from 1023", false],
      ["prod/web", "81/TCP from 5000", false],
    ]),
  },
  {
    title: "a named source port is the source's",
    policies: ingress(source({ selector: "app == 'api-server'", ports: ["db"] }, { protocol: "TCP" })),
    rows: into([
      ["prod/api", "80/TCP from 3306", true],
      ["prod/api", "80/TCP from 3307", false],
    ]),
  },
  {
    title: "ICMP of a type",
    policies: ingress(allow({ protocol: "ICMP", icmp: { type: 8 } })),
    rows: into([
      ["prod/web", "ICMP", true],
      ["prod/web", "ICMP 8/5", true],
      ["prod/web", "ICMP 13/0", false],
      ["prod/web", "80/TCP", false],
    ]),
  },
  {
    title: "ICMP of a type and code",
    policies: ingress(allow({ protocol: "ICMP", icmp: { type: 3, code: 4 } })),
    rows: into([
      ["prod/web", "ICMP 3/4", true],
      ["prod/web", "ICMP 3/1", false],
      ["prod/web", "ICMP 4/4", false],
    ]),
  },
  {
    title: "notICMP of a type",
    policies: ingress(allow({ protocol: "ICMP", notICMP: { type: 8 } })),
    rows: into([
      ["prod/web", "ICMP", false],
      ["prod/web", "ICMP 13/0", true],
      ["prod/web", "80/TCP", false],
    ]),
  },
  {
    title: "notICMP of a type and code",
    policies: ingress(allow({ protocol: "ICMP", notICMP: { type: 8, code: 1 } })),
    rows: into([
      ["prod/web", "ICMP 8/0", true],
      ["prod/web", "ICMP 8/1", false],
      ["prod/web", "ICMP 13/1", true],
    ]),
  },
  {
    title: "ICMP without a type: every one",
    policies: ingress(allow({ protocol: "ICMP", icmp: {} })),
    rows: into([
      ["prod/web", "ICMP 13/0", true],
      ["prod/web", "80/UDP", false],
    ]),
  },
  {
    title: "ICMPv6 is of IPv6",
    policies: ingress(allow({ protocol: "ICMPv6", icmp: { type: 128 } })),
    rows: [
      ["fd00:10:244:1::3", "fd00:10:244:2::2", "ICMPv6", true],
      ["fd00:10:244:1::3", "fd00:10:244:2::2", "ICMPv6 1/0", false],
      ["prod/web", "prod/mysql", "ICMP", false],
    ],
  },
  {
    title: "ipVersion",
    policies: ingress(allow({ ipVersion: 6 }), allow({ ipVersion: 4, protocol: "UDP" })),
    rows: [
      ["fd00:10:244:1::3", "fd00:10:244:2::2", "80/TCP", true],
      ["prod/web", "prod/mysql", "80/TCP", false],
      ["prod/web", "prod/mysql", "80/UDP", true],
    ],
  },
  {
    title: "http is not enforced: such an Allow allows nothing",
    policies: ingress(allow({ protocol: "TCP", http: { methods: ["GET"] } })),
    rows: into([["prod/web", "80/TCP", false]]),
  },
  {
    title: "Deny with every part of a rule at once",
    policies: ingress(
      deny({
        protocol: "TCP",
        source: { selector: "app == 'web'", notNets: ["10.244.1.9/32"] },
        destination: { selector: "app == 'mysql'", ports: ["1:100"] },
      }),
      allow(),
    ),
    rows: [
      ["prod/web", "prod/mysql", "80/TCP", false],
      ["prod/web", "prod/mysql", "101/TCP", true],
      ["prod/web", "prod/mysql", "80/UDP", true],
      ["prod/web", "prod/api", "80/TCP", true],
      ["prod/api", "prod/mysql", "80/TCP", true],
    ],
  },
];

export const CALICO_RULES: readonly TruthTable[] = [...SOURCES, ...TARGETS, ...TRAFFIC];
