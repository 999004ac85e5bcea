// Services as tables and elements: who owns an address, who is served, what is refused, which flows are stale.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { node, type SliceSpec, service, slice } from "../../test/service-objects.ts";
import { createSnapshotBuilder, snapshotOf } from "../cluster/index.ts";
import type { ConntrackFlow, NftSet } from "../kernel/index.ts";
import type { EndpointSlice, Service, ServiceSpec } from "../resources/index.ts";
import { entriesIn, isStale, planServices, type ServiceEntry, serviceTable } from "./index.ts";

const A = { address: "10.244.1.2", node: "node-1" };
const B = { address: "10.244.2.2", node: "node-2" };
const C = { address: "10.244.2.3", node: "node-2" };
const web = (spec: Partial<ServiceSpec> = {}, balanced: readonly string[] = []) =>
  service("web", { clusterIP: "10.96.0.80", ports: [{ port: 80, nodePort: 30080 }], ...spec }, balanced);
const webSlice = (endpoints: SliceSpec["endpoints"]) => slice("web", { endpoints, port: 8080 });
const tableOf = (...objects: (Service | EndpointSlice)[]) => serviceTable(snapshotOf(objects));

/** Who is led where: addresses and node ports of outsiders (and ClusterIPs), and of insiders where they are told apart. */
const LEADS: Readonly<Record<string, (set: string) => boolean>> = {
  services4: (set) => /^at-(?!inside).*pick4/.test(set),
  "services-inside4": (set) => /^at-inside-pick4/.test(set),
  nodeports4: (set) => /^at-(?!inside).*node4/.test(set),
  "nodeports-inside4": (set) => /^at-inside-node4/.test(set),
};

function planOf(...objects: (Service | EndpointSlice)[]) {
  const plan = planServices(snapshotOf(objects), "node-1");
  const set = (name: string): NftSet | undefined => plan.table.sets.find((each) => each.name === name);
  return {
    ...plan,
    /** Elements as "key: value". */
    elements: (name: string) => {
      const lead = LEADS[name];
      if (lead)
        return plan.table.sets
          .flatMap((each) => (lead(each.name) ? each.elements.map(({ key }) => `${key.join(" ")}: ${each.name.slice(3)}`) : []))
          .sort();
      return (set(name)?.elements ?? []).map(({ key, value }) => {
        const says = value === undefined ? "" : `: ${"chain" in value ? value.chain : (value as readonly string[]).join(" ")}`;
        return `${key.join(" ")}${says}`;
      });
    },
  };
}

test("two Services on one address and port: the first by namespace and name has it, in the table and in the kernel", () => {
  const first = service("web", { clusterIP: "10.96.0.1", externalIPs: ["203.0.113.1"], ports: [{ port: 80 }] }, [], "a");
  const second = service("web", { clusterIP: "10.96.0.2", externalIPs: ["203.0.113.1"], ports: [{ port: 80 }] }, [], "b");
  const objects = [second, first, slice("web", { endpoints: [A, B, C], port: 1, namespace: "b" })];
  assert.equal(tableOf(...objects).lookup("203.0.113.1", "tcp", 80)?.namespace, "a");
  const plan = planOf(...objects);
  // The first has no end points: it is refused, and not served by the second's.
  assert.deepEqual(plan.elements("no-endpoints4"), ["10.96.0.1 tcp 80", "203.0.113.1 tcp 80"]);
  assert.deepEqual(plan.elements("services4"), ["10.96.0.2 tcp 80: pick4-tcp-3"]);
  assert.equal(plan.elements("endpoints4-tcp").length, 3);
  assert.deepEqual(plan.remarks, ["Service b/web: 203.0.113.1 port 80/tcp is not served, it belongs to Service a/web already"]);
});

test("nobody takes over another's ClusterIP or node port", () => {
  const thief = service("a", { clusterIP: "10.96.0.1", externalIPs: ["10.96.0.2"], ports: [{ port: 80, nodePort: 30080 }] });
  const owner = service("b", { clusterIP: "10.96.0.2", ports: [{ port: 80, nodePort: 30080 }] });
  const table = tableOf(thief, owner);
  assert.equal(table.lookup("10.96.0.2", "TCP", 80)?.name, "b");
  assert.equal(table.nodePort(4, "TCP", 30080)?.name, "a");
  assert.equal(table.remarks.length, 2);
});

