// The shape of a rack: nodes speak BGP with FRR in the fabric's router instead of with each other, announce Services, and BFD watches.
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { makePlace, type Place } from "./fairlead.ts";
import { type FrrRouter, makeFrrRouter } from "./frr-router.ts";
import { eventually, until } from "./patience.ts";

const EXAMPLE = join(import.meta.dirname, "../examples/bgp/top-of-rack");
const skip = existsSync("/usr/lib/frr/bfdd") ? false : "NOT RUN: FRR is missing (apt-get install frr)";

interface Status {
  readonly nodes: readonly {
    readonly node: string;
    readonly neighbours: readonly {
      readonly state: string;
      readonly bfd: string | null;
      readonly why: { readonly cause: string } | null;
    }[];
  }[];
}

describe("nodes and a router of the rack", { skip, concurrency: false }, () => {
  let place: Place;
  let frr: FrrRouter;
  const onRouter = (...command: string[]) => place.ok("lab", "node", "router", "--", ...command);
  const probe = (from: string, to: string) => place.json<{ verdict: string; server: string; sourceSeen: string }>("probe", from, to);
  const connects = async (from: string, to: string) => (await probe(from, to)).verdict === "connected";
  const routes = async () => (await onRouter("ip", "route")).replaceAll("\n\t", " ");
  const status = () => place.json<Status>("bgp", "status");

  before(async () => {
    place = makePlace();
    frr = makeFrrRouter(place);
    await place.ok("lab", "up", `${EXAMPLE}.yaml`, "--nodes", "3");
    await frr.start("zebra");
    await frr.start("bfdd");
    await frr.start("bgpd", readFileSync(`${EXAMPLE}.frr`, "utf8"));
    const ready = async () => {
      const { nodes } = await status();
      return nodes.every(
        ({ neighbours }) => neighbours.length === 1 && neighbours.every(({ state, bfd }) => state === "Established" && bfd === "Up"),
      );
    };
    assert.ok(await eventually(ready), (await place.fairlead("bgp", "status")).out);
  });
  after(async () => {
    frr.close();
    await place.close();
  });

  test("a Service's range goes by every node, one of policy Local by the nodes that have its pods", async () => {
    const hop = (node: number) => ` nexthop via 10\\.112\\.0\\.5${node} \\S+ \\S+ weight 1 `;
    const ecmp = new RegExp(`203\\.0\\.113\\.0/24 .*${hop(1)}.*${hop(2)}.*${hop(3)}`, "m");
    const expected = [
      ecmp,
      /^203\.0\.113\.8 .*via 10\.112\.0\.52 /m,
      /^10\.96\.0\.0\/12 .*10\.112\.0\.51.*10\.112\.0\.52.*10\.112\.0\.53/m,
    ];
    // All at one time: a session that BFD has ended on a busy machine takes its routes with it until it is back.
    let seen = "";
    await until(
      async () => {
        seen = `${await routes()} `;
        return expected.every((each) => each.test(seen));
      },
      () => seen,
    );
  });

  test("from outside, both Services answer; the one of policy Local sees who asks", async () => {
    await until(() => connects("outside", "203.0.113.7:80"), "the Service of policy Cluster");
    await until(async () => {
      const local = await probe("outside", "203.0.113.8:80");
      if (local.verdict !== "connected") return false;
      assert.deepEqual([local.server, local.sourceSeen], ["shop/local-2", "198.51.100.10"]);
      return true;
    }, "the Service of policy Local");
  });

  test("nodes hear of each other's pods by the router; communities are on what is announced", async () => {
    await until(() => connects("shop/web-1", "shop/local-2:80"));
    const blocks = /10\.244\.1\.0\/26 via 10\.112\.0\.5?[12] /;
    await until(async () => blocks.test(await place.ok("lab", "node", "node-1", "--", "ip", "route")));
    assert.doesNotMatch(await place.ok("lab", "node", "node-1", "--", "ip", "route"), /203\.0\.113/);
    await until(async () => /Community: 64512:100/.test(await frr.ask("show bgp ipv4 unicast 203.0.113.0/24")), "the community");
  });

  test("a node that fails is noticed by BFD, long before the hold time, and its routes go", async (t) => {
    const started = performance.now();
    await place.ok("lab", "node", "node-3", "--", "ip", "link", "set", "ens160", "down");
    assert.ok(await eventually(async () => !(await routes()).includes("10.112.0.53")), await routes());
    t.diagnostic(`gone within ${Math.round(performance.now() - started)} ms, the commands' own time included`);
    const reset = await frr.ask("show bgp neighbors 10.112.0.53");
    assert.match(reset, /BFD/);
    assert.match(reset, /Last reset .*BFD Down/);
    await until(() => connects("outside", "203.0.113.7:80"));
    const lost = async () => (await status()).nodes.find(({ node }) => node === "node-3")?.neighbours[0]?.why?.cause;
    assert.ok(await eventually(async () => ["no-route", "bfd", "no-host"].includes((await lost()) ?? "")), String(await lost()));
  });
});

