// What is wrong in Calico's objects, and where it is said to be; what they mean is in test/truth-tables.test.ts.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CALICO_CLUSTER, named } from "../../../test/truth/calico-cluster.ts";
import { snapshotOf } from "../../cluster/index.ts";
import type { KubeObject } from "../../resources/index.ts";
import { evaluatePolicies, planPolicy } from "../index.ts";
import { readCalicoPolicy } from "./policy.ts";

const read = (spec: unknown, kind = "NetworkPolicy") =>
  readCalicoPolicy(named(kind, "p", spec as object, kind.includes("Global") ? undefined : "prod") as KubeObject);
const ingress = (rule: object) => ({ ingress: [rule] });
const allow = (more: object) => ingress({ action: "Allow", ...more });

/** Spec, kind, what is said. */
const WRONG: readonly (readonly [unknown, string, RegExp])[] = [
  [{ selector: "app == " }, "NetworkPolicy", /^spec\.selector: character 8 of "app == ": a text in quotes is expected here$/],
  [{ selector: 7 }, "NetworkPolicy", /^spec\.selector: 7 is no text$/],
  [{ selector: "global()" }, "GlobalNetworkPolicy", /^spec\.selector: global\(\) can stand in the namespaceSelector of a rule only$/],
  [{ namespaceSelector: "all()" }, "NetworkPolicy", /^spec\.namespaceSelector: there is no such field here/],
  [{ namespaceSelector: "team =" }, "GlobalNetworkPolicy", /^spec\.namespaceSelector: character 6/],
  [{ serviceAccountSelector: "(" }, "NetworkPolicy", /^spec\.serviceAccountSelector: character 2/],
  [{ order: "first" }, "NetworkPolicy", /^spec\.order: "first" is no number; the policy stands last in its tier$/],
  [
    { types: ["ingress"] },
    "NetworkPolicy",
    /^spec\.types\[0\]: "ingress" is neither Ingress nor Egress; whom the policy selects is isolated both ways$/,
  ],
  [{ types: ["Egress"], ingress: [{ action: "Allow" }] }, "NetworkPolicy", /^spec\.ingress: these rules have no effect/],
  [{ ingress: {} }, "NetworkPolicy", /^spec\.ingress: \{\} is no list$/],
  [{ igress: [] }, "NetworkPolicy", /^spec\.igress: there is no such field here; known are tier, order, /],
  [{ doNotTrack: true }, "NetworkPolicy", /^spec\.doNotTrack: there is no such field here/],
  [{ doNotTrack: "yes" }, "GlobalNetworkPolicy", /^spec\.doNotTrack: "yes" is neither true nor false; it is taken as false$/],
  [
    { doNotTrack: true, preDNAT: true, applyOnForward: true },
    "GlobalNetworkPolicy",
    /^spec\.preDNAT: preDNAT and doNotTrack do not go together/,
  ],
  [{ preDNAT: true }, "GlobalNetworkPolicy", /^spec\.applyOnForward: with preDNAT and doNotTrack it must be true/],
  [
    { preDNAT: true, applyOnForward: true, egress: [{ action: "Allow" }] },
    "GlobalNetworkPolicy",
    /^spec\.egress: a preDNAT policy is about what comes in/,
  ],
  [
    ingress({ action: "allow" }),
    "NetworkPolicy",
    /^spec\.ingress\[0\]\.action: "allow" is no action: Allow, Deny, Log, Pass; it is taken as Deny$/,
  ],
  [{ ingress: [null] }, "NetworkPolicy", /^spec\.ingress\[0\]\.action: undefined is no action/],
  [{ ingress: [7] }, "NetworkPolicy", /^spec\.ingress\[0\]: 7 is no object$/],
  [allow({ src: {} }), "NetworkPolicy", /^spec\.ingress\[0\]\.src: there is no such field here/],
  [allow({ source: { selectors: "x" } }), "NetworkPolicy", /^spec\.ingress\[0\]\.source\.selectors: there is no such field here/],
  [allow({ source: { selector: "app = 'x'" } }), "NetworkPolicy", /^spec\.ingress\[0\]\.source\.selector: character 5 of/],
  [allow({ source: { notSelector: "app" } }), "NetworkPolicy", /^spec\.ingress\[0\]\.source\.notSelector: character 4 of/],
  [allow({ source: { namespaceSelector: "&&" } }), "NetworkPolicy", /^spec\.ingress\[0\]\.source\.namespaceSelector: character 1 of/],
  [
    allow({ source: { nets: ["10.0.0.0/8", "10.0.0.0/33"] } }),
    "NetworkPolicy",
    /^spec\.ingress\[0\]\.source\.nets\[1\]: "10\.0\.0\.0\/33" is neither an address nor a prefix/,
  ],
  [allow({ source: { notNets: [7] } }), "NetworkPolicy", /^spec\.ingress\[0\]\.source\.notNets\[0\]: 7 is neither/],
  [
    allow({ source: { nets: ["10.1.2.3/8"] } }),
    "NetworkPolicy",
    /^spec\.ingress\[0\]\.source\.nets\[0\]: "10\.1\.2\.3\/8" is read as 10\.0\.0\.0\/8$/,
  ],
  [
    allow({ protocol: "TCP", destination: { ports: ["90:80"] } }),
    "NetworkPolicy",
    /^spec\.ingress\[0\]\.destination\.ports\[0\]: 90:80 is upside down/,
  ],
  [allow({ protocol: "TCP", destination: { ports: [0] } }), "NetworkPolicy", /ports\[0\]: 0 is not between 1 and 65535$/],
  [allow({ protocol: "TCP", destination: { ports: [70000] } }), "NetworkPolicy", /ports\[0\]: 70000 is not between 1 and 65535$/],
  [allow({ protocol: "TCP", destination: { ports: ["8o"] } }), "NetworkPolicy", /ports\[0\]: "8o" is neither a port, a range/],
  [allow({ destination: { ports: [80] } }), "NetworkPolicy", /^spec\.ingress\[0\]\.protocol: undefined has no ports/],
  [allow({ protocol: "ICMP", destination: { ports: [80] } }), "NetworkPolicy", /^spec\.ingress\[0\]\.protocol: "ICMP" has no ports/],
  [allow({ protocol: "HTTP" }), "NetworkPolicy", /^spec\.ingress\[0\]\.protocol: "HTTP" is no protocol/],
  [allow({ protocol: 256 }), "NetworkPolicy", /protocol: 256 is no protocol/],
  [allow({ protocol: "TCP", icmp: { type: 8 } }), "NetworkPolicy", /^spec\.ingress\[0\]\.icmp: it goes with protocol ICMP or ICMPv6 only$/],
  [
    allow({ protocol: "ICMP", icmp: { code: 1 } }),
    "NetworkPolicy",
    /^spec\.ingress\[0\]\.icmp\.type: undefined is no number from 0 to 254$/,
  ],
  [
    allow({ protocol: "ICMP", notICMP: { type: 255 } }),
    "NetworkPolicy",
    /^spec\.ingress\[0\]\.notICMP\.type: 255 is no number from 0 to 254$/,
  ],
  [
    allow({ protocol: "ICMP", icmp: { type: 8, code: 256 } }),
    "NetworkPolicy",
    /^spec\.ingress\[0\]\.icmp\.code: 256 is no number from 0 to 255$/,
  ],
  [allow({ ipVersion: 5 }), "NetworkPolicy", /^spec\.ingress\[0\]\.ipVersion: 5 is neither 4 nor 6$/],
  [allow({ http: { methods: ["GET"] } }), "NetworkPolicy", /^spec\.ingress\[0\]\.http: what is asked of HTTP is not enforced/],
  [ingress({ action: "Deny", http: {} }), "NetworkPolicy", /^spec\.ingress\[0\]\.http: http goes with Allow only$/],
  [
    allow({ destination: { services: { name: "s" } } }),
    "NetworkPolicy",
    /^spec\.ingress\[0\]\.destination\.services: services are meant at the other end only/,
  ],
  [allow({ source: { services: {} } }), "NetworkPolicy", /^spec\.ingress\[0\]\.source\.services: it needs the name of a Service/],
  [
    allow({ source: { services: { name: "s" } } }),
    "GlobalNetworkPolicy",
    /^spec\.ingress\[0\]\.source\.services: it needs the name of a Service, and in a global policy its namespace$/,
  ],
  [allow({ source: { services: { name: "s", namespace: "n" }, selector: "all()" } }), "NetworkPolicy", /services: services stands alone/],
  [
    { ingress: Array.from({ length: 5001 }, () => ({ action: "Allow" })) },
    "NetworkPolicy",
    /^spec\.ingress: 5001 rules are more than 5000: none of them is in force/,
  ],
];