test("every address's chain picks among exactly as many end points as are numbered for it", () => {
  let seed = 7;
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff;
    return (seed >> 8) % below;
  };
  for (let round = 0; round < 60; round++) {
    const objects = Array.from({ length: 6 }, (_, index): (Service | EndpointSlice)[] => {
      const name = `s${index}`;
      const endpoints = Array.from({ length: random(4) }, (_, at) => ({
        address: `10.244.${1 + random(2)}.${at + 2}`,
        node: `node-${1 + random(2)}`,
        ready: random(3) > 0,
        serving: random(2) > 0,
        terminating: random(2) > 0,
      }));
      const spec: ServiceSpec = {
        clusterIP: `10.96.0.${1 + random(4)}`,
        externalIPs: [`203.0.113.${random(3)}`],
        ports: [{ port: 80 + random(2), nodePort: 30000 + random(3) }],
        externalTrafficPolicy: random(2) ? "Local" : "Cluster",
        ...(random(3) ? {} : { sessionAffinity: "ClientIP" as const }),
      };
      return [service(name, spec), slice(name, { endpoints, port: 8080 })];
    }).flat();
    const plan = planOf(...objects);
    const chains = new Set(plan.table.chains.map(({ name }) => name));
    for (const inside of ["", "-inside"]) {
      for (const [map, node] of [
        [`services${inside}4`, ""],
        [`nodeports${inside}4`, "node-"],
      ] as const) {
        for (const element of plan.elements(map)) {
          const [key = "", chain = ""] = element.split(": ");
          assert.ok(chains.has(chain), chain);
          const [port = "", , address] = key.split(" ").reverse();
          const prefix = `${address === undefined ? "" : `${address} `}${port} `;
          const count = Number(/-tcp-(\d+)/.exec(chain)?.[1]);
          const numbered = plan
            .elements(`${node}${chain.includes("sticky") ? "ids" : "endpoints"}4-tcp`)
            .filter((text) => text.startsWith(prefix) && Number(text.slice(prefix.length).split(":")[0]) >= 65_536 === (inside !== ""));
          assert.equal(numbered.length, count, `round ${round}: ${element}`);
        }
      }
    }
    const refused = new Set([...plan.elements("no-endpoints4"), ...plan.elements("no-local-endpoints4")]);
    for (const element of plan.elements("services4")) assert.ok(!refused.has(element.split(": ")[0] ?? ""), element);
  }
});

test("who is served by what", () => {
  const ways = (spec: Partial<ServiceSpec>, endpoints: SliceSpec["endpoints"]) => {
    const plan = planOf(web(spec, ["203.0.113.80"]), webSlice(endpoints));
    return ["services4", "services-inside4", "nodeports4", "nodeports-inside4", "no-endpoints4", "no-local-endpoints4"].map((name) =>
      plan
        .elements(name)
        .map((text) => text.replace(" tcp 80", "").replace("tcp 30080: ", ""))
        .join(", "),
    );
  };
  const [ip, lb] = ["10.96.0.80", "203.0.113.80"];
  assert.deepEqual(ways({}, [A, B]), [`${ip}: pick4-tcp-2, ${lb}: masq-pick4-tcp-2`, "", "masq-node4-tcp-2", "", "", ""]);
  assert.deepEqual(ways({ externalTrafficPolicy: "Local" }, [A, B, C]), [
    `${ip}: pick4-tcp-3, ${lb}: local-pick4-tcp-1`,
    `${lb}: inside-pick4-tcp-3`,
    "local-node4-tcp-1",
    "inside-node4-tcp-3",
    "",
    "",
  ]);
  assert.deepEqual(ways({ externalTrafficPolicy: "Local" }, [B]), [
    `${ip}: pick4-tcp-1`,
    `${lb}: inside-pick4-tcp-1`,
    "",
    "inside-node4-tcp-1",
    "",
    lb,
  ]);
  assert.deepEqual(ways({ internalTrafficPolicy: "Local" }, [B]), [`${lb}: masq-pick4-tcp-1`, "", "masq-node4-tcp-1", "", "", ip]);
  assert.deepEqual(ways({ externalTrafficPolicy: "Local" }, []), ["", "", "", "", `${ip}, ${lb}`, ""]);
  // KEP-1669: those that end serve while none is ready.
  const ending = { ...B, ready: false, serving: true, terminating: true };
  assert.equal(ways({}, [{ ...A, ready: false, serving: false }, ending])[0], `${ip}: pick4-tcp-1, ${lb}: masq-pick4-tcp-1`);
  assert.equal(ways({}, [A, ending])[0], `${ip}: pick4-tcp-1, ${lb}: masq-pick4-tcp-1`);
});

