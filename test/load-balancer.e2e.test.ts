// Load balancers' addresses on a lab's fabric: given, announced by one node, reached from outside, taken over when that node is cut off, given back.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { ProbeResult } from "../src/lab/index.ts";
import type { ServiceView } from "../src/services/index.ts";
import { makePlace } from "./fairlead.ts";
import { eventually } from "./patience.ts";

const place = makePlace();
const service = (name: string, spec: object = {}) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace: "default" },
  spec: {
    type: "LoadBalancer",
    ipFamilyPolicy: "PreferDualStack",
    selector: { app: "web" },
    ports: [{ port: 80, targetPort: 8080 }],
    ...spec,
  },
});
const web = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", namespace: "default" },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: "web" } },
    template: {
      metadata: { labels: { app: "web" } },
      spec: { containers: [{ name: "web", image: "web", ports: [{ containerPort: 8080 }] }] },
    },
  },
};
const NODES = ["node-1", "node-2", "node-3"];
const NETWORKS = ["--pod-cidr", "10.244.0.0/16,fd00:10:244::/48", "--service-cidr", "10.96.0.0/16,fd00:10:96::/112"];

function write(name: string, items: readonly object[]): string {
  const file = join(place.directory, `${name}.json`);
  writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  return file;
}

async function addressesOf(name: string): Promise<string[]> {
  const { services } = await place.json<{ services: ServiceView[] }>("services", `default/${name}`);
  return (services[0]?.ports ?? []).flatMap(({ addresses }) => addresses.slice(1));
}

/** Nodes on whose outer link an address stands. */
async function holders(address: string): Promise<string[]> {
  const held = await Promise.all(
    NODES.map(async (node) => (await place.fairlead("lab", "node", node, "--", "ip", "-br", "address", "show", "dev", "ens160")).out),
  );
  return NODES.filter((_, index) => held[index]?.includes(`${address}/`));
}

/** Nothing goes in or out. A link that is set down would lose its routes, too, which nobody gives back. */
const CUT =
  "table netdev cut { " +
  ["ingress", "egress"].map((hook) => `chain ${hook} { type filter hook ${hook} device ens160 priority -500; policy drop; };`).join(" ") +
  " }";

const ask = (to: string) => place.json<ProbeResult>("probe", "outside", to.includes(":") ? `[${to}]:80` : `${to}:80`);

describe("a lab with load balancers", () => {
  before(() =>
    place.ok("lab", "up", write("web", [web, service("web"), service("local", { externalTrafficPolicy: "Local" })]), ...NETWORKS),
  );
  after(() => place.close());

  test("the outside client reaches both families' addresses; one node announces each", async () => {
    const addresses = await addressesOf("web");
    assert.equal(addresses.length, 2, "one of each family");
    for (const address of addresses) {
      const answer = await ask(address);
      assert.equal(answer.verdict, "connected", `${address}: ${JSON.stringify(answer)}`);
      assert.equal((await holders(address)).length, 1, `${address} stands on one node`);
    }
  });

  test("Local: a node with an end point announces it, and the pod sees the client", async () => {
    const [address = ""] = await addressesOf("local");
    const answer = await ask(address);
    assert.equal(answer.verdict, "connected");
    assert.equal(answer.sourceSeen, "198.51.100.10");
    const [holder] = await holders(address);
    const { services } = await place.json<{ services: ServiceView[] }>("services", "default/local");
    assert.ok(
      services[0]?.ports[0]?.endpoints.some(({ node }) => node === holder),
      `${holder} has no end point`,
    );
  });

  test("a node that is cut off loses its addresses to another, and gets them back", async (t) => {
    const [address = ""] = await addressesOf("web");
    const [first = ""] = await holders(address);
    await place.ok("lab", "node", first, "--", "nft", CUT);
    const cut = performance.now();
    const others = async () => (await holders(address)).filter((node) => node !== first);
    assert.ok(await eventually(async () => (await others()).length === 1), "nobody took it over");
    t.diagnostic(`taken over and seen within ${Math.round(performance.now() - cut)} ms`);
    assert.ok(await eventually(async () => (await ask(address)).verdict === "connected"), "the router did not hear of it");
    await place.ok("lab", "node", first, "--", "nft", "delete table netdev cut");
    assert.ok(await eventually(async () => (await holders(address)).join() === first), "it did not come back");
    assert.ok(await eventually(async () => (await ask(address)).verdict === "connected"));
  });

  test("an address that is given back goes from the node, and to the next Service", async () => {
    const [address = ""] = await addressesOf("web");
    await place.ok("lab", "up", write("plain", [service("web", { type: "ClusterIP" })]));
    assert.ok(await eventually(async () => (await holders(address)).length === 0), "it still stands on a node");
    await place.ok("lab", "up", write("next", [service("next")]));
    assert.ok((await addressesOf("next")).includes(address));
    assert.ok(await eventually(async () => (await ask(address)).verdict === "connected"));
  });

  test("an address that can't be had is told in `services`", async () => {
    await place.ok("lab", "up", write("greedy", [service("greedy", { loadBalancerIP: "192.0.2.1" })]));
    const { services } = await place.json<{ services: ServiceView[] }>("services", "default/greedy");
    assert.match(services[0]?.remarks.join() ?? "", /192\.0\.2\.1, which it asks for, is in none of the load balancers' pools/);
  });
});