test("what is wrong is said with its place", () => {
  for (const [spec, kind, expected] of WRONG) {
    const remarks = read(spec, kind).remarks.map((text) => text.replace(/^\S+ \S+: /, ""));
    assert.ok(
      remarks.some((text) => expected.test(text)),
      `${expected}: ${remarks.join("; ")}`,
    );
  }
  const good = {
    order: 1,
    selector: "all()",
    performanceHints: [],
    types: ["Ingress"],
    ...allow({ metadata: { annotations: {} }, source: {} }),
  };
  assert.deepEqual(read(good).remarks, []);
  assert.match(read({ order: "x" }).remarks[0] ?? "", /^NetworkPolicy\.projectcalico\.org prod\/p: /);
});

test("one bad object says so in the plan, and leaves the others as they are", () => {
  const good = named("NetworkPolicy", "good", { selector: "app == 'mysql'", ingress: [{ action: "Allow", protocol: "TCP" }] }, "prod");
  const verdicts = (...policies: object[]) => {
    const snapshot = snapshotOf([...CALICO_CLUSTER, ...policies] as KubeObject[]);
    const ask = (protocol: string) =>
      evaluatePolicies(snapshot, { from: { pod: "prod/web" }, to: { pod: "prod/mysql" }, protocol, port: 80 }).verdict;
    return { verdicts: [ask("TCP"), ask("UDP")], remarks: planPolicy(snapshot, "node-2", []).remarks };
  };
  assert.deepEqual(verdicts(good), { verdicts: ["allow", "deny"], remarks: [] });
  for (const bad of [{ selector: "(" }, { selector: "app == 'mysql'", order: "no" }, { tier: "nowhere", ingress: [{ action: "Deny" }] }]) {
    const { verdicts: after, remarks } = verdicts(good, named("NetworkPolicy", "bad", bad, "prod"));
    assert.deepEqual(after, ["allow", "deny"], JSON.stringify(bad));
    assert.ok(
      remarks.some((text) => text.startsWith("NetworkPolicy.projectcalico.org prod/bad: spec.")),
      remarks.join("; "),
    );
  }
  const odd = [
    named("Tier", "t", { order: "x", defaultAction: "Allow" }),
    named("NetworkSet", "s", { nets: ["10.0.0.0/8", "x"] }, "prod"),
    named("HostEndpoint", "h", { interfaceName: "eth0", expectedIPs: ["x"] }),
    named("HostEndpoint", "i", { node: "node-2", profiles: ["none"] }),
  ];
  const said = verdicts(...odd).remarks.join("\n");
  for (const expected of [
    /Tier t: spec\.order: "x" is no number; the tier stands last/,
    /Tier t: spec\.defaultAction: "Allow" is neither Deny nor Pass/,
    /NetworkSet prod\/s: spec\.nets\[1\]: "x" is neither an address nor a prefix; it is left out/,
    /HostEndpoint h: spec\.node: it names no node, so it protects nothing/,
    /HostEndpoint i: spec: it needs interfaceName or expectedIPs/,
    /HostEndpoint i: spec\.profiles\[0\]: there is no Profile "none"; it allows nothing/,
  ])
    assert.match(said, expected);
});