test("an end point's affinity id stays when others come and go, and is not there when it is gone", () => {
  const ids = (...endpoints: (typeof A)[]) => {
    const plan = planOf(web({ sessionAffinity: "ClientIP" }), webSlice(endpoints));
    return new Map(plan.elements("endpoints-by-id4").map((text) => text.split(": ").reverse() as [string, string]));
  };
  const [three, two] = [ids(A, B, C), ids(A, C)];
  assert.deepEqual([...three.keys()], ["10.244.1.2 8080", "10.244.2.2 8080", "10.244.2.3 8080"]);
  assert.equal(new Set(three.values()).size, 3);
  assert.deepEqual(
    [...two],
    [...three].filter(([target]) => target !== "10.244.2.2 8080"),
  );
});

test("what is not valid is left out with a remark, and the rest is served", () => {
  const plan = planOf(
    web({
      externalIPs: ["nowhere", "203.0.113.5"],
      ports: [{ port: 80 }, { name: "x", port: 0 }, { name: "y", port: 9, protocol: "QUIC" as "TCP" }],
    }),
    webSlice([A, { address: "pod-7" }, { address: "fd00::7" }]),
  );
  assert.deepEqual(plan.elements("services4"), ["10.96.0.80 tcp 80: pick4-tcp-1", "203.0.113.5 tcp 80: masq-pick4-tcp-1"]);
  assert.equal(plan.remarks.length, 5, plan.remarks.join("\n"));
  for (const remark of plan.remarks) assert.match(remark, /^Service shop\/web: .*left out/);
});

test("source ranges guard the load balancer's addresses, and nothing else; a range that can't be read lets nobody in", () => {
  const ranges = (...loadBalancerSourceRanges: string[]) =>
    planOf(web({ loadBalancerSourceRanges, externalIPs: ["203.0.113.5"] }, ["203.0.113.80"]), webSlice([A]));
  const plan = ranges("192.0.2.7/24", "192.0.2.128/25", "192.0.2.0/24", "2001:db8::/32");
  assert.deepEqual(plan.elements("guarded4"), ["203.0.113.80 tcp 80"]);
  assert.deepEqual(plan.elements("sources4-tcp"), ["203.0.113.80 80 192.0.2.0/24"]);
  assert.deepEqual(plan.remarks, []);
  const bad = ranges("everybody");
  assert.deepEqual(bad.elements("sources4-tcp"), []);
  assert.match(bad.remarks.join(), /^Service shop\/web: loadBalancerSourceRanges "everybody" is no prefix/);
  assert.deepEqual(planOf(web({}, ["203.0.113.80"]), webSlice([A])).elements("guarded4"), []);
  const own = web({ loadBalancerSourceRanges: ["10.112.0.0/24"] }, ["203.0.113.80"]);
  const inside = planServices(snapshotOf([node("node-1", [], ["10.112.0.51"]), own, webSlice([A])]), "node-1");
  assert.deepEqual(
    inside.table.sets.find(({ name }) => name === "sources4-tcp")?.elements.map(({ key }) => key.join(" ")),
    ["203.0.113.80 80 10.112.0.0/24", "203.0.113.80 80 203.0.113.80"],
    "the node is among them, and may have the address itself",
  );
});

