// The shape of a rack: nodes speak BGP with FRR in the fabric's router instead of with each other, announce Services, and BFD watches.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { eventually, makePlace, type Place } from "./fairlead.ts";

const BIN = join(import.meta.dirname, "../bin/fairlead");
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
  let directory: string;
  const children: ChildProcess[] = [];
  const onRouter = (...command: string[]) => place.ok("lab", "node", "router", "--", ...command);
  const probe = (from: string, to: string) => place.json<{ verdict: string; server: string; sourceSeen: string }>("probe", from, to);
  const routes = async () => (await onRouter("ip", "route")).replaceAll("\n\t", " ");
  const status = () => place.json<Status>("bgp", "status");

  /** FRR runs as a user of its own, which must reach its files. */
  function startFrr(program: string, config: string, ...more: string[]): void {
    const files = ["-i", join(directory, `${program}.pid`), "-z", join(directory, "zserv.api"), "--vty_socket", directory];
    const words = ["lab", "node", "router", "--", `/usr/lib/frr/${program}`, "-f", config, ...files, "-P", "0", "--log", "stdout", ...more];
    children.push(spawn(BIN, words, { env: { ...process.env, FAIRLEAD_STATE: place.directory }, stdio: "ignore" }));
  }

  before(async () => {
    place = makePlace();
    chmodSync(place.directory, 0o711);
    directory = join(place.directory, "frr");
    mkdirSync(directory);
    chmodSync(directory, 0o777);
    await place.ok("lab", "up", `${EXAMPLE}.yaml`, "--nodes", "3");
    startFrr("zebra", "/dev/null");
    await eventually(async () => existsSync(join(directory, "zserv.api")), 10_000);
    startFrr("bfdd", "/dev/null", "--bfdctl", join(directory, "bfdd.sock"));
    startFrr("bgpd", `${EXAMPLE}.frr`);
    const ready = async () => {
      const { nodes } = await status();
      return nodes.every(
        ({ neighbours }) => neighbours.length === 1 && neighbours.every(({ state, bfd }) => state === "Established" && bfd === "Up"),
      );
    };
    assert.ok(await eventually(ready, 40_000), (await place.fairlead("bgp", "status")).out);
  });
  after(async () => {
    for (const program of ["bgpd", "bfdd", "zebra"]) {
      const file = join(directory, `${program}.pid`);
      if (existsSync(file)) process.kill(Number(readFileSync(file, "utf8")));
    }
    for (const child of children) child.kill();
    await place.close();
  });

  test("a Service's range goes by every node, one of policy Local by the nodes that have its pods", async () => {
    const hop = (node: number) => ` nexthop via 10\\.112\\.0\\.5${node} \\S+ \\S+ weight 1 `;
    const ecmp = new RegExp(`203\\.0\\.113\\.0/24 .*${hop(1)}.*${hop(2)}.*${hop(3)}`, "m");
    assert.ok(await eventually(async () => ecmp.test(`${await routes()} `), 10_000), await routes());
    assert.match(await routes(), /^203\.0\.113\.8 .*via 10\.112\.0\.52 /m);
    assert.match(await routes(), /^10\.96\.0\.0\/12 .*10\.112\.0\.51.*10\.112\.0\.52.*10\.112\.0\.53/m);
  });

  test("from outside, both Services answer; the one of policy Local sees who asks", async () => {
    assert.equal((await probe("outside", "203.0.113.7:80")).verdict, "connected");
    const local = await probe("outside", "203.0.113.8:80");
    assert.deepEqual([local.verdict, local.server, local.sourceSeen], ["connected", "shop/local-2", "198.51.100.10"]);
  });

  test("nodes hear of each other's pods by the router; communities are on what is announced", async () => {
    assert.equal((await probe("shop/web-1", "shop/local-2:80")).verdict, "connected");
    assert.match(await place.ok("lab", "node", "node-1", "--", "ip", "route"), /10\.244\.1\.0\/26 via 10\.112\.0\.5?[12] /);
    assert.doesNotMatch(await place.ok("lab", "node", "node-1", "--", "ip", "route"), /203\.0\.113/);
    const shown = (await place.run("vtysh", ["--vty_socket", directory, "-d", "bgpd", "-c", "show bgp ipv4 unicast 203.0.113.0/24"])).out;
    assert.match(shown, /Community: 64512:100/);
  });

  test("a node that fails is noticed by BFD, long before the hold time, and its routes go", async (t) => {
    const started = performance.now();
    await place.ok("lab", "node", "node-3", "--", "ip", "link", "set", "ens160", "down");
    assert.ok(await eventually(async () => !(await routes()).includes("10.112.0.53"), 8000), await routes());
    t.diagnostic(`gone within ${Math.round(performance.now() - started)} ms, the commands' own time included`);
    const reset = await place.run("vtysh", ["--vty_socket", directory, "-d", "bgpd", "-c", "show bgp neighbors 10.112.0.53"]);
    assert.match(reset.out, /BFD/);
    assert.match(reset.out, /Last reset .*BFD Down/);
    assert.equal((await probe("outside", "203.0.113.7:80")).verdict, "connected");
    const lost = async () => (await status()).nodes.find(({ node }) => node === "node-3")?.neighbours[0]?.why?.cause;
    assert.ok(await eventually(async () => ["no-route", "bfd", "no-host"].includes((await lost()) ?? ""), 5000), String(await lost()));
  });
});
