// The iptables mode as rules: names and texts that people and tools know from kube-proxy.
import assert from "node:assert/strict";
import { test } from "node:test";
import { node, service, slice } from "../../test/service-objects.ts";
import { createSnapshotBuilder, snapshotOf } from "../cluster/index.ts";
import { chainChanges, createFakeKernel, createReconciler, EMPTY_STATE, type IptablesTable, ROUTE_PROTOCOL } from "../kernel/index.ts";
import type { EndpointSlice, KubeObject, Service } from "../resources/index.ts";
import { planServiceMode, SERVICE_CHAINS } from "./index.ts";
import { joinNetworks } from "./pod-sources.ts";

const elements = (...networks: string[]) => networks.map((network) => ({ key: [network] }));
const PORTS: Pick<EndpointSlice, "ports"> = { ports: [{ name: "https", port: 6443, protocol: "TCP" }] };
const PODS = { 4: elements("10.244.0.0/16"), 6: elements("fd00:10:244::/48") };

function chainsOf(objects: readonly KubeObject[], podNetworks = PODS) {
  const { state } = planServiceMode(snapshotOf([node("node-1", [], []), ...objects]), "node-1", { mode: "iptables", podNetworks });
  const fake = createFakeKernel().createNamespace();
  for (const { family, name, chains } of state.iptables ?? []) {
    const own = chains.filter((chain) => chain.name.startsWith("KUBE"));
    fake.iptables.restore(
      family,
      [
        `*${name}`,
        ...own.map((chain) => `:${chain.name} - [0:0]`),
        ...chains.flatMap((chain) => chain.rules.map((rule) => `-A ${chain.name} ${rule}`)),
        "COMMIT",
        "",
      ].join("\n"),
    );
  }
  return (chain: string, table = "nat", family: 4 | 6 = 4) =>
    state.iptables?.find((each) => each.name === table && each.family === family)?.chains.find(({ name }) => name === chain)?.rules;
}

test("names are kube-proxy's hashes", () => {
  const chains = chainsOf([
    service("kubernetes", { clusterIP: "10.96.0.1", ports: [{ name: "https", port: 443 }] }, [], "default"),
    { ...slice("kubernetes", { endpoints: [{ address: "10.112.0.51" }], port: 6443, namespace: "default" }), ...PORTS },
  ]);
  assert.deepEqual(
    chains("KUBE-SERVICES")?.[0],
    '-d 10.96.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y',
  );
});

test("shares, masquerade and translation of a Service's chains", () => {
  const chains = chainsOf([
    service("web", { clusterIP: "10.96.0.80", ports: [{ port: 80 }] }),
    slice("web", { endpoints: ["10.244.1.2", "10.244.1.3", "10.244.1.4"].map((address) => ({ address })), port: 8080 }),
  ]);
  const [entrance] = chains("KUBE-SERVICES") ?? [];
  const pick = chains(entrance?.split(" ").at(-1) ?? "") ?? [];
  assert.equal(
    pick[0],
    '! -s 10.244.0.0/16 -d 10.96.0.80/32 -p tcp -m comment --comment "shop/web cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ',
  );
  assert.deepEqual(
    pick.slice(1).map((rule) => /probability (\S+)/.exec(rule)?.[1]),
    ["0.3333333333", "0.5000000000", undefined],
  );
  assert.deepEqual(chains(pick[1]?.split(" ").at(-1) ?? ""), [
    '-s 10.244.1.2/32 -m comment --comment "shop/web" -j KUBE-MARK-MASQ',
    '-p tcp -m comment --comment "shop/web" -m tcp -j DNAT --to-destination 10.244.1.2:8080',
  ]);
});

test("IPv6 has its own table, with addresses in brackets", () => {
  const chains = chainsOf([
    service("web", { clusterIP: "fd00:10:96::80", ports: [{ port: 80 }] }),
    slice("web", { endpoints: [{ address: "fd00:10:244:1::2" }], port: 8080, family: 6 }),
  ]);
  const entrance = chains("KUBE-SERVICES", "nat", 6)?.[0] ?? "";
  const [, jump = ""] = chains(entrance.split(" ").at(-1) ?? "", "nat", 6) ?? [];
  assert.match(chains(jump.split(" ").at(-1) ?? "", "nat", 6)?.[1] ?? "", /--to-destination \[fd00:10:244:1::2\]:8080$/);
  assert.equal(chains("KUBE-SERVICES")?.length, 1);
});

