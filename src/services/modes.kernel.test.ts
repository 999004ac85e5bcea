// The modes of Services on a running node: switched under open connections, mended when somebody interferes, gone without residue.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, test } from "node:test";
import { until } from "../../test/patience.ts";
import { BRIEF, type Place, type PodName, podAddress, type ServiceMode, ServiceNetwork, TESTED_MODES } from "../../test/service-network.ts";
import { service, slice } from "../../test/service-objects.ts";
import { createReconciler, EMPTY_STATE, ROUTE_PROTOCOL } from "../kernel/index.ts";
import type { KubeObject, Pod } from "../resources/index.ts";
import { SERVICE_CHAINS } from "./index.ts";

const skip = process.getuid?.() !== 0;
const endpoints = [
  { address: podAddress("a"), node: "node-1" },
  { address: podAddress("c"), node: "node-2" },
];
const OBJECTS = [
  service("web", { type: "NodePort", clusterIP: "10.96.0.80", ports: [{ port: 80, nodePort: 30080 }] }),
  slice("web", { endpoints, port: 8080 }),
  service("chat", { type: "NodePort", clusterIP: "10.96.0.81", ports: [{ port: 80, nodePort: 30081 }] }),
  slice("chat", { endpoints, port: 8081 }),
];
const SILENCE_MS = 1000;

let net: ServiceNetwork;
/** IPVS has been used, and has not forgotten its connections yet. */
let begun = false;
before(() => {
  if (!skip) net = new ServiceNetwork();
});
after(() => net?.close());

const use = (mode: ServiceMode) => {
  net.mode = mode;
  net.set(OBJECTS);
};
const run = (...command: string[]) =>
  net.at("node-1").run(() => spawnSync(command[0] ?? "", command.slice(1), { encoding: "utf8" }).stdout);

/** What of each mode stands in node-1's kernel. */
function traces() {
  return {
    nftables:
      net
        .at("node-1")
        .nft.readTable("inet", "fairlead")
        ?.sets.some(({ name }) => name.startsWith("at-")) === true,
    iptables: /KUBE-/.test(run("iptables-save") + run("ip6tables-save")),
    ipvs:
      net
        .at("node-1")
        .listLinks()
        .some(({ name }) => name === "kube-ipvs0") ||
      net.at("node-1").listLocalRoutes().length > 0 ||
      net.at("node-1").ipvs.list().length > 0 ||
      net.at("node-1").ipsets.list((name) => name.startsWith("KUBE-")).length > 0,
  };
}

// Before the others: what IPVS has begun it brings to its end, and refuses what is new meanwhile.
for (const mode of TESTED_MODES)
  test(`an attempt that begins before its Service is there reaches it when it comes, by ${mode}`, { skip }, async () => {
    net.mode = mode;
    net.set([]);
    const attempts = (["b", "client", "node-1"] as const).map((from) => net.connect(from, "10.96.0.80", 80));
    // The first packets are on their way; the next of the same connections come a second later.
    await new Promise((resolve) => setTimeout(resolve, 200));
    net.set(OBJECTS);
    begun ||= mode === "ipvs";
    const verdicts = (await Promise.all(attempts)).map(({ verdict }) => verdict);
    assert.deepEqual(verdicts, ["connected", "connected", "connected"]);
  });

for (const [from, to] of TESTED_MODES.flatMap((a) => TESTED_MODES.map((b) => [a, b] as const)).filter(
  ([a, b]) => a !== b && (!BRIEF || a === "ipvs" || b === "ipvs"),
))
  test(`${from} → ${to} → ${from}: open connections live on, new ones are served, nothing is left behind`, { skip }, async () => {
    use(from);
    begun ||= from === "ipvs";
    const held = [
      await net.hold("b", "10.96.0.81", 80),
      await net.hold("node-1", "10.96.0.81", 80),
      await net.hold("client", "10.112.0.51", 30081),
    ];
    for (const mode of [to, from]) {
      use(mode);
      for (const connection of held) assert.equal(await connection.say(`in ${mode}`), `in ${mode}`);
      const pods = await Promise.all(Array.from({ length: 20 }, () => net.connect("b", "10.96.0.80", 80)));
      assert.deepEqual([...new Set(pods.map(({ pod }) => pod))].sort(), ["a", "c"], mode);
      assert.equal((await net.connect("client", "10.112.0.51", 30080)).verdict, "connected", mode);
      assert.equal((await net.connect("b", "10.96.0.80", 81)).verdict, "refused", mode);
      const found = traces();
      assert.equal(found.nftables, mode !== "iptables", mode);
      assert.equal(found.iptables, mode === "iptables", mode);
      // What IPVS began, it brings to its end: ipvs.vm.test.ts.
      begun ||= mode === "ipvs";
      assert.equal(found.ipvs, begun, mode);
      assert.equal(net.drifts(), 0, "the kernel gives back what was written");
    }
    for (const connection of held) connection.close();
  });

test("no connection is lost while modes change", { skip }, async () => {
  use("nftables");
  let done = false;
  const verdicts = new Map<string, number>();
  const work = async (from: Place, address: string, port: number) => {
    while (!done) {
      const { verdict } = await net.connect(from, address, port);
      verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
    }
  };
  const workers = [work("b", "10.96.0.80", 80), work("client", "10.112.0.51", 30080), work("node-1", "10.96.0.80", 80)];
  for (const mode of [...TESTED_MODES, ...[...TESTED_MODES].reverse()]) {
    use(mode);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  done = true;
  await Promise.all(workers);
  assert.deepEqual([...verdicts.keys()], ["connected"]);
});

const pod = (name: PodName, node: string): Pod => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { namespace: "shop", name, labels: { app: name } },
  spec: { nodeName: node, containers: [] },
  status: { podIPs: [{ ip: podAddress(name) }] },
});
const policy = (spec: object): KubeObject =>
  ({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { namespace: "shop", name: "p" }, spec }) as KubeObject;