test("a store's objects are read where no API of Calico's serves them, and not twice", () => {
  const served = named("NetworkPolicy", "p", { ingress: [{ action: "Allow", protocol: "TCP" }] }, "prod");
  const stored = { ...(served as KubeObject), apiVersion: "crd.projectcalico.org/v1" };
  for (const objects of [[served], [stored], [served, stored]]) {
    const snapshot = snapshotOf([...CALICO_CLUSTER, ...objects] as KubeObject[]);
    const { verdict, decidedBy } = evaluatePolicies(snapshot, {
      from: { pod: "dev/tool" },
      to: { pod: "prod/web" },
      protocol: "UDP",
      port: 80,
    });
    assert.equal(verdict, "deny");
    assert.equal(decidedBy?.kind, "NetworkPolicy.projectcalico.org");
  }
});

test("in the store an object's labels lie in an annotation", () => {
  const set = (metadata: string) =>
    ({
      apiVersion: "crd.projectcalico.org/v1",
      kind: "GlobalNetworkSet",
      metadata: { name: "s", annotations: { "projectcalico.org/metadata": metadata } },
      spec: { nets: ["192.0.2.0/24"] },
    }) as unknown as KubeObject;
  const policy = named("GlobalNetworkPolicy", "p", { ingress: [{ action: "Allow", source: { selector: "site == 'x'" } }] });
  for (const [metadata, verdict] of [
    ['{"labels":{"site":"x"}}', "allow"],
    ['{"labels":{"site":7}}', "deny"],
    ["{", "deny"],
    ["null", "deny"],
  ] as const) {
    const others = (CALICO_CLUSTER as KubeObject[]).filter(({ kind }) => kind !== "GlobalNetworkSet");
    const snapshot = snapshotOf([...others, policy as KubeObject, set(metadata)]);
    const answer = evaluatePolicies(snapshot, { from: { address: "192.0.2.7" }, to: { pod: "prod/web" }, protocol: "TCP", port: 80 });
    assert.equal(answer.verdict, verdict, metadata);
  }
});

test("the reader takes anything", () => {
  const anything = fc.anything({ maxDepth: 2, maxKeys: 4 });
  const near = fc.letrec((tie) => ({
    rule: fc.record(
      {
        action: fc.oneof(fc.constantFrom("Allow", "Deny", "Log", "Pass"), anything),
        protocol: anything,
        source: tie("entity"),
        destination: tie("entity"),
        icmp: anything,
      },
      { requiredKeys: [] },
    ),
    entity: fc.oneof(
      fc.record(
        { selector: anything, nets: fc.array(anything), ports: fc.array(anything), services: anything, serviceAccounts: anything },
        { requiredKeys: [] },
      ),
      anything,
    ),
  })).rule;
  fc.assert(
    fc.property(
      fc.oneof(anything, fc.record({ ingress: fc.array(near), egress: fc.array(near), selector: anything, types: anything })),
      (spec) => {
        for (const kind of ["NetworkPolicy", "GlobalNetworkPolicy"]) assert.equal(read(spec, kind).policies.length, 1);
      },
    ),
    { numRuns: 400 },
  );
});
