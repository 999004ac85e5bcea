// Calico's policies, tiers and sets by chance, for the clusters of `randomCluster`: every part of the language, now and then a wrong one.
import type { KubeObject } from "../src/resources/index.ts";
import { type Chance, chanceOf } from "./random.ts";

const NAMESPACES = ["blue", "green", "red"];
const NETS = [
  "10.244.1.0/24",
  "10.244.2.2",
  "10.244.0.0/16",
  "203.0.113.0/24",
  "0.0.0.0/0",
  "fd00:10:244:1::/64",
  "::/0",
  "198.51.100.0/25",
];

interface Options {
  readonly count?: number;
  readonly namespaces?: readonly string[];
  /** Whether nodes get host end points now and then. */
  readonly hosts?: boolean;
}

/** Tiers, sets, service accounts and a Service, which the policies refer to, and `count` policies of every kind. */
export function randomCalico(seed: number, { count = 5, namespaces = NAMESPACES, hosts = true }: Options = {}): KubeObject[] {
  const chance = chanceOf(seed ^ 0xca11c0);
  const { pick, often, below } = chance;
  const tiers = ["t1", "t2"].filter(() => often(0.5));
  const objects = [
    ...tiers.map((name) =>
      calico("Tier", name, { order: pick([5, 500, 2_000_000]), ...(often(0.5) ? { defaultAction: pick(["Deny", "Pass"]) } : {}) }),
    ),
    ...["set-1", "set-2"].filter(() => often(0.7)).map((name) => networkSet(chance, name, namespaces)),
    ...namespaces.map((namespace) => account(namespace, pick(["a", "b"]))),
    ...service(namespaces[0] ?? "default"),
    ...[1, 2].filter(() => hosts && often(0.25)).map((n) => host(chance, n)),
    ...(often(0.1)
      ? [calico("Profile", `kns.${namespaces[0]}`, { ingress: [rule(chance, "ingress")], egress: [{ action: "Allow" }] })]
      : []),
  ];
  for (let index = 0; index < count; index++)
    objects.push(policy(chance, { name: `calico-${index}`, namespaces, tiers: [...tiers, "default", "default"] }));
  if (often(0.1)) objects.push(policy(chance, { name: "nowhere", namespaces, tiers: ["nowhere"] }));
  // Their order in the list says nothing.
  return (below(2) === 0 ? objects : objects.toReversed()) as unknown as KubeObject[];
}

function calico(kind: string, name: string, spec: object, namespace?: string, labels?: object): object {
  const metadata = { name, ...(namespace === undefined ? {} : { namespace }), ...(labels ? { labels } : {}) };
  return { apiVersion: "projectcalico.org/v3", kind, metadata, spec };
}

function host({ pick, often }: Chance, n: number): object {
  const spec = {
    node: `node-${n}`,
    interfaceName: "*",
    expectedIPs: [`10.112.0.5${n}`, `fd00:10:112::5${n}`],
    ...(often(0.7) ? { profiles: ["projectcalico-default-allow"] } : {}),
  };
  return calico("HostEndpoint", `host-${n}`, spec, undefined, { [pick(["app", "role"])]: pick(["a", "b"]) });
}

function networkSet({ pick, some, often }: Chance, name: string, namespaces: readonly string[]): object {
  const namespace = often(0.5) ? pick(namespaces) : undefined;
  const nets = some(3, () => pick([...NETS.slice(0, 4), "fd00:10:244:2::/64", "203.0.113.9/32"]));
  return calico(namespace === undefined ? "GlobalNetworkSet" : "NetworkSet", name, { nets }, namespace, {
    [pick(["app", "role"])]: pick(["a", "b"]),
  });
}

const account = (namespace: string, tier: string) => ({
  apiVersion: "v1",
  kind: "ServiceAccount",
  metadata: { namespace, name: "app", labels: { tier } },
});

/** Its end points are the second and the third pod, and an address outside. */
const service = (namespace: string) => [
  { apiVersion: "v1", kind: "Service", metadata: { namespace, name: "svc" }, spec: { clusterIP: "None", ports: [{ port: 80 }] } },
  {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace, name: "svc-1", labels: { "kubernetes.io/service-name": "svc" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["10.244.2.3"] }, { addresses: ["10.244.1.4"] }, { addresses: ["203.0.113.9"] }],
    ports: [{ port: 80, protocol: "TCP" }],
  },
];

function policy(
  chance: Chance,
  { name, tiers, namespaces }: { readonly name: string; readonly tiers: readonly string[]; readonly namespaces: readonly string[] },
): object {
  const { pick, often, below } = chance;
  const namespace = often(0.5) ? pick(namespaces) : undefined;
  const staged = often(0.1) ? "Staged" : "";
  const rules = (direction: "ingress" | "egress") =>
    often(0.4) ? {} : { [direction]: Array.from({ length: below(4) }, () => rule(chance, direction)) };
  const spec = {
    tier: pick(tiers),
    ...(often(0.2) ? {} : { order: pick([-1, 1, 10.5, 999, 1000, 1001, 5000]) }),
    ...(often(0.2) ? {} : { selector: selector(chance) }),
    ...(often(0.6) ? {} : { types: pick([["Ingress"], ["Egress"], ["Ingress", "Egress"]]) }),
    ...(often(0.85) ? {} : { serviceAccountSelector: pick(["tier == 'a'", "has(tier)", "all()", "tier != 'a'"]) }),
    ...(namespace === undefined && often(0.4) ? { namespaceSelector: whichNamespaces(chance, false) } : {}),
    // What is not tracked has answers that are asked like anything else: a rig can't see it come in to a node.
    ...(namespace === undefined && often(0.3) ? { applyOnForward: true, ...(often(0.4) ? { preDNAT: true } : {}) } : {}),
    ...rules("ingress"),
    ...rules("egress"),
  };
  return calico(`${staged}${namespace === undefined ? "Global" : ""}NetworkPolicy`, name, spec, namespace);
}

