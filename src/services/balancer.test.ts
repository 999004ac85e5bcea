// Load balancers' addresses: who gets which, who keeps it, and who announces it.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { node, service, slice } from "../../test/service-objects.ts";
import { snapshotOf } from "../cluster/index.ts";
import type { ConfigMap, KubeObject, Node, Service, ServiceSpec } from "../resources/index.ts";
import { electAnnouncer } from "./announce.ts";
import { planBalancers, REQUEST } from "./balancer.ts";
import { announceFrame } from "./neighbour-frame.ts";
import { serviceSettings } from "./settings.ts";

const pools = (text: string): ConfigMap => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { namespace: "kube-system", name: "fairlead" },
  data: { loadBalancerPools: text },
});
const POOL = pools("192.0.2.0/30, 2001:db8::10-2001:db8::11");
const lb = (
  name: string,
  spec: Partial<ServiceSpec> = {},
  balanced: readonly string[] = [],
  annotations: Record<string, string> = {},
): Service => {
  const made = service(
    name,
    { type: "LoadBalancer", clusterIP: "10.96.0.1", ipFamilies: ["IPv4"], ports: [{ port: 80 }], ...spec },
    balanced,
  );
  return { ...made, metadata: { ...made.metadata, annotations } };
};

function plan(...objects: KubeObject[]) {
  const { changes, faults } = planBalancers(snapshotOf([POOL, ...objects]));
  return {
    gets: Object.fromEntries(changes.map(({ service: { metadata }, ingress }) => [metadata.name, ingress.map(({ ip }) => ip).join(" ")])),
    faults: faults.map(({ name, reason }) => `${name} ${reason}`),
  };
}

test("who gets which address", () => {
  const rows: readonly [what: string, objects: KubeObject[], gets: Record<string, string>, faults?: string[]][] = [
    ["each its own, in order of age and name", [lb("b"), lb("a")], { a: "192.0.2.0", b: "192.0.2.1" }],
    ["one of each family", [lb("a", { ipFamilies: ["IPv6", "IPv4"] })], { a: "2001:db8::10 192.0.2.0" }],
    ["what it has, it keeps", [lb("a"), lb("b", {}, ["192.0.2.0"])], { a: "192.0.2.1" }],
    ["nobody else's type", [service("a", { type: "NodePort", clusterIP: "10.96.0.1", ports: [{ port: 80 }] })], {}],
    ["of a type that it has no more", [service("a", { clusterIP: "10.96.0.1", ports: [{ port: 80 }] }, ["192.0.2.1"])], { a: "" }],
    ["another's class", [lb("a", { loadBalancerClass: "example.com/cloud" })], {}],
    ["our class", [lb("a", { loadBalancerClass: "fairlead.dev/pool" })], { a: "192.0.2.0" }],
    ["a cloud's address stays", [lb("a", {}, ["203.0.113.7"])], {}],
    ["two with one address: the older keeps it", [lb("a", {}, ["192.0.2.3"]), lb("b", {}, ["192.0.2.3"])], { b: "192.0.2.0" }],
    ["asked for", [lb("a"), lb("b", { loadBalancerIP: "192.0.2.0" })], { a: "192.0.2.0" }, ["b AddressInUse"]],
    ["asked for, and free", [lb("a", { loadBalancerIP: "192.0.2.2" }), lb("b")], { a: "192.0.2.2", b: "192.0.2.0" }],
    [
      "asked for by annotation, both families",
      [lb("a", { ipFamilies: ["IPv4", "IPv6"] }, [], { [REQUEST]: "2001:db8::11, 192.0.2.3" })],
      { a: "192.0.2.3 2001:db8::11" },
    ],
    ["it asks for another than it has", [lb("a", { loadBalancerIP: "192.0.2.2" }, ["192.0.2.0"])], { a: "192.0.2.2" }],
    ["out of the pools", [lb("a", { loadBalancerIP: "192.0.2.77" })], {}, ["a AddressRefused"]],
    ["no address at all", [lb("a", { loadBalancerIP: "here" })], {}, ["a AddressRefused"]],
    [
      "none is left",
      ["a", "b", "c", "d", "e"].map((name) => lb(name)),
      { a: "192.0.2.0", b: "192.0.2.1", c: "192.0.2.2", d: "192.0.2.3" },
      ["e NoAddressLeft"],
    ],
    ["a node's own is not given", [node("n", [], ["192.0.2.0"]), lb("a")], { a: "192.0.2.1" }],
    [
      "another's externalIP is not given",
      [service("x", { clusterIP: "10.96.0.2", externalIPs: ["192.0.2.0"], ports: [{ port: 80 }] }), lb("a")],
      { a: "192.0.2.1" },
    ],
    ["no cluster address of the family", [lb("a", {}, ["2001:db8::10"])], { a: "192.0.2.0" }],
  ];
  for (const [what, objects, gets, faults = []] of rows) assert.deepEqual(plan(...objects), { gets, faults }, what);
});

