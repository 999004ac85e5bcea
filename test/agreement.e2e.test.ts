// Packets and calculation agree on every pair, over policies made by chance.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { MatrixAnswer } from "../src/lab/index.ts";
import { makePlace } from "./fairlead.ts";
import { tryPairs } from "./matrix.ts";
import { eventually } from "./patience.ts";
import { randomCalico } from "./random-calico.ts";

const ROUNDS = Number(process.env.FAIRLEAD_ROUNDS ?? 12);
const POLICIES_A_ROUND = 25;
const NAMESPACES = ["red", "green"];
const APPS = ["a", "b", "c"];
const PORTS = [80, 443];

const CALICO = [
  "networkpolicies",
  "globalnetworkpolicies",
  "stagednetworkpolicies",
  "stagedglobalnetworkpolicies",
  "tiers",
  "networksets",
  "globalnetworksets",
  "profiles",
];

/** A generator of numbers that is the same in every run. */
function makeRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const random = makeRandom(20_260_701);
const pick = <T>(values: readonly T[]): T => values[random(values.length)] as T;

function selector(): object {
  return pick<() => object>([
    () => ({}),
    () => ({ matchLabels: { app: pick(APPS) } }),
    () => ({ matchLabels: { tier: pick(["front", "back"]) } }),
    () => ({ matchExpressions: [{ key: "app", operator: pick(["In", "NotIn"]), values: [pick(APPS)] }] }),
    () => ({ matchExpressions: [{ key: "tier", operator: pick(["Exists", "DoesNotExist"]) }] }),
  ])();
}

function peer(): object {
  return pick<() => object>([
    () => ({ podSelector: selector() }),
    () => ({ namespaceSelector: { matchLabels: { colour: pick(NAMESPACES) } } }),
    () => ({ namespaceSelector: {}, podSelector: selector() }),
    () => ({ ipBlock: { cidr: "10.244.0.0/16", except: [pick(["10.244.0.0/24", "10.244.1.0/24"])] } }),
    () => ({ ipBlock: { cidr: pick(["0.0.0.0/0", "10.244.0.0/24", "198.51.100.0/24"]) } }),
  ])();
}

function port(): object {
  return pick<() => object>([
    () => ({ protocol: "TCP", port: pick(PORTS) }),
    () => ({ port: pick(["web", "tls"]) }),
    () => ({ port: 1, endPort: 100 }),
    () => ({ protocol: "UDP" }),
  ])();
}

function rules(direction: "from" | "to"): object[] {
  return Array.from({ length: random(3) }, () => ({
    ...(random(4) === 0 ? {} : { [direction]: Array.from({ length: 1 + random(2) }, peer) }),
    ...(random(2) === 0 ? {} : { ports: Array.from({ length: 1 + random(2) }, port) }),
  }));
}

function policy(index: number): object {
  const types = pick([["Ingress"], ["Egress"], ["Ingress", "Egress"]]);
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: `random-${index}`, namespace: pick(NAMESPACES) },
    spec: {
      podSelector: selector(),
      policyTypes: types,
      ...(types.includes("Ingress") ? { ingress: rules("from") } : {}),
      ...(types.includes("Egress") ? { egress: rules("to") } : {}),
    },
  };
}

/** One of the cluster-wide tiers, now and then. */
function clusterPolicy(index: number): object {
  const selection = () =>
    pick<() => object>([
      () => ({ namespaces: {} }),
      () => ({ namespaces: { matchLabels: { colour: pick(NAMESPACES) } } }),
      () => ({ pods: { namespaceSelector: {}, podSelector: selector() } }),
    ])();
  const rule = (direction: "from" | "to") => ({
    action: pick(["Accept", "Deny", "Pass"]),
    [direction]: [direction === "to" && random(3) === 0 ? { networks: [pick(["10.244.0.0/24", "10.244.1.0/24"])] } : selection()],
    ...(random(2) === 0
      ? {}
      : {
          protocols: [
            pick<object>([{ tcp: { destinationPort: { number: pick(PORTS) } } }, { destinationNamedPort: pick(["web", "tls"]) }]),
          ],
        }),
  });
  return {
    apiVersion: "policy.networking.k8s.io/v1alpha2",
    kind: "ClusterNetworkPolicy",
    metadata: { name: `cluster-${index}` },
    spec: {
      tier: pick(["Admin", "Baseline"]),
      priority: index,
      subject: selection(),
      ingress: Array.from({ length: random(3) }, () => rule("from")),
      egress: Array.from({ length: random(2) }, () => rule("to")),
    },
  };
}

