import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createSnapshotBuilder, type ObjectChange } from "../cluster/index.ts";
import type { PodChoice, PolicyNeed } from "../policy/index.ts";
import type { KubeObject, Pod } from "../resources/index.ts";
import { Fanout } from "./fanout.ts";
import { keyOf, readLine } from "./lines.ts";
import { Needs } from "./needs.ts";

const pod = (name: string, node: string | undefined, label: string, version = "1"): Pod =>
  ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "shop", name, labels: { app: label }, resourceVersion: version, annotations: { big: "x" } },
    spec: { ...(node === undefined ? {} : { nodeName: node }), containers: [{ name: "c", image: "large" }] },
    status: { podIP: `10.0.0.${name.length}` },
  }) as unknown as Pod;
const service = (name: string, version = "1"): KubeObject => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { namespace: "shop", name, resourceVersion: version },
});
const choice = (label: string): PodChoice => ({
  key: `app=${label}`,
  namespace: label === "any" ? undefined : "shop",
  holds: (_, { metadata }) => label === "any" || metadata.labels?.app === label,
});
const policy = (subject: string, ...peers: string[]): PolicyNeed => ({
  subject: choice(subject),
  peers: peers.map(choice),
  everywhere: subject === "c",
});

/** A cluster, its relay, and agents that keep what they are told. */
function cluster() {
  const builder = createSnapshotBuilder();
  let policies: readonly PolicyNeed[] = [];
  const fanout = new Fanout(new Needs(() => policies));
  const apply = (changes: readonly ObjectChange[], next = policies) => {
    policies = next;
    builder.apply(changes);
    fanout.apply(changes, builder.snapshot());
  };
  const put = (...objects: readonly KubeObject[]) => apply(objects.map((object) => ({ type: "MODIFIED", object })));
  const agent = (node: string) => {
    const known = new Map<string, KubeObject>();
    const lines: string[] = [];
    const taking = { open: true };
    let complete = false;
    const member = fanout.join(node, {
      write(text) {
        for (const each of text.split("\n").slice(0, -1)) {
          const line = readLine(each);
          assert.ok(line, each);
          lines.push(each);
          if (line.type === "put") known.set(line.key, JSON.parse(line.json));
          else if (line.type === "gone")
            assert.ok(known.delete(line.key) || !line.key.startsWith("v1|Pod"), `gone, and never told: ${line.key}`);
          else if (line.type === "complete") complete = true;
        }
        return taking.open;
      },
    });
    return { node, known, lines, member, taking, isComplete: () => complete };
  };
  return { apply, put, agent, policies: () => policies, snapshot: () => builder.snapshot() };
}

const settled = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
const namesOf = (known: ReadonlyMap<string, KubeObject>, kind = "Pod") =>
  [...known.values()].flatMap((object) => (object.kind === kind ? [object.metadata.name] : [])).sort();

test("an agent is told of its own pods whole, of its policies' peers in short, and of no others", async () => {
  const { put, apply, agent } = cluster();
  put(service("web"), pod("web", "n1", "web"), pod("db", "n2", "db"), pod("x", "n3", "x"));
  const one = agent("n1");
  assert.deepEqual([namesOf(one.known), namesOf(one.known, "Service"), one.isComplete()], [["web"], ["web"], true]);
  apply([], [policy("web", "db")]);
  await settled();
  assert.deepEqual(namesOf(one.known), ["db", "web"]);
  const [db, web] = ["db", "web"].map((name) => one.known.get(`v1|Pod|shop|${name}`) as Pod);
  assert.deepEqual(db?.metadata, { name: "db", namespace: "shop", labels: { app: "db" } });
  assert.equal(web?.metadata.annotations?.big, "x");
  apply([], []);
  await settled();
  assert.deepEqual(namesOf(one.known), ["web"]);
});

test("a pod that changes where no policy looks is told to its own node alone", async () => {
  const { put, apply, agent } = cluster();
  put(pod("web", "n1", "web"), pod("db", "n2", "db"));
  apply([], [policy("web", "db")]);
  const [one, two] = [agent("n1"), agent("n2")];
  const before = [one.lines.length, two.lines.length];
  put(pod("db", "n2", "db", "2"));
  await settled();
  assert.deepEqual([one.lines.length, two.lines.length], [before[0], (before[1] ?? 0) + 1]);
});

test("a node comes to need peers when a pod that the policy selects comes to it, and no longer when it goes", async () => {
  const { put, apply, agent } = cluster();
  put(pod("db", "n2", "db"), pod("web", "n3", "web"));
  apply([], [policy("web", "db"), policy("db", "any")]);
  const one = agent("n1");
  put(pod("web2", "n1", "web"));
  await settled();
  assert.deepEqual(namesOf(one.known), ["db", "web2"]);
  put(pod("web2", "n1", "other"));
  await settled();
  assert.deepEqual(namesOf(one.known), ["web2"]);
  apply([{ type: "DELETED", object: pod("web2", "n1", "other") }]);
  await settled();
  assert.deepEqual(namesOf(one.known), []);
});