test("without pools nothing is given, and nothing taken", () => {
  assert.deepEqual(planBalancers(snapshotOf([lb("a", {}, ["192.0.2.1"]), lb("b")])), { changes: [], faults: [] });
});

test("what was written and is not seen yet counts", () => {
  const objects = [POOL, lb("a"), lb("b")];
  const { changes } = planBalancers(snapshotOf(objects), new Map([["shop/b", ["192.0.2.0"]]]));
  assert.deepEqual(
    changes.map(({ service: { metadata }, ingress }) => [metadata.name, ingress[0]?.ip]),
    [["a", "192.0.2.1"]],
  );
});

test("whatever comes and goes: no address twice, nobody moves without need, and done is done", () => {
  const step = fc.record({
    name: fc.constantFrom("a", "b", "c", "d", "e", "f"),
    asks: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }),
    gone: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const services = new Map<string, Service>();
      for (const { name, asks, gone } of steps) {
        if (gone) services.delete(name);
        else
          services.set(name, {
            ...lb(name, asks === undefined ? {} : { loadBalancerIP: `192.0.2.${asks}` }),
            ...(services.get(name)?.status ? { status: services.get(name)?.status } : {}),
          } as Service);
        const before = new Map([...services].map(([key, each]) => [key, each.status?.loadBalancer?.ingress?.[0]?.ip]));
        const { changes } = planBalancers(snapshotOf([POOL, ...services.values()]));
        for (const { service: changed, ingress } of changes)
          services.set(changed.metadata.name, { ...changed, status: { loadBalancer: { ingress } } });
        const held = [...services.values()].flatMap((each) => each.status?.loadBalancer?.ingress?.map(({ ip }) => ip) ?? []);
        assert.equal(new Set(held).size, held.length, "an address twice");
        for (const [key, address] of before) {
          const now = services.get(key)?.status?.loadBalancer?.ingress?.[0]?.ip;
          if (address !== undefined && key !== name) assert.equal(now, address, `${key} moved`);
        }
        assert.deepEqual(planBalancers(snapshotOf([POOL, ...services.values()])).changes, []);
      }
    }),
    { numRuns: 200 },
  );
});

test("ranges that can't be read are told", () => {
  const { pools: ranges, remarks } = serviceSettings(
    snapshotOf([pools("192.0.2.0/33 192.0.2.9-192.0.2.1 x 192.0.2.7 2001:db8::-192.0.2.1")]),
  );
  assert.equal(ranges.length, 1);
  assert.equal(remarks.length, 4);
  for (const remark of remarks)
    assert.match(remark, /^ConfigMap kube-system\/fairlead: loadBalancerPools ".*" is not understood and left out; write/);
});

const HERE = ["192.0.2.100/24", "2001:db8::100/64"];
const NODES = ["n1", "n2", "n3"].map((name, index) => node(name, [], [`192.0.2.10${index}`, `2001:db8::10${index}`]));
const ten = Array.from({ length: 12 }, (_, index) =>
  lb(`s${index}`, { clusterIP: `10.96.0.${index + 1}`, clusterIPs: [`10.96.0.${index + 1}`] }, [`192.0.2.${200 + index}`]),
);
const WIDE = pools("192.0.2.200-192.0.2.220");
const own = (name: string, objects: readonly KubeObject[], lost: readonly string[] = []) =>
  electAnnouncer(snapshotOf([WIDE, ...objects]), { node: name, prefixes: HERE, lost: new Set(lost) }).own;

