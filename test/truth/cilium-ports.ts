// What Cilium's rules say of ports, protocols and ICMP.
import { app, DB, local, OUT, on, table } from "./cilium-cluster.ts";
import type { TruthTable } from "./table.ts";

const API = [app("api")];
const ports = (...list: readonly object[]) => ({ toPorts: [{ ports: list }] });
const icmp = (...fields: readonly object[]) => ({ icmps: [{ fields }] });

export const CILIUM_PORTS: readonly TruthTable[] = [
  table(
    "a port without a protocol is of TCP, UDP and SCTP",
    [local({ ...DB, ingress: [{ fromEndpoints: API, ...on("53") }] })],
    ["prod/api", "prod/db", "53/TCP", true],
    ["prod/api", "prod/db", "53/UDP", true],
    ["prod/api", "prod/db", "53/SCTP", true],
    ["prod/api", "prod/db", "54/UDP", false],
    ["prod/api", "prod/db", "ICMP", false],
  ),
  table(
    "ANY is the same",
    [local({ ...DB, ingress: [{ fromEndpoints: API, ...on("53", "ANY") }] })],
    ["prod/api", "prod/db", "53/UDP", true],
    ["prod/api", "prod/db", "54/TCP", false],
  ),
  table(
    "one protocol",
    [local({ ...DB, ingress: [{ fromEndpoints: API, ...on("80", "tcp") }] })],
    ["prod/api", "prod/db", "80/TCP", true],
    ["prod/api", "prod/db", "80/UDP", false],
  ),
  table(
    "a range",
    [local({ ...DB, ingress: [{ fromEndpoints: API, ...on("8000", "TCP", { endPort: 8100 }) }] })],
    ["prod/api", "prod/db", "8000/TCP", true],
    ["prod/api", "prod/db", "8100/TCP", true],
    ["prod/api", "prod/db", "8101/TCP", false],
  ),
  table(
    "a name is looked up at the destination",
    [local({ ...DB, ingress: [{ fromEndpoints: API, ...on("web", "TCP") }] })],
    ["prod/api", "prod/db", "8080/TCP", true],
    ["prod/api", "prod/db", "80/TCP", false],
  ),
  table(
    "a name on the way out",
    [local({ endpointSelector: app("web"), egress: [{ toEndpoints: API, ...on("dns") }] })],
    ["prod/web", "prod/api", "53/UDP", true],
    ["prod/web", "prod/api", "53/TCP", false],
    ["prod/web", "prod/db", "53/UDP", false],
  ),
  table(
    "port 0 is every port",
    [local({ ...DB, ingress: [{ fromEndpoints: API, ...on("0", "UDP") }] })],
    ["prod/api", "prod/db", "9999/UDP", true],
    ["prod/api", "prod/db", "9999/TCP", false],
  ),
  table(
    "port 0 of ANY is everything",
    [local({ ...DB, ingress: [{ fromEndpoints: API, ...on("0", "ANY") }] })],
    ["prod/api", "prod/db", "9999/TCP", true],
    ["prod/api", "prod/db", "ICMP", true],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
  table(
    "several ports, and several port rules",
    [
      local({
        ...DB,
        ingress: [
          {
            fromEndpoints: API,
            toPorts: [
              {
                ports: [
                  { port: "80", protocol: "TCP" },
                  { port: "443", protocol: "TCP" },
                ],
              },
              { ports: [{ port: "53", protocol: "UDP" }] },
            ],
          },
        ],
      }),
    ],
    ["prod/api", "prod/db", "443/TCP", true],
    ["prod/api", "prod/db", "53/UDP", true],
    ["prod/api", "prod/db", "53/TCP", false],
  ),
  table(
    "a port rule without ports matches nothing",
    [local({ ...DB, ingress: [{ fromEndpoints: API, ...ports() }] })],
    ["prod/api", "prod/db", "80/TCP", false],
  ),
  table(
    "without ports everything of the end points passes",
    [local({ ...DB, ingress: [{ fromEndpoints: API }] })],
    ["prod/api", "prod/db", "9999/SCTP", true],
    ["prod/api", "prod/db", "ICMP", true],
    ["prod/api", "prod/db", "protocol 47", true],
  ),
  table(
    "a port rule with HTTP beside one without: the latter holds",
    [
      local({
        ...DB,
        ingress: [
          {
            fromEndpoints: API,
            toPorts: [
              { ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{ path: "/" }] } },
              { ports: [{ port: "443", protocol: "TCP" }] },
            ],
          },
        ],
      }),
    ],
    ["prod/api", "prod/db", "80/TCP", false],
    ["prod/api", "prod/db", "443/TCP", true],
  ),
  table(
    "DNS rules for every name are the port alone",
    [local({ ...DB, egress: [{ toEndpoints: API, toPorts: [{ ports: [{ port: "53" }], rules: { dns: [{ matchPattern: "*" }] } }] }] })],
    ["prod/db", "prod/api", "53/UDP", true],
    ["prod/db", "prod/api", "80/TCP", false],
  ),
  table(
    "DNS rules for some names are not enforced here, and allow nothing",
    [
      local({
        ...DB,
        egress: [{ toEndpoints: API, toPorts: [{ ports: [{ port: "53" }], rules: { dns: [{ matchName: "example.com" }] } }] }],
      }),
    ],
    ["prod/db", "prod/api", "53/UDP", false],
  ),
  table(
    "server names likewise",
    [
      local({
        ...DB,
        egress: [{ toEntities: ["world"], toPorts: [{ ports: [{ port: "443", protocol: "TCP" }], serverNames: ["example.com"] }] }],
      }),
    ],
    ["prod/db", OUT, "443/TCP", false],
  ),
  table(
    "ICMP by type",
    [local({ ...DB, ingress: [{ fromEndpoints: API, ...icmp({ type: 8 }) }] })],
    ["prod/api", "prod/db", "ICMP", true],
    ["prod/api", "prod/db", "ICMP 13/0", false],
    ["prod/api", "prod/db", "80/TCP", false],
    ["prod/web", "prod/db", "ICMP", false],
  ),
  table(
    "ICMP by the type's name",
    [local({ ...DB, ingress: [{ fromEndpoints: API, ...icmp({ type: "EchoRequest", family: "IPv4" }) }] })],
    ["prod/api", "prod/db", "ICMP", true],
  ),
  table(
    "ICMPv6 is of its own family",
    [local({ ...DB, ingress: [{ fromEndpoints: API, ...icmp({ type: "EchoRequest", family: "IPv6" }) }] })],
    ["fd00:10:244:1::2", "fd00:10:244:2::2", "ICMPv6", true],
    ["prod/api", "prod/db", "ICMP", false],
  ),
  table(
    "ICMP of whoever it is",
    [local({ ...DB, ingress: [icmp({ type: 8 })] })],
    [OUT, "prod/db", "ICMP", true],
    ["prod/web", "prod/db", "ICMP", true],
    ["prod/web", "prod/db", "80/TCP", false],
  ),
  table(
    "denied ICMP",
    [local({ ...DB, ingress: [{ fromEntities: ["all"] }], ingressDeny: [icmp({ type: 8 })] })],
    ["prod/api", "prod/db", "ICMP", false],
    ["prod/api", "prod/db", "80/TCP", true],
  ),
  table(
    "ICMP and ports in one rule do not go together",
    [local({ ...DB, ingress: [{ fromEndpoints: API, ...icmp({ type: 8 }), ...on("80") }] })],
    ["prod/api", "prod/db", "ICMP", false],
    ["prod/api", "prod/db", "80/TCP", false],
  ),
  table(
    "a range upside down makes the entry invalid",
    [local({ ...DB, ingress: [{ fromEndpoints: API, ...on("8100", "TCP", { endPort: 8000 }) }] })],
    ["prod/api", "prod/db", "8050/TCP", false],
    ["prod/api", "prod/db", "8100/TCP", false],
  ),
  table(
    "more than forty ports make the entry invalid",
    [
      local({
        ...DB,
        ingress: [{ fromEndpoints: API, ...ports(...Array.from({ length: 41 }, (_, index) => ({ port: `${80 + index}` }))) }],
      }),
    ],
    ["prod/api", "prod/db", "80/TCP", false],
  ),
];