test("topology hints: a zone's and a node's own end points, while every ready one has a hint and one is for here", () => {
  const zones = (...names: string[]) => ({ forZones: names.map((name) => ({ name })) });
  const nodes = (...names: string[]) => ({ forNodes: names.map((name) => ({ name })), ...zones("z1") });
  const used = (endpoints: SliceSpec["endpoints"], spec: Partial<ServiceSpec> = {}) => {
    const place = node("node-1", [], []);
    const labelled = { ...place, metadata: { ...place.metadata, labels: { "topology.kubernetes.io/zone": "z1" } } };
    const { table } = planServices(snapshotOf([labelled, web(spec), webSlice(endpoints)]), "node-1");
    const set = table.sets.find(({ name }) => name === "endpoints4-tcp");
    return (set?.elements ?? []).map(({ value }) => (Array.isArray(value) ? value[0] : "")).join(" ");
  };
  const cases: readonly [string, SliceSpec["endpoints"], string, Partial<ServiceSpec>?][] = [
    ["no hints", [A, B, C], "10.244.1.2 10.244.2.2 10.244.2.3"],
    [
      "for this zone",
      [
        { ...A, hints: zones("z1") },
        { ...B, hints: zones("z2") },
        { ...C, hints: zones("z1", "z2") },
      ],
      "10.244.1.2 10.244.2.3",
    ],
    ["one has no hint", [{ ...A, hints: zones("z1") }, B], "10.244.1.2 10.244.2.2"],
    [
      "none for this zone",
      [
        { ...A, hints: zones("z2") },
        { ...B, hints: zones("z3") },
      ],
      "10.244.1.2 10.244.2.2",
    ],
    [
      "the one without a hint is not ready",
      [
        { ...A, hints: zones("z1") },
        { ...B, ready: false },
        { ...C, hints: zones("z2") },
      ],
      "10.244.1.2",
    ],
    [
      "for this node",
      [
        { ...A, hints: nodes("node-1") },
        { ...B, hints: nodes("node-2") },
      ],
      "10.244.1.2",
    ],
    [
      "none for this node: the zone's",
      [
        { ...B, hints: nodes("node-2") },
        { ...C, hints: { ...nodes("node-2"), ...zones("z2") } },
      ],
      "10.244.2.2",
    ],
    [
      "Local goes before hints",
      [
        { ...A, hints: zones("z2") },
        { ...B, hints: zones("z1") },
      ],
      "10.244.1.2",
      { internalTrafficPolicy: "Local" },
    ],
    [
      "only ending ones are left: hints do not count",
      [{ ...A, ready: false, serving: true, terminating: true, hints: zones("z2") }],
      "10.244.1.2",
    ],
  ];
  for (const [what, endpoints, expected, spec] of cases) assert.equal(used(endpoints, spec), expected, what);
});