test("every address has one announcer; a node that is lost leaves only its own to others", () => {
  const of = (lost: readonly string[] = []) => new Map(["n1", "n2", "n3"].map((name) => [name, own(name, [...NODES, ...ten], lost)]));
  const all = of();
  assert.equal([...all.values()].flat().length, 12);
  assert.equal(new Set([...all.values()].flat()).size, 12);
  for (const [name, addresses] of all) assert.ok(addresses.length > 0, `${name} announces nothing`);
  const without = of(["n2"]);
  assert.deepEqual(without.get("n2"), []);
  for (const name of ["n1", "n3"])
    for (const address of all.get(name) ?? []) assert.ok(without.get(name)?.includes(address), `${address} moved`);
  assert.equal(["n1", "n3"].flatMap((name) => without.get(name) ?? []).length, 12);
});

test("who may announce", () => {
  const notReady = (name: string): Node => {
    const made = node(name, [], ["192.0.2.100"]);
    return { ...made, status: { ...made.status, conditions: [{ type: "Ready", status: "Unknown" }] } } as Node;
  };
  const excluded = {
    ...node("n1", [], ["192.0.2.100"]),
    metadata: { name: "n1", labels: { "node.kubernetes.io/exclude-from-external-load-balancers": "" } },
  } as Node;
  const one = lb("one", { clusterIPs: ["10.96.0.1"] }, ["192.0.2.200"]);
  const local = lb("one", { clusterIPs: ["10.96.0.1"], externalTrafficPolicy: "Local" }, ["192.0.2.200"]);
  const rows: readonly [what: string, objects: KubeObject[], announces: boolean][] = [
    ["a node on the link", [node("n1", [], ["192.0.2.100"]), one], true],
    ["a node elsewhere", [node("n1", [], ["198.51.100.1"]), one], false],
    ["a node that is not ready", [notReady("n1"), one], false],
    ["a node that takes no external traffic", [excluded, one], false],
    [
      "Local, with an end point here",
      [node("n1", [], ["192.0.2.100"]), local, slice("one", { endpoints: [{ address: "10.244.1.2", node: "n1" }], port: 80 })],
      true,
    ],
    [
      "Local, with none here",
      [node("n1", [], ["192.0.2.100"]), local, slice("one", { endpoints: [{ address: "10.244.1.2", node: "n2" }], port: 80 })],
      false,
    ],
    [
      "Local, with one here that is not ready",
      [
        node("n1", [], ["192.0.2.100"]),
        local,
        slice("one", { endpoints: [{ address: "10.244.1.2", node: "n1", ready: false }], port: 80 }),
      ],
      false,
    ],
    ["an address of no pool", [node("n1", [], ["192.0.2.100"]), lb("one", { clusterIPs: ["10.96.0.1"] }, ["192.0.2.7"])], false],
    [
      "another's class",
      [node("n1", [], ["192.0.2.100"]), lb("one", { clusterIPs: ["10.96.0.1"], loadBalancerClass: "x/y" }, ["192.0.2.200"])],
      false,
    ],
  ];
  for (const [what, objects, announces] of rows) assert.equal(own("n1", objects).length > 0, announces, what);
});

test("frames, byte by byte", () => {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  assert.equal(
    hex(announceFrame("192.0.2.1", "02:00:00:00:00:07")),
    "ffffffffffff0200000000070806" + "0001080006040001" + "020000000007" + "c0000201" + "000000000000" + "c0000201",
  );
  const frame = announceFrame("2001:db8::1", "02:00:00:00:00:07");
  assert.equal(
    hex(frame),
    "333300000001" +
      "020000000007" +
      "86dd" +
      "60000000" +
      "0020" +
      "3aff" +
      "20010db8000000000000000000000001" +
      "ff020000000000000000000000000001" +
      "8800" +
      hex(frame.subarray(56, 58)) +
      "a0000000" +
      "20010db8000000000000000000000001" +
      "0201020000000007",
  );
  // RFC 1071: with the checksum in place, everything sums up to ones.
  const summed = [...frame.subarray(22, 54), 0, 0, 0, 32, 0, 0, 0, 58, ...frame.subarray(54)];
  let sum = 0;
  for (let at = 0; at < summed.length; at += 2) sum += ((summed[at] ?? 0) << 8) | (summed[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  assert.equal(sum, 0xffff);
});