const RESTARTING = `frr defaults datacenter
router bgp 64999
 bgp router-id 10.112.0.1
 no bgp ebgp-requires-policy
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 neighbor 10.112.0.51 remote-as 64512
 neighbor 10.112.0.52 remote-as 64512
 address-family ipv4 unicast
  neighbor 10.112.0.51 activate
  neighbor 10.112.0.52 activate
 exit-address-family
`;

describe("graceful restart of either side, with packets on the way", { skip, concurrency: false }, () => {
  let place: Place;
  let frr: FrrRouter;
  let target: string;
  const up = async () => {
    const { nodes } = await place.json<Status>("bgp", "status");
    return nodes.every(({ neighbours }) => neighbours.length === 1 && neighbours.every(({ state }) => state === "Established"));
  };
  const ping = (...from: string[]) => place.fairlead(...from, "--", "ping", "-i", "0.02", "-c", "200", "-W", "1", target);
  const agentOf = async (name: string) =>
    (await place.json<{ nodes: readonly { name: string; agentPid: number }[] }>("lab", "status")).nodes.find((node) => node.name === name)
      ?.agentPid ?? 0;

  before(async () => {
    place = makePlace();
    frr = makeFrrRouter(place);
    const manifest = join(place.directory, "rack.yaml");
    writeFileSync(manifest, readFileSync(`${EXAMPLE}.yaml`, "utf8").replace("  failureDetectionMode: BFDIfDirectlyConnected\n", ""));
    await place.ok("lab", "up", manifest, "--nodes", "2", "--agents", "processes");
    await frr.start("zebra");
    await frr.start("bgpd", RESTARTING);
    assert.ok(await eventually(up), (await place.fairlead("bgp", "status")).out);
    const { pods } = await place.json<{ pods: readonly { name: string; address: string }[] }>("lab", "status");
    target = pods.find(({ name }) => name === "local-2")?.address ?? "";
    assert.ok(
      await eventually(async () => (await place.fairlead("lab", "node", "outside", "--", "ping", "-c1", "-W1", target)).status === 0),
    );
  });
  after(async () => {
    frr.close();
    await place.close();
  });

  test("our agent is killed: FRR goes on sending to its node", async () => {
    const first = await agentOf("node-2");
    const [pinged] = await Promise.all([
      ping("lab", "node", "outside"),
      new Promise((resolve) => setTimeout(resolve, 500)).then(() => process.kill(first, "SIGKILL")),
    ]);
    assert.match(pinged.out, /200 packets transmitted, 200 received/);
    assert.ok(await eventually(async () => (await agentOf("node-2")) !== first && (await up())));
  });

  test("FRR is killed and comes back: our nodes go on sending by what it told them", async () => {
    const pinging = ping("exec", "shop/web-1");
    await new Promise((resolve) => setTimeout(resolve, 500));
    frr.kill("bgpd");
    assert.ok(await eventually(async () => !(await up())));
    await frr.start("bgpd", RESTARTING);
    assert.match((await pinging).out, /200 packets transmitted, 200 received/);
    assert.ok(await eventually(up), (await place.fairlead("bgp", "status")).out);
    for (const from of [
      ["lab", "node", "outside"],
      ["exec", "shop/web-1"],
    ]) {
      const answered = async () => (await place.fairlead(...from, "--", "ping", "-c1", "-W1", target)).status === 0;
      assert.ok(await eventually(answered), from.join(" "));
    }
  });
});