const selecting = (app: string) => ({ podSelector: { matchLabels: { app } } });
const POLICIES: readonly (readonly [says: string, policy: KubeObject, verdict: string])[] = [
  ["who may send nothing", policy({ ...selecting("b"), policyTypes: ["Egress"] }), "timeout"],
  ["whose end point takes nothing", policy({ ...selecting("a"), policyTypes: ["Ingress"] }), "timeout"],
  [
    "who may send to the end point",
    policy({ ...selecting("b"), policyTypes: ["Egress"], egress: [{ to: [selecting("a")] }] }),
    "connected",
  ],
  [
    "whose end point takes from it",
    policy({ ...selecting("a"), policyTypes: ["Ingress"], ingress: [{ from: [selecting("b")] }] }),
    "connected",
  ],
];
for (const mode of TESTED_MODES)
  test(`${mode}: policies hold behind a Service`, { skip }, async () => {
    const objects = [
      { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
      pod("a", "node-1"),
      pod("b", "node-1"),
      service("one", { clusterIP: "10.96.0.82", ports: [{ port: 80 }] }),
      slice("one", { endpoints: [{ address: podAddress("a"), node: "node-1" }], port: 8080 }),
    ];
    net.mode = mode;
    for (const [says, rule, verdict] of POLICIES) {
      net.set([...objects, rule]);
      const answer = await net.connect("b", "10.96.0.82", 80, verdict === "timeout" ? SILENCE_MS : undefined);
      assert.equal(answer.verdict, verdict, says);
    }
  });

test("people and tools find kube-proxy's chains", { skip }, () => {
  use("iptables");
  const services = run("iptables", "-t", "nat", "-L", "KUBE-SERVICES", "-n", "--line-numbers");
  assert.match(services, /^1 +KUBE-SVC-\w{16} +(tcp|6) +-- +0\.0\.0\.0\/0 +10\.96\.0\.81 +\/\* shop\/chat cluster IP \*\/ tcp dpt:80$/m);
  assert.match(services, /KUBE-NODEPORTS .*NOTE: this must be the last rule in this chain/);
  const chain = /(KUBE-SVC-\w{16}).*10\.96\.0\.80/.exec(services)?.[1] ?? "";
  assert.match(run("iptables", "-t", "nat", "-S", chain), /--mode random --probability 0\.50000000000 -j KUBE-SEP-/);
});

const meddle: readonly [what: string, ...commands: string[][]][] = [
  ["the canary is deleted", ["iptables", "-t", "nat", "-F", "KUBE-PROXY-CANARY"], ["iptables", "-t", "nat", "-X", "KUBE-PROXY-CANARY"]],
  ["every rule of a chain is deleted", ["iptables", "-t", "nat", "-F", "KUBE-SERVICES"]],
  ["one rule is deleted", ["iptables", "-t", "nat", "-D", "PREROUTING", "1"]],
  ["the whole table is flushed", ["iptables", "-t", "nat", "-F"]],
  ["IPv6's is flushed", ["ip6tables", "-t", "filter", "-F"]],
];
for (const [what, ...commands] of BRIEF ? meddle.slice(0, 1) : meddle)
  test(`${what}: put back`, { skip }, async () => {
    use("iptables");
    const namespace = net.at("node-1");
    const read = () => [...namespace.iptables.save(4), ...namespace.iptables.save(6)];
    const wanted = read();
    const reconciler = createReconciler({
      namespace,
      owns: { links: () => false, routeProtocol: ROUTE_PROTOCOL.fairlead, tables: [], iptables: SERVICE_CHAINS },
    });
    try {
      reconciler.set({ ...EMPTY_STATE, iptables: net.planned("node-1").iptables });
      for (const command of commands) run(...command);
      assert.notDeepEqual(read(), wanted, "the test has changed something");
      await until(() => reconciler.status.drifts > 0);
      assert.deepEqual(sorted(read()), sorted(wanted));
      assert.ok((reconciler.status.mended.iptables ?? 0) > 0);
    } finally {
      reconciler.close();
    }
  });

const sorted = (tables: ReturnType<ServiceNetwork["planned"]>["iptables"]) =>
  tables.map(({ family, name, chains }) => [family, name, ...chains.map((chain) => `${chain.name} ${chain.rules.join(" | ")}`).sort()]);

test("a restarted agent finds its own chains, and leaves those of a foreign kube-proxy alone", { skip }, () => {
  use("iptables");
  const start = () => {
    const reconciler = createReconciler({
      namespace: net.at("node-1"),
      owns: { links: () => false, routeProtocol: ROUTE_PROTOCOL.fairlead, tables: [], iptables: SERVICE_CHAINS },
      watch: false,
    });
    reconciler.set(EMPTY_STATE);
    reconciler.close();
  };
  start();
  assert.doesNotMatch(run("iptables-save"), /KUBE-/);
  net
    .at("node-1")
    .iptables.restore(4, "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-FOREIGN - [0:0]\n-A KUBE-SERVICES -j KUBE-SVC-FOREIGN\nCOMMIT\n");
  start();
  assert.match(run("iptables-save"), /KUBE-SVC-FOREIGN/);
  net
    .at("node-1")
    .iptables.restore(4, "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-FOREIGN - [0:0]\n-X KUBE-SVC-FOREIGN\n-X KUBE-SERVICES\nCOMMIT\n");
});
