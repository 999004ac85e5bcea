// Cilium's objects as they are read: the exact place of what is wrong, and any input at all.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { randomCilium } from "../../../test/random-cilium.ts";
import type { KubeObject } from "../../resources/index.ts";
import { readCiliumPolicy } from "./policy.ts";

const policy = (body: object, kind = "CiliumNetworkPolicy"): KubeObject => {
  const metadata = kind === "CiliumNetworkPolicy" ? { namespace: "shop", name: "p" } : { name: "p" };
  return { apiVersion: "cilium.io/v2", kind, metadata, ...body } as unknown as KubeObject;
};
const ingress = (entry: object) => ({ spec: { endpointSelector: {}, ingress: [entry] } });

/** [what is written, the place and the beginning of what is said] */
const wrong: readonly [object, RegExp][] = [
  [{}, /^spec: there is neither spec nor specs/],
  [{ spec: { ingress: [] } }, /^spec: a policy has one of endpointSelector and nodeSelector; every pod of the namespace is isolated/],
  [{ spec: { endpointSelector: {}, nodeSelector: {} } }, /^spec: a policy has one of .*, not both/],
  [{ spec: { nodeSelector: {} } }, /^spec\.nodeSelector: nodes are selected by clusterwide policies only/],
  [{ spec: { endpointSelector: { matchLabel: {} } } }, /^spec\.endpointSelector\.matchLabel: there is no such field here/],
  [{ spec: { endpointSelector: { matchLabels: { app: 1 } } } }, /^spec\.endpointSelector\.matchLabels\.app: 1 is no text/],
  [{ spec: { endpointSelector: {}, ingres: [] } }, /^spec\.ingres: there is no such field/],
  [
    { spec: { endpointSelector: {}, enableDefaultDeny: { ingress: "no" } } },
    /^spec\.enableDefaultDeny\.ingress: "no" is neither true nor false/,
  ],
  [
    ingress({ fromEndpoints: [{ matchExpressions: [{ key: "a", operator: "Inn" }] }] }),
    /fromEndpoints\[0\]\.matchExpressions\[0\]\.operator: "Inn"/,
  ],
  [ingress({ fromEndpoints: [{ matchExpressions: [{ key: "a", operator: "In" }] }] }), /matchExpressions\[0\]\.values: In needs values/],
  [ingress({ fromEndpoints: {} }), /^spec\.ingress\[0\]\.fromEndpoints: {} is no list/],
  [ingress({ fromEntities: ["wrold"] }), /^spec\.ingress\[0\]\.fromEntities\[0\]: "wrold" is no entity/],
  [ingress({ fromCIDR: ["10.0.0.0/33"] }), /^spec\.ingress\[0\]\.fromCIDR\[0\]: "10\.0\.0\.0\/33" is neither a prefix/],
  [ingress({ fromCIDRSet: [{}] }), /^spec\.ingress\[0\]\.fromCIDRSet\[0\]: an entry is one of cidr, cidrGroupRef/],
  [
    ingress({ fromCIDRSet: [{ cidr: "10.0.0.0/8", except: ["11.0.0.0/9"] }] }),
    /fromCIDRSet\[0\]\.except\[0\]: 11\.0\.0\.0\/9 does not lie within/,
  ],
  [ingress({ fromGroups: [{ aws: {} }] }), /^spec\.ingress\[0\]\.fromGroups: groups are looked up at a cloud provider/],
  [ingress({ fromEndpoints: [{}], fromEntities: ["all"] }), /^spec\.ingress\[0\]: fromEndpoints and fromEntities do not go together/],
  [ingress({ toPorts: [{ ports: [{ port: "70000" }] }] }), /toPorts\[0\]\.ports\[0\]\.port: 70000 is no port/],
  [ingress({ toPorts: [{ ports: [{ port: "80", endPort: 70 }] }] }), /toPorts\[0\]\.ports\[0\]\.endPort: 70 is no port from 80 to 65535/],
  [ingress({ toPorts: [{ ports: [{ port: "web", endPort: 90 }] }] }), /endPort: endPort does not go with a port's name/],
  [ingress({ toPorts: [{ ports: [{ port: "80", protocol: "TPC" }] }] }), /ports\[0\]\.protocol: "TPC" is no protocol/],
  [ingress({ toPorts: [{ ports: [{ port: "80", protocol: "VRRP" }] }] }), /ports\[0\]\.port: VRRP has no ports: write "0"/],
  [ingress({ toPorts: [{ ports: [{ port: "80" }], listener: {} }] }), /toPorts\[0\]\.listener: this needs a proxy/],
  [ingress({ icmps: [{ fields: [{ type: 300 }] }] }), /icmps\[0\]\.fields\[0\]\.type: 300 is no type of ICMP for IPv4/],
  [ingress({ icmps: [{ fields: [{ type: 8, family: "ipv4" }] }] }), /fields\[0\]\.family: "ipv4" is neither IPv4 nor IPv6/],
  [ingress({ authentication: { mode: "required" } }), /authentication\.mode: authentication "required" is not done/],
  [{ spec: { endpointSelector: {}, egress: [{ toFQDNs: [{}] }] } }, /toFQDNs\[0\]: an entry is one of matchName and matchPattern/],
  [
    { spec: { endpointSelector: {}, egress: [{ toFQDNs: [{ matchName: "*.example.com" }] }] } },
    /toFQDNs\[0\]\.matchName: "\*\.example\.com" is no name/,
  ],
  [{ spec: { endpointSelector: {}, egress: [{ toServices: [{}] }] } }, /toServices\[0\]: an entry is one of k8sService/],
  [
    { specs: [{ endpointSelector: {} }, { endpointSelector: {}, ingress: [{ fromCIDR: [1] }] }] },
    /^specs\[1\]\.ingress\[0\]\.fromCIDR\[0\]: 1 is no text/,
  ],
];

test("what is wrong is told with its place", () => {
  for (const [body, says] of wrong) {
    const { remarks } = readCiliumPolicy(policy(body));
    assert.ok(remarks.length === 1 || /nothing is allowed$/.test(remarks[1] ?? ""), `${JSON.stringify(body)}\n${remarks.join("\n")}`);
    assert.match(remarks[0]?.replace("CiliumNetworkPolicy shop/p: ", "") ?? "", says);
  }
});

test("a clusterwide policy is called by its name alone, and may select nodes", () => {
  const { policies, remarks } = readCiliumPolicy(
    policy({ spec: { nodeSelector: { matchLabels: { rack: "a" } }, ingress: [{}] } }, "CiliumClusterwideNetworkPolicy"),
  );
  assert.deepEqual(remarks, []);
  assert.deepEqual(policies[0]?.owner, { kind: "CiliumClusterwideNetworkPolicy", name: "p" });
  assert.deepEqual(policies[0]?.subject.kinds, ["node"]);
});

test("layer 7 is held as it is written, and what allows it allows nothing yet", () => {
  const rules = { http: [{ method: "GET", path: "/api/.*" }] };
  const { policies, remarks } = readCiliumPolicy(policy(ingress({ toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules }] })));
  assert.deepEqual(policies[0]?.ingress[0]?.application, rules);
  assert.match(
    remarks[0] ?? "",
    /toPorts\[0\]\.rules: what is asked of http is not enforced by this data path: until it is, the rule allows nothing/,
  );
});