test("stale flows", () => {
  const udp = (...endpoints: SliceSpec["endpoints"]) =>
    tableOf(
      service("dns", { clusterIP: "10.96.0.10", externalIPs: ["203.0.113.9"], ports: [{ port: 53, protocol: "UDP", nodePort: 30053 }] }),
      slice("dns", { endpoints, port: 53, protocol: "UDP" }),
    );
  const tcp = (...endpoints: SliceSpec["endpoints"]) =>
    tableOf(service("web", { clusterIP: "10.96.0.11", ports: [{ port: 80 }] }), slice("web", { endpoints, port: 53 }));
  const ATTEMPT = { protocol: 6, replied: false };
  const none = tableOf();
  const flow = (destination: string, destinationPort: number, replySource: string, more: Partial<ConntrackFlow> = {}): ConntrackFlow => ({
    protocol: 17,
    source: "10.244.1.9",
    destination,
    sourcePort: 4444,
    destinationPort,
    replySource,
    replyDestination: "10.244.1.9",
    replySourcePort: replySource === destination ? destinationPort : 53,
    replyDestinationPort: 4444,
    replied: true,
    ...more,
  });
  const cases: readonly [string, boolean, ReturnType<typeof udp>, ReturnType<typeof udp>, ConntrackFlow][] = [
    ["a good one", false, udp(A, B), udp(A), flow("10.96.0.10", 53, A.address)],
    ["its end point is gone", true, udp(A, B), udp(A), flow("10.96.0.10", 53, B.address)],
    ["its end point serves no more", true, udp(A, B), udp(A, { ...B, ready: false }), flow("10.96.0.10", 53, B.address)],
    [
      "its end point ends and still serves",
      false,
      udp(A, B),
      udp(A, { ...B, ready: false, serving: true, terminating: true }),
      flow("10.96.0.10", 53, B.address),
    ],
    ["its Service is gone", true, udp(A), none, flow("10.96.0.10", 53, A.address)],
    ["its node port is gone", true, udp(A), none, flow("10.112.0.51", 30053, A.address)],
    ["its external address is gone", true, udp(A), none, flow("203.0.113.9", 53, A.address)],
    ["nobody was there, and now is", true, udp(), udp(A), flow("10.96.0.10", 53, "10.96.0.10")],
    ["the same at an external address", true, udp(), udp(A), flow("203.0.113.9", 53, "203.0.113.9")],
    ["the same at a node port", true, none, udp(A), flow("10.112.0.51", 30053, "10.112.0.51")],
    ["another program's port with a node port's number", false, udp(A), udp(A, B), flow("10.244.2.9", 30053, "10.244.2.9")],
    ["still nobody is there", false, udp(), udp(), flow("10.96.0.10", 53, "10.96.0.10")],
    ["a connection ends by itself", false, tcp(A, B), tcp(A), flow("10.96.0.11", 80, B.address, { protocol: 6 })],
    ["an attempt to an end point that is gone", true, tcp(A, B), tcp(A), flow("10.96.0.11", 80, B.address, ATTEMPT)],
    ["an attempt to one that is there", false, tcp(A, B), tcp(A), flow("10.96.0.11", 80, A.address, ATTEMPT)],
    [
      "an attempt to one that ends and still serves",
      false,
      tcp(A, B),
      tcp(A, { ...B, ready: false, serving: true, terminating: true }),
      flow("10.96.0.11", 80, B.address, ATTEMPT),
    ],
    ["an attempt, and its Service is gone", true, tcp(A), none, flow("10.96.0.11", 80, A.address, ATTEMPT)],
    ["no Service's", false, udp(A), udp(), flow("192.0.2.1", 53, "192.0.2.1")],
    ["translated by somebody else", false, none, none, flow("192.0.2.1", 53, "192.0.2.9")],
  ];
  for (const [what, stale, before, after, subject] of cases) assert.equal(isStale(before, after, subject), stale, what);
});

test("what did not change is the same object", () => {
  const builder = createSnapshotBuilder();
  const other = service("other", { clusterIP: "10.96.0.81", ports: [{ port: 53, protocol: "UDP" }] });
  builder.apply(
    [web(), webSlice([A]), other, slice("other", { endpoints: [B], port: 53, protocol: "UDP" })].map((object) => ({
      type: "ADDED",
      object,
    })),
  );
  const first = planServices(builder.snapshot(), "node-1");
  builder.apply([{ type: "ADDED", object: node("node-1", [], []) }]);
  assert.equal(planServices(builder.snapshot(), "node-1"), first);
  builder.apply([{ type: "MODIFIED", object: webSlice([A, B]) }]);
  const second = planServices(builder.snapshot(), "node-1");
  const changed = second.table.sets.filter((set) => !first.table.sets.includes(set)).map(({ name }) => name);
  assert.deepEqual(
    changed.sort(),
    ["at-masq-node4-tcp-2", "at-pick4-tcp-2", "cluster-ips4", "endpoints4-tcp", "hairpin4", "node-endpoints4-tcp"].filter((name) =>
      changed.includes(name),
    ),
  );
  assert.ok(!changed.includes("endpoints4-udp"));
  assert.equal(second.table.hooks, first.table.hooks);
  assert.notEqual(planServices(builder.snapshot(), "node-2"), second);
});