function whichNamespaces({ pick }: Chance, inRule: boolean): string {
  const both = [
    "team == 'a'",
    "team != 'a'",
    "has(team)",
    "!has(team)",
    "all()",
    "projectcalico.org/name in {'blue', 'red'}",
    "has(projectcalico.org/name)",
  ];
  return pick(inRule ? [...both, "global()", "global() || team == 'a'"] : both);
}

/** A selector by the grammar; now and then none at all. */
export function selector(chance: Chance, depth = 2): string {
  const { pick, often, below, some } = chance;
  const label = () => pick(["app", "role", "none", "pcns.team", "projectcalico.org/namespace"]);
  const value = () => `${pick(['"', "'"])}${pick(["a", "b", "", "blue"])}`.replace(/^(.)(.*)$/, "$1$2$1");
  if (depth > 0 && often(0.35)) {
    const parts = some(3, () => selector(chance, depth - 1));
    return `(${parts.join(pick([" && ", " || ", "||"]))})`;
  }
  if (often(0.2)) return `!${selector(chance, depth - 1)}`;
  switch (below(6)) {
    case 0:
      return `has(${label()})`;
    case 1:
      return often(0.3) ? "all()" : `has( ${label()} )`;
    case 2:
      return `${label()} ${pick(["in", "not in", "notin"])} {${some(3, value).join(", ")}}`;
    case 3:
      return `${label()} ${pick(["contains", "starts with", "ends with", "startswith", "endswith"])} ${value()}`;
    default:
      return `${label()} ${pick(["==", "!="])} ${value()}`;
  }
}

type Direction = "ingress" | "egress";

function rule(chance: Chance, direction: Direction): object {
  const { pick, often } = chance;
  const traffic = often(0.45) ? {} : protocol(chance);
  const ported = ["TCP", "UDP", "SCTP", 6].includes((traffic as { protocol?: string | number }).protocol ?? "");
  return {
    action: often(0.03) ? "Refuse" : pick(["Allow", "Allow", "Allow", "Deny", "Deny", "Pass", "Log"]),
    ...(often(0.1) ? { ipVersion: pick([4, 6]) } : {}),
    ...traffic,
    ...(often(0.4) ? {} : { source: entity(chance, { ported, services: direction === "egress" ? "none" : "addresses" }) }),
    ...(often(0.4) ? {} : { destination: entity(chance, { ported, services: direction === "ingress" ? "none" : "ports" }) }),
    ...(often(0.02) ? { unknown: true } : {}),
  };
}

function protocol({ pick }: Chance): object {
  return pick<object>([
    { protocol: "TCP" },
    { protocol: "TCP" },
    { protocol: "UDP" },
    { protocol: "SCTP" },
    { protocol: 6 },
    { protocol: 99 },
    { notProtocol: "UDP" },
    { notProtocol: "TCP" },
    { protocol: "ICMP" },
    { protocol: "ICMP", icmp: { type: 8 } },
    { protocol: "ICMP", icmp: { type: 3, code: 1 } },
    { protocol: "ICMP", notICMP: { type: 8, code: 0 } },
    { protocol: "ICMPv6", icmp: { type: 128 } },
    { protocol: "ICMPv6", notICMP: { type: 128 } },
  ]);
}

function entity(
  chance: Chance,
  { ported, services }: { readonly ported: boolean; readonly services: "none" | "addresses" | "ports" },
): object {
  const { pick, often, some } = chance;
  if (services !== "none" && often(0.08) && !(ported && services === "ports")) return { services: { name: "svc", namespace: "blue" } };
  const port = () => pick<number | string>([80, 53, 5353, "8000:8100", "web", "1:100", often(0.05) ? "9:1" : 443]);
  return {
    ...(often(0.5) ? { selector: selector(chance) } : {}),
    ...(often(0.15) ? { notSelector: selector(chance, 1) } : {}),
    ...(often(0.25) ? { namespaceSelector: whichNamespaces(chance, true) } : {}),
    ...(often(0.2) ? { nets: some(3, () => pick(NETS)) } : {}),
    ...(often(0.15) ? { notNets: some(2, () => pick(NETS)) } : {}),
    ...(often(0.1)
      ? { serviceAccounts: pick([{ names: ["app"] }, { selector: "tier == 'a'" }, { names: ["app", "default"], selector: "has(tier)" }]) }
      : {}),
    ...(ported && often(0.4) ? { ports: some(3, port) } : {}),
    ...(ported && often(0.15) ? { notPorts: some(2, port) } : {}),
  };
}
