// Real packets to Services of two real nodes: what README.md promises, seen on the wire.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type Answer, type Place, podAddress, ServiceNetwork } from "../../test/service-network.ts";
import { service, slice } from "../../test/service-objects.ts";

const skip = process.getuid?.() !== 0;
const points = {
  a: { address: podAddress("a"), node: "node-1" },
  b: { address: podAddress("b"), node: "node-1" },
  c: { address: podAddress("c"), node: "node-2" },
};
const all = Object.values(points);
const port = (number: number, nodePort?: number) => [{ port: number, ...(nodePort === undefined ? {} : { nodePort }) }];
const OBJECTS = [
  service("web", { type: "LoadBalancer", clusterIP: "10.96.0.80", clusterIPs: ["10.96.0.80", "fd00:10:96::80"], ports: port(80, 30080) }, [
    "203.0.113.80",
  ]),
  slice("web", { endpoints: all, port: 8080 }),
  slice("web", { endpoints: (["a", "b", "c"] as const).map((pod) => ({ address: podAddress(pod, 6) })), port: 8080, family: 6 }),
  service("local", { type: "LoadBalancer", clusterIP: "10.96.0.82", externalTrafficPolicy: "Local", ports: port(80, 30082) }, [
    "203.0.113.82",
  ]),
  slice("local", { endpoints: [points.a, points.c], port: 8080 }),
  service(
    "guarded",
    { type: "LoadBalancer", clusterIP: "10.96.0.86", loadBalancerSourceRanges: ["10.244.0.0/16"], ports: port(80, 30086) },
    ["203.0.113.86"],
  ),
  slice("guarded", { endpoints: [points.a], port: 8080 }),
  service("away", { type: "NodePort", clusterIP: "10.96.0.83", externalTrafficPolicy: "Local", ports: port(80, 30083) }),
  slice("away", { endpoints: [points.c], port: 8080 }),
  service("empty", { type: "NodePort", clusterIP: "10.96.0.84", ports: port(80, 30084) }),
  service("ask", { clusterIP: "10.96.0.85", ports: [{ port: 53, protocol: "UDP" }] }),
  slice("ask", { endpoints: all, port: 5353, protocol: "UDP" }),
];

let net: ServiceNetwork;
before(() => {
  if (skip) return;
  net = new ServiceNetwork();
  net.set(OBJECTS);
});
after(() => net?.close());

async function many(times: number, attempt: () => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = [];
  while (answers.length < times)
    answers.push(...(await Promise.all(Array.from({ length: Math.min(20, times - answers.length) }, attempt))));
  return answers;
}
const podsOf = (answers: readonly Answer[]) => [...new Set(answers.map(({ pod }) => pod))].sort();
const seenBy = (answers: readonly Answer[], pod: string) => [
  ...new Set(answers.filter((answer) => answer.pod === pod).map(({ seen }) => seen)),
];

test("connections spread over the end points; pods see the client, and a pod that reaches itself sees its gateway", { skip }, async () => {
  const answers = await many(300, () => net.connect("a", "10.96.0.80", 80));
  for (const pod of ["a", "b", "c"]) {
    const share = answers.filter((answer) => answer.pod === pod).length;
    assert.ok(share > 40 && share < 180, `${pod} had ${share} of 300`);
  }
  assert.deepEqual(seenBy(answers, "b"), [podAddress("a")]);
  assert.deepEqual(seenBy(answers, "c"), [podAddress("a")]);
  assert.deepEqual(seenBy(answers, "a"), ["10.244.1.1"]);
});

const REACHES: readonly {
  readonly from: Place;
  readonly to: string;
  readonly port: number;
  readonly pods: string;
  readonly seen?: Readonly<Record<string, string>>;
}[] = [
  // From outside: the node's address is seen, and every end point serves.
  { from: "client", to: "10.96.0.80", port: 80, pods: "a b c", seen: { a: "10.244.1.1", c: "10.244.1.0" } },
  { from: "client", to: "203.0.113.80", port: 80, pods: "a b c", seen: { a: "10.244.1.1", c: "10.244.1.0" } },
  { from: "client", to: "10.112.0.51", port: 30080, pods: "a b c", seen: { a: "10.244.1.1", c: "10.244.1.0" } },
  { from: "node-1", to: "10.96.0.80", port: 80, pods: "a b c" },
  { from: "node-1", to: "10.112.0.51", port: 30080, pods: "a b c" },
  // Local: outsiders get the node's own end point, which sees them.
  { from: "client", to: "203.0.113.82", port: 80, pods: "a", seen: { a: "10.112.0.1" } },
  { from: "client", to: "10.112.0.51", port: 30082, pods: "a", seen: { a: "10.112.0.1" } },
  // Local: pods and the node itself get every end point.
  { from: "b", to: "203.0.113.82", port: 80, pods: "a c", seen: { a: podAddress("b"), c: podAddress("b") } },
  { from: "b", to: "10.112.0.51", port: 30082, pods: "a c", seen: { a: podAddress("b") } },
  { from: "node-1", to: "203.0.113.82", port: 80, pods: "a c" },
  { from: "node-1", to: "10.112.0.51", port: 30082, pods: "a c" },
  { from: "b", to: "10.112.0.51", port: 30083, pods: "c", seen: { c: podAddress("b") } },
  // Source ranges are about the load balancer's address alone.
  { from: "b", to: "203.0.113.86", port: 80, pods: "a" },
  { from: "client", to: "10.96.0.86", port: 80, pods: "a" },
  { from: "client", to: "10.112.0.51", port: 30086, pods: "a" },
  // IPv6
  { from: "b", to: "fd00:10:96::80", port: 80, pods: "a b c", seen: { a: podAddress("b", 6) } },
  { from: "client", to: "fd00:10:96::80", port: 80, pods: "a b c", seen: { a: "fd00:10:244:1::1" } },
  { from: "client", to: "fd00:112::51", port: 30080, pods: "a b c" },
];