test("a table that follows another by changes is the table of its objects, and so is the plan", () => {
  const change = fc.record({
    name: fc.integer({ min: 0, max: 5 }),
    what: fc.constantFrom("service", "slice", "gone", "no slice"),
    address: fc.integer({ min: 1, max: 4 }),
    external: fc.integer({ min: 1, max: 3 }),
    port: fc.integer({ min: 80, max: 81 }),
    nodePort: fc.integer({ min: 30_000, max: 30_003 }),
    local: fc.boolean(),
    sticky: fc.boolean(),
    endpoints: fc.array(fc.integer({ min: 2, max: 6 }), { maxLength: 3 }),
    /** How many changes come at once. */
    taken: fc.boolean(),
  });
  // Enough others that an account is kept.
  const crowd = Array.from({ length: 510 }, (_, index) => {
    const name = `crowd-${index}`;
    const clusterIP = `10.97.${index >> 8}.${index & 255}`;
    return [service(name, { clusterIP, ports: [{ port: 80 }] }), slice(name, { endpoints: [A], port: 8080 })];
  }).flat();
  const bySet = (snapshot: ReturnType<typeof snapshotOf>) => {
    const { table, remarks } = planServices(snapshot, "node-1");
    const sets = table.sets.map((set) => [set.name, set.elements.map((element) => JSON.stringify(element)).sort()]);
    return { sets, chains: table.chains.map(({ name }) => name), remarks };
  };
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 14 }), (changes) => {
      const builder = createSnapshotBuilder();
      const objects = new Map<string, Service | EndpointSlice>();
      const put = (object: Service | EndpointSlice, type: "MODIFIED" | "DELETED" = "MODIFIED") => {
        const key = `${object.kind} ${object.metadata.name}`;
        if (type === "DELETED") objects.delete(key);
        else objects.set(key, object);
        builder.apply([{ type, object }]);
      };
      for (const object of crowd) put(object);
      planServices(builder.snapshot(), "node-1");
      for (const { name: number, what, address, external, port, nodePort, local, sticky, endpoints, taken } of changes) {
        const name = `s${number}`;
        const made = service(name, {
          clusterIP: `10.96.0.${address}`,
          externalIPs: [`203.0.113.${external}`],
          ports: [{ port, nodePort }],
          externalTrafficPolicy: local ? "Local" : "Cluster",
          sessionAffinity: sticky ? "ClientIP" : "None",
        });
        const points = slice(name, {
          endpoints: endpoints.map((host) => ({ address: `10.244.1.${host}`, node: `node-${host % 2}` })),
          port: 8080,
        });
        if (what === "service" || what === "gone") put(made, what === "gone" ? "DELETED" : "MODIFIED");
        else put(points, what === "no slice" ? "DELETED" : "MODIFIED");
        if (!taken) continue;
        const snapshot = builder.snapshot();
        const older = serviceTable(snapshot);
        const fresh = snapshotOf([...objects.values()].map((object) => structuredClone(object)));
        assert.deepEqual(bySet(snapshot), bySet(fresh));
        const again = serviceTable(fresh);
        assert.deepEqual(older.entries, again.entries);
        assert.deepEqual(older.faults, again.faults);
        assert.deepEqual(entriesIn(older, LOCAL), entriesIn(again, LOCAL));
        for (const entry of again.entries)
          for (const at of [entry.clusterIP ?? "", ...entry.externalAddresses])
            assert.deepEqual(older.lookup(at, entry.protocol, entry.port), again.lookup(at, entry.protocol, entry.port));
      }
    }),
    { numRuns: 12 },
  );
});

const LOCAL = { takes: ({ externalLocal }: ServiceEntry) => externalLocal };

test("an older table still says what it said", () => {
  const builder = createSnapshotBuilder();
  const claims = (name: string, clusterIP: string) => service(name, { clusterIP, externalIPs: ["203.0.113.1"], ports: [{ port: 80 }] });
  builder.apply([{ type: "ADDED", object: claims("b", "10.96.0.2") }]);
  const tables = [serviceTable(builder.snapshot())];
  const steps = [
    { type: "ADDED", object: claims("a", "10.96.0.1") },
    { type: "DELETED", object: claims("b", "10.96.0.2") },
    { type: "DELETED", object: claims("a", "10.96.0.1") },
  ] as const;
  for (const step of steps) {
    builder.apply([step]);
    tables.push(serviceTable(builder.snapshot()));
  }
  const owners = () => tables.map((table) => table.lookup("203.0.113.1", "TCP", 80)?.name);
  assert.deepEqual(owners(), ["b", "a", "a", undefined]);
  assert.deepEqual(
    tables.map((table) => table.lookup("10.96.0.2", "TCP", 80)?.name),
    ["b", "b", undefined, undefined],
  );
});