function world(): object[] {
  const namespaces = NAMESPACES.map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels: { colour: name } } }));
  const pods = NAMESPACES.flatMap((namespace) =>
    APPS.map((app, index) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: app, namespace, labels: { app, ...(index === 2 ? {} : { tier: index === 0 ? "front" : "back" }) } },
      spec: {
        containers: [
          {
            name: "c",
            image: "x",
            ports: [
              { name: "web", containerPort: 80 },
              { name: "tls", containerPort: 443 },
            ],
          },
        ],
      },
    })),
  );
  return [...namespaces, ...pods];
}

const place = makePlace();

describe("packets and calculation", () => {
  const write = (name: string, objects: readonly object[]) => {
    const file = join(place.directory, name);
    writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }));
    return file;
  };
  before(() => place.ok("lab", "up", write("world.json", world()), "--nodes", "2"));
  after(() => place.close());

  test(`agree on every pair, over ${ROUNDS * POLICIES_A_ROUND} policies`, async () => {
    const config = (await place.ok("lab", "kubeconfig")).trim();
    const kubectl = (...words: string[]) =>
      place.run("kubectl", [`--kubeconfig=${config}`, `--cache-dir=${place.directory}/cache`, ...words]);
    const seen = new Set<string>();
    for (let round = 0; round < ROUNDS; round++) {
      // Few policies at a time, or everything would be denied.
      const policies = Array.from({ length: POLICIES_A_ROUND }, (_, index) => policy(round * POLICIES_A_ROUND + index)).filter(
        (_, index) => index % 8 === round % 8 || index < 2,
      );
      if (round % 2 === 1) policies.push(clusterPolicy(2 * round), clusterPolicy(2 * round + 1));
      if (round % 3 === 2) policies.push(...randomCalico(round, { count: 3, namespaces: NAMESPACES, hosts: false }));
      await place.ok("lab", "up", write(`round-${round}.json`, policies));
      const calculated = await place.json<MatrixAnswer>("matrix", "--all", "--static");
      const packets = await tryPairs(place, (_, index) => calculated.pairs[index]?.verdict === "connected");
      assert.equal(packets.length, calculated.pairs.length);
      const differences = packets.flatMap((pair, index) => {
        const other = calculated.pairs[index];
        seen.add(pair.verdict);
        return (pair.verdict === "connected") === (other?.verdict === "connected")
          ? []
          : [`${pair.from} → ${pair.to}:${pair.port}: packets ${pair.verdict}, calculated ${other?.verdict} (${other?.cause})`];
      });
      assert.deepEqual(differences, [], `round ${round}:\n${JSON.stringify(policies, null, 1)}`);
      await kubectl("delete", "networkpolicy", "--all", "-n", "red");
      await kubectl("delete", "networkpolicy", "--all", "-n", "green");
      await kubectl("delete", "clusternetworkpolicy", "--all");
      for (const kind of CALICO) await kubectl("delete", `${kind}.projectcalico.org`, "--all", "--all-namespaces");
      assert.ok(await eventually(async () => !(await kubectl("get", "networkpolicy", "-A", "-o", "name")).out.trim()));
    }
    assert.deepEqual([...seen].sort(), ["connected", "timeout"], "both verdicts occurred");
  });
});