test("an agent that takes nothing costs keys, and is told once what is then", async () => {
  const { put, agent } = cluster();
  put(service("a"));
  const slow = agent("n1");
  const quick = agent("n1");
  slow.taking.open = false;
  put(service("b"));
  await settled();
  const told = slow.lines.length;
  for (let version = 2; version <= 100; version++) put(service("a", String(version)), service("b", String(version)));
  await settled();
  assert.equal(slow.lines.length, told);
  assert.equal(slow.member.waiting, 2);
  assert.ok(slow.member.blockedFor() > 0);
  slow.taking.open = true;
  slow.member.drained();
  assert.equal(slow.lines.length, told + 2);
  for (const { known } of [slow, quick]) assert.equal(known.get("v1|Service|shop|a")?.metadata.resourceVersion, "100");
});

test("ConfigMaps of no concern and histories of managers are not passed on", () => {
  const { put, agent } = cluster();
  const map = (namespace: string): KubeObject => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { namespace, name: "c" } });
  put(map("shop"), map("kube-system"), { ...service("a"), metadata: { ...service("a").metadata, managedFields: [1] } as never });
  const { known } = agent("n1");
  assert.deepEqual([...known.keys()].sort(), ["v1|ConfigMap|kube-system|c", "v1|Service|shop|a"]);
  assert.ok(!("managedFields" in (known.get("v1|Service|shop|a")?.metadata ?? {})));
});

const LABELS = ["a", "b", "c"];
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      pod: fc.integer({ min: 0, max: 8 }),
      node: fc.option(fc.integer({ min: 0, max: 3 })),
      label: fc.constantFrom(...LABELS),
      version: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ gone: fc.integer({ min: 0, max: 8 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      policies: fc.array(fc.tuple(fc.constantFrom(...LABELS, "any"), fc.array(fc.constantFrom(...LABELS, "any"), { maxLength: 2 })), {
        maxLength: 4,
      }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ joins: fc.integer({ min: 0, max: 3 }) }) },
);

test("whatever comes in whatever order, every agent knows exactly what its node needs", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(step, { maxLength: 4 }), { maxLength: 12 }), async (turns) => {
      const { apply, agent, policies, snapshot } = cluster();
      const made = new Map<string, PolicyNeed>();
      const agents = [agent("n0")];
      for (const steps of turns) {
        for (const each of steps) {
          if ("pod" in each) {
            const node = each.node === null ? undefined : `n${each.node}`;
            apply([{ type: "MODIFIED", object: pod(`p${each.pod}`, node, each.label, String(each.version)) }]);
          } else if ("gone" in each) {
            const before = snapshot().pods.get(`shop/p${each.gone}`);
            if (before) apply([{ type: "DELETED", object: before }]);
          } else if ("policies" in each) {
            const next = each.policies.map(([subject, peers]) => {
              const name = JSON.stringify([subject, peers]);
              const known = made.get(name) ?? policy(subject, ...peers);
              made.set(name, known);
              return known;
            });
            apply([], [...new Set(next)]);
          } else agents.push(agent(`n${each.joins}`));
        }
        await settled();
        for (const { node, known } of agents) {
          const pods = [...snapshot().pods.values()];
          const own = (each: Pod) => each.spec.nodeName === node;
          const active = policies().filter(
            ({ subject, everywhere }) => everywhere || pods.some((each) => own(each) && subject.holds(snapshot(), each)),
          );
          const needed = pods.filter((each) => own(each) || active.some(({ peers }) => peers.some((peer) => peer.holds(snapshot(), each))));
          assert.deepEqual([...known.keys()].sort(), needed.map(keyOf).sort());
          for (const each of needed) {
            const told = known.get(keyOf(each)) as Pod;
            assert.equal(told.metadata.labels?.app, each.metadata.labels?.app);
            assert.equal(told.metadata.resourceVersion, own(each) ? each.metadata.resourceVersion : undefined);
          }
        }
      }
    }),
    { numRuns: 300 },
  );
});

test("lines read back, and no text ends the reader", () => {
  assert.deepEqual(readLine("+ v1|Pod|a|b d {}"), { type: "put", key: "v1|Pod|a|b", digest: "d", json: "{}" });
  assert.deepEqual(readLine("- v1|Node||n"), { type: "gone", key: "v1|Node||n" });
  assert.deepEqual(
    ["=", ".", ">"].map((text) => readLine(text)?.type),
    ["complete", "alive", "move"],
  );
  for (const text of ["", "+", "+ x", "+ a b c", "- a", "x"]) assert.equal(readLine(text), undefined);
  fc.assert(
    fc.property(fc.string(), (text) => {
      readLine(text);
    }),
  );
});