test("several pod networks are told apart in a chain of their own", () => {
  const objects = [
    service("web", { clusterIP: "10.96.0.80", ports: [{ port: 80 }] }),
    slice("web", { endpoints: [{ address: "10.244.1.2" }], port: 80 }),
  ];
  const chains = chainsOf(objects, { 4: elements("10.244.0.0/24", "10.244.1.0/24", "10.9.0.0/24"), 6: [] });
  assert.deepEqual(chains("KUBE-MASQ-OUTSIDERS"), ["-s 10.9.0.0/24 -j RETURN", "-s 10.244.0.0/23 -j RETURN", "-j KUBE-MARK-MASQ"]);
});

test("the range that the cluster says stands for its nodes' networks, if it holds them", () => {
  const objects = (podNetworks: string) => [
    service("web", { clusterIP: "10.96.0.80", ports: [{ port: 80 }] }),
    slice("web", { endpoints: [{ address: "10.244.1.2" }], port: 80 }),
    { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "kube-system", name: "fairlead" }, data: { podNetworks } } as KubeObject,
  ];
  const networks = { 4: elements("10.244.0.0/24", "10.244.2.0/24"), 6: [] };
  const mark = (said: string) => {
    const chains = chainsOf(objects(said), networks);
    return chains(chains("KUBE-SERVICES")?.[0]?.split(" ").at(-1) ?? "")?.[0] ?? "";
  };
  assert.match(mark("10.244.0.0/16, fd00::/48"), /^! -s 10\.244\.0\.0\/16 .* -j KUBE-MARK-MASQ$/);
  assert.match(mark("10.250.0.0/16"), /-j KUBE-MASQ-OUTSIDERS$/);
});

test("who has no end point is refused in the filter table", () => {
  const chains = chainsOf([
    service("none", { type: "NodePort", clusterIP: "10.96.0.84", ports: [{ port: 80, nodePort: 30084 }] }),
    service("away", { type: "NodePort", clusterIP: "10.96.0.83", externalTrafficPolicy: "Local", ports: [{ port: 80, nodePort: 30083 }] }),
    slice("away", { endpoints: [{ address: "10.244.2.2", node: "node-2" }], port: 80 }),
  ]);
  assert.deepEqual(chains("KUBE-SERVICES", "filter"), [
    '-d 10.96.0.84/32 -p tcp -m comment --comment "shop/none has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable',
  ]);
  assert.deepEqual([...(chains("KUBE-EXTERNAL-SERVICES", "filter") ?? [])].sort(), [
    '-p tcp -m comment --comment "shop/away has no local endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 30083 -j DROP',
    '-p tcp -m comment --comment "shop/none has no endpoints" -m addrtype --dst-type LOCAL -m tcp --dport 30084 -j REJECT --reject-with icmp-port-unreachable',
  ]);
});

test("an object's odd name can't end a rule", () => {
  const chains = chainsOf([service('x" -j ACCEPT\n-A', { clusterIP: "10.96.0.80", ports: [{ port: 80 }] })]);
  assert.match(chains("KUBE-SERVICES", "filter")?.[0] ?? "", /"shop\/x_ -j ACCEPT_-A has no endpoints"/);
});

test("pod networks are joined to the fewest prefixes, exactly", () => {
  const joined = (...networks: string[]) => joinNetworks(elements(...networks));
  assert.deepEqual(joined("10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"), ["10.244.0.0/22"]);
  assert.deepEqual(joined("10.244.1.0/24", "10.244.2.0/24"), ["10.244.1.0/24", "10.244.2.0/24"]);
  assert.deepEqual(joined("10.244.0.0/16", "10.244.7.0/24"), ["10.244.0.0/16"]);
  assert.deepEqual(joined("fd00::/65", "fd00::8000:0:0:0/65", "nonsense"), ["fd00::/64"]);
});

const MANY = [71, 72, 73, 74, 75];
const HOSTS = Array.from({ length: 200 }, (_, index) => index + 1);