for (const { from, to, port: number, pods, seen } of REACHES)
  test(`${from} reaches ${to} port ${number}: ${pods}`, { skip }, async () => {
    const answers = await many(60, () => net.connect(from, to, number));
    assert.deepEqual(podsOf(answers), pods.split(" "));
    for (const [pod, address] of Object.entries(seen ?? {})) assert.deepEqual(seenBy(answers, pod), [address]);
  });

const REFUSED: readonly [Place, string, number, Answer["verdict"]][] = [
  ["a", "10.96.0.84", 80, "refused"],
  ["node-1", "10.96.0.84", 80, "refused"],
  ["client", "10.96.0.84", 80, "refused"],
  ["client", "10.112.0.51", 30084, "refused"],
  ["a", "10.96.0.80", 81, "refused"],
  ["client", "10.112.0.51", 30083, "timeout"],
  ["client", "203.0.113.86", 80, "timeout"],
];

for (const [from, to, number, verdict] of REFUSED)
  test(`${from} to ${to} port ${number}: ${verdict}`, { skip }, async () => {
    assert.deepEqual(await net.connect(from, to, number, verdict === "timeout" ? 400 : undefined), { verdict });
  });

test("UDP is balanced too", { skip }, async () => {
  assert.deepEqual(podsOf(await many(60, () => net.ask("d", "10.96.0.85", 53))), ["a", "b", "c"]);
});

test("the tunnel's outer packets keep their source port", { skip }, async () => {
  await many(60, () => net.connect("client", "10.112.0.51", 30080));
  const outer = net.at("node-1").conntrack.list({ protocol: 17, destination: "10.112.0.52", destinationPort: 8472 });
  assert.ok(outer.length > 0, "nothing went through the tunnel");
  for (const flow of outer) assert.deepEqual([flow.replyDestination, flow.replyDestinationPort], [flow.source, flow.sourcePort]);
});

test("affinity: a client keeps its end point when others come and go, and moves only when its own is gone", { skip }, async () => {
  const address = "10.96.0.90";
  const clients = Array.from({ length: 8 }, (_, index) => `10.112.0.${100 + index}`);
  const set = (...endpoints: (typeof points.a)[]) =>
    net.set([
      service("sticky", { clusterIP: address, sessionAffinity: "ClientIP", ports: port(80) }),
      slice("sticky", { endpoints, port: 8080 }),
    ]);
  const ask = async (together = true) => {
    const pods: (string | undefined)[] = [];
    for (const client of clients) {
      net.sendFrom(client, address);
      // Who moves does so with its first connection; new clients choose with several at once.
      const alone = together ? [] : [await net.connect("client", address, 80)];
      const [first, ...others] = [...alone, ...(await many(4, () => net.connect("client", address, 80)))];
      for (const other of others) assert.equal(other.pod, first?.pod, `${client} has two end points`);
      pods.push(first?.pod);
    }
    return pods;
  };
  try {
    set(points.a, points.b);
    const first = await ask();
    set(points.a, points.b, points.c);
    assert.deepEqual(await ask(), first, "an end point came");
    const gone = first[0] === "a" ? points.a : points.b;
    set(...all.filter((point) => point !== gone));
    const moved = await ask(false);
    for (const [index, pod] of moved.entries()) {
      if (first[index] === first[0]) assert.notEqual(pod, first[0], "an end point that is gone was used");
      else assert.equal(pod, first[index], "a client moved for nothing");
    }
    set(...all);
    assert.deepEqual(await ask(), moved, "an end point came back");
    assert.equal(net.drifts(), 0, "the kernel gives back what was written");
    assert.deepEqual(await ask(), moved, "reading it back cost a client its end point");
  } finally {
    net.set(OBJECTS);
  }
});

test("affinity is for each client address by family and ends with its timeout", { skip }, async () => {
  const address = "fd00:10:96::90";
  const endpoints = (["a", "b", "c"] as const).map((pod) => ({ address: podAddress(pod, 6) }));
  net.set([
    service("brief", {
      clusterIP: address,
      sessionAffinity: "ClientIP",
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 1 } },
      ports: port(80),
    }),
    slice("brief", { endpoints, port: 8080, family: 6 }),
  ]);
  try {
    const chosen = new Set<string | undefined>();
    // Each round chooses anew: that all of 12 choose the same of 3 has a chance of 1 in 177,147; it stops at the second.
    let kept = 0;
    for (let round = 0; round < 12 && (chosen.size < 2 || kept === 0); round++) {
      const begun = performance.now();
      const answers = await many(5, () => net.connect("b", address, 80));
      // On a machine that stood still meanwhile, it may have ended already.
      if (performance.now() - begun < 900) {
        assert.equal(podsOf(answers).length, 1);
        kept++;
      }
      chosen.add(answers[0]?.pod);
      await new Promise((resolve) => setTimeout(resolve, 1300));
    }
    assert.equal(chosen.size, 2);
    assert.ok(kept > 0, "no round was quick enough");
  } finally {
    net.set(OBJECTS);
  }
});