test("any input is read, without a throw, and allows nothing that was not understood", () => {
  const read = (body: object) => {
    const { policies } = readCiliumPolicy(policy(body));
    for (const each of policies)
      for (const rule of [...each.ingress, ...each.egress]) assert.ok(rule.action === "allow" || rule.action === "deny");
  };
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      read({ spec: value });
      read({ specs: value });
      read({ spec: { endpointSelector: value, ingress: value, egressDeny: [value] } });
      read(ingress({ fromEndpoints: [value], toPorts: [value], icmps: value }));
      read(ingress({ fromCIDRSet: [value], toPorts: [{ ports: [value], rules: value }] }));
    }),
    { numRuns: 400 },
  );
});

test("a valid policy with one value replaced is read", () => {
  const replaced = (value: unknown, at: number[], by: unknown): unknown => {
    const [step, ...rest] = at;
    if (step === undefined || typeof value !== "object" || value === null) return by;
    const keys = Object.keys(value);
    const key = keys[step % Math.max(1, keys.length)];
    if (key === undefined) return by;
    const copy: Record<string, unknown> | unknown[] = Array.isArray(value) ? [...value] : { ...value };
    (copy as Record<string, unknown>)[key] = replaced((value as Record<string, unknown>)[key], rest, by);
    return copy;
  };
  fc.assert(
    fc.property(fc.nat(300), fc.array(fc.nat(20), { minLength: 1, maxLength: 7 }), fc.jsonValue({ maxDepth: 2 }), (seed, at, by) => {
      for (const object of randomCilium(seed)) {
        if (!object.kind.endsWith("NetworkPolicy")) continue;
        const { metadata, ...rest } = object;
        readCiliumPolicy({
          ...(replaced(rest, at, by) as object),
          apiVersion: object.apiVersion,
          kind: object.kind,
          metadata,
        } as KubeObject);
      }
    }),
    { numRuns: 300 },
  );
});