test("a plan that follows another is equal to one made anew, and the kernel to both", () => {
  const builder = createSnapshotBuilder();
  const objects = new Map<string, Service | EndpointSlice>();
  const put = (object: Service | EndpointSlice, type: "MODIFIED" | "DELETED" = "MODIFIED") => {
    if (type === "DELETED") objects.delete(`${object.kind} ${object.metadata.name}`);
    else objects.set(`${object.kind} ${object.metadata.name}`, object);
    builder.apply([{ type, object }]);
  };
  const made = (number: number, spec: object = {}) =>
    service(`s${number}`, { clusterIP: `10.96.0.${number}`, ports: [{ port: 80 }], ...spec });
  const points = (number: number, ...hosts: number[]) =>
    slice(`s${number}`, { endpoints: hosts.map((host) => ({ address: `10.244.1.${host}` })), port: 8080 });
  const planOf = (snapshot: ReturnType<typeof snapshotOf>) =>
    planServiceMode(snapshot, "node-1", { mode: "iptables", podNetworks: PODS }).state.iptables ?? [];
  // In a loose chain, the order of all rules but the last is free.
  const listed = (tables: readonly IptablesTable[]) =>
    tables.map(({ family, name, chains }) => [family, name, new Map(chains.map((chain) => [chain.name, new Set(chain.rules)]))]);
  for (let number = 1; number <= 40; number++) {
    put(made(number));
    put(points(number, number, number + 100));
  }
  const namespace = createFakeKernel().createNamespace();
  const owns = { links: () => false, routeProtocol: ROUTE_PROTOCOL.fairlead, tables: [], iptables: SERVICE_CHAINS };
  const reconciler = createReconciler({ namespace, owns, watch: false });
  let before = planOf(builder.snapshot());
  reconciler.set({ ...EMPTY_STATE, iptables: before });
  const steps: readonly (readonly [says: string, followed: boolean, run: () => unknown])[] = [
    ["one comes", true, () => [made(50), points(50, 7)].map((object) => put(object))],
    ["an end point goes and another comes", true, () => put(points(3, 3, 9))],
    ["one goes", true, () => put(made(5), "DELETED")],
    ["an address that another has had", true, () => [points(60, 1), made(60, { externalIPs: ["10.96.0.7"] })].map((object) => put(object))],
    ["a port is another", true, () => put(made(8, { ports: [{ port: 81 }] }))],
    ["nobody is left: a rule of a chain in order", false, () => put(points(9))],
    ["somebody is back", false, () => put(points(9, 9))],
    ["a node port comes", false, () => put(made(10, { type: "NodePort", ports: [{ port: 80, nodePort: 30_010 }] }))],
    ["what has a node port gets an end point", true, () => put(points(10, 1, 2, 3))],
    ["more than 1000 end points", false, () => MANY.flatMap((each) => [made(each), points(each, ...HOSTS)]).map((each) => put(each))],
    ["one more among many", true, () => put(points(3, 3, 9, 10))],
    ["few again", false, () => put(made(71), "DELETED")],
  ];
  const ofEndpoints = (tables: readonly IptablesTable[]) =>
    tables.flatMap(({ chains }) => chains.filter(({ name }) => name.startsWith("KUBE-SEP-")).flatMap(({ rules }) => rules));
  for (const [says, followed, run] of steps) {
    run();
    const plan = planOf(builder.snapshot());
    const [nat, old] = [plan.find(({ family, name }) => family === 4 && name === "nat"), before[0]];
    assert.equal(nat !== undefined && old !== undefined && chainChanges(nat, old) !== undefined, followed, says);
    assert.equal(reconciler.set({ ...EMPTY_STATE, iptables: plan }).inSync, true, says);
    assert.deepEqual(listed(plan), listed(planOf(snapshotOf([...objects.values()].map((object) => structuredClone(object))))), says);
    assert.equal(reconciler.resync().drifts, 0, says);
    const noted = ofEndpoints(plan).filter((rule) => rule.includes("--comment")).length;
    assert.equal(noted, says.includes("many") || says.includes("1000") ? 0 : ofEndpoints(plan).length, `${says}: comments, as kube-proxy`);
    before = plan;
  }
});
