// A real agent, driven through the CNI executable as a container runtime does, in namespaces of the test's own.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type CniAnswer, callCni } from "../../test/cni-call.ts";
import { until } from "../../test/patience.ts";
import { sourceFromObjects } from "../cluster/index.ts";
import { hostLinkName } from "../datapath/overlay/index.ts";
import { createLinuxKernel, type NetworkNamespace, ROUTE_PROTOCOL } from "../kernel/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { type Agent, startAgent } from "./index.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
execFileSync("sh", [join(ROOT, "scripts/build-native.sh")]);
const EXECUTABLE = join(ROOT, ".build/fairlead-cni");
const kernel = createLinuxKernel();

const object = (kind: string, name: string, rest: object, namespace?: string): KubeObject =>
  ({ apiVersion: "v1", kind, metadata: { name, ...(namespace ? { namespace } : {}) }, ...rest }) as KubeObject;
const pod = (name: string) => object("Pod", name, { spec: { nodeName: "node-1", containers: [] }, status: {} }, "default");

interface Rig {
  readonly node: NetworkNamespace;
  readonly agent: Agent;
  readonly log: readonly string[];
  readonly directory: string;
  pod(): NetworkNamespace;
  call(command: string, id: string, place?: NetworkNamespace, more?: { config?: object; env?: Record<string, string> }): Promise<CniAnswer>;
  restart(): Promise<void>;
}

/** A node in a namespace of its own, an agent over it, and pods' namespaces; all gone after the test. */
async function raise(t: TestContext, cidrs: readonly string[]): Promise<Rig> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-cni-"));
  const node = kernel.createNamespace();
  const wire = kernel.createNamespace();
  const pods: NetworkNamespace[] = [];
  node.addVethPair({ name: "eth0", up: true }, { name: "wire", namespace: wire, up: true });
  node.apply({ op: "add", address: { link: "eth0", address: "10.112.0.51/24" } });
  const objects = [
    object("Node", "node-1", { spec: { podCIDRs: cidrs }, status: { addresses: [{ type: "InternalIP", address: "10.112.0.51" }] } }),
    object("Namespace", "default", {}),
    ...["web-1", "web-2"].map(pod),
  ];
  const log: string[] = [];
  const socket = join(directory, "cni.sock");
  const start = () =>
    startAgent({
      node: "node-1",
      kernel,
      namespace: node,
      source: sourceFromObjects(objects),
      stateDirectory: join(directory, "agent"),
      cniSocket: socket,
      annotate: () => {},
      log: (line) => log.push(line),
    });
  let agent = await start();
  t.after(async () => {
    await agent.close();
    for (const namespace of [...pods, wire, node]) namespace.close();
    rmSync(directory, { recursive: true });
  });
  return {
    node,
    log,
    directory,
    get agent() {
      return agent;
    },
    pod() {
      const namespace = kernel.createNamespace();
      pods.push(namespace);
      return namespace;
    },
    async restart() {
      await agent.close();
      agent = await start();
    },
    call: (command, id, place, { config = {}, env = {} } = {}) =>
      callCni(
        [EXECUTABLE],
        {
          FAIRLEAD_CNI_SOCKET: socket,
          CNI_COMMAND: command,
          CNI_PATH: "/nowhere",
          ...(id === "" ? {} : { CNI_CONTAINERID: id, CNI_IFNAME: "eth0" }),
          ...(place ? { CNI_NETNS: place.path } : {}),
          ...env,
        },
        { cniVersion: "1.1.0", name: "fairlead", type: "fairlead", ...config },
      ),
  };
}

const asPod = (name: string) => ({ env: { CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name}` } });

function succeeded(answer: CniAnswer): CniAnswer["json"] {
  assert.equal(answer.status, 0, answer.text);
  return answer.json;
}

function refused(answer: CniAnswer, code: number, words: RegExp): void {
  assert.notEqual(answer.status, 0, answer.text);
  assert.equal(answer.json.code, code, answer.text);
  assert.match(`${answer.json.msg} ${answer.json.details ?? ""}`, words);
}

const linkOf = (namespace: NetworkNamespace, name: string) => namespace.listLinks().find((link) => link.name === name);
const addressesOf = (namespace: NetworkNamespace, link: string) =>
  namespace
    .listAddresses()
    .filter((address) => address.link === link && !address.address.startsWith("fe80"))
    .map((address) => address.address)
    .sort();
const ranges = (rig: Rig) => rig.agent.status.ranges.map((range) => range.used);

test("a pod's life: ADD wires both families, a second ADD is refused, CHECK, DEL, DEL again", async (t) => {
  const rig = await raise(t, ["10.244.1.0/24", "fd00:10:244:1::/64"]);
  const place = rig.pod();
  const result = succeeded(await rig.call("ADD", "c1", place, asPod("web-1")));
  const host = hostLinkName("c1", "eth0");
  const inside = linkOf(place, "eth0");
  assert.deepEqual(result, {
    cniVersion: "1.1.0",
    interfaces: [
      { name: "cni0", mac: linkOf(rig.node, "cni0")?.mac, mtu: 1450 },
      { name: host, mac: linkOf(rig.node, host)?.mac, mtu: 1450 },
      { name: "eth0", mac: inside?.mac, mtu: 1450, sandbox: place.path },
    ],
    ips: [
      { address: "10.244.1.2/24", gateway: "10.244.1.1", interface: 2 },
      { address: "fd00:10:244:1::2/64", gateway: "fd00:10:244:1::1", interface: 2 },
    ],
    routes: [
      { dst: "0.0.0.0/0", gw: "10.244.1.1" },
      { dst: "::/0", gw: "fd00:10:244:1::1" },
    ],
  });
  assert.equal(inside?.up, true);
  assert.deepEqual(addressesOf(place, "eth0"), ["10.244.1.2/24", "fd00:10:244:1::2/64"]);
  const ways = place.listRoutes().filter((route) => route.destination === "0.0.0.0/0" || route.destination === "::/0");
  assert.deepEqual(ways.map((route) => route.nexthops[0]?.via).sort(), ["10.244.1.1", "fd00:10:244:1::1"]);
  const port = linkOf(rig.node, host);
  assert.deepEqual([port?.master, port?.hairpin, port?.up], ["cni0", true, true]);
  place.run(() => execFileSync("ping", ["-c1", "-w20", "10.244.1.1"]));

  refused(await rig.call("ADD", "c1", place, asPod("web-1")), 4, /CNI_CONTAINERID c1 has CNI_IFNAME eth0 already/);
  refused(await rig.call("ADD", "c2", place, asPod("web-2")), 4, /CNI_IFNAME "eth0" exists already/);
  assert.deepEqual(ranges(rig), [1, 1], "what a refused ADD took is given back");
  assert.equal(linkOf(rig.node, hostLinkName("c2", "eth0")), undefined);
  succeeded(await rig.call("CHECK", "c1", place, { config: { prevResult: result } }));
  refused(await rig.call("CHECK", "c9", place, { config: { prevResult: result } }), 3, /no eth0 here/);

  succeeded(await rig.call("DEL", "c1", place, { config: { prevResult: result } }));
  assert.equal(linkOf(rig.node, host), undefined);
  assert.equal(linkOf(place, "eth0"), undefined);
  assert.deepEqual(ranges(rig), [0, 0]);
  for (const id of ["c1", "never-seen"]) succeeded(await rig.call("DEL", id));
  assert.deepEqual(readdirSync(join(rig.directory, "agent/attachments")), []);
  assert.deepEqual(rig.log, []);
});

test("CHECK finds damage; what the agent can mend, it mends; links and addresses of others in the pod are left alone", async (t) => {
  const rig = await raise(t, ["10.244.1.0/24"]);
  const place = rig.pod();
  const result = succeeded(await rig.call("ADD", "c1", place, asPod("web-1")));
  const check = (prevResult: object) => rig.call("CHECK", "c1", place, { config: { prevResult } });
  place.apply({ op: "add", link: { name: "docker0", kind: { type: "bridge" } } });
  place.apply({ op: "add", address: { link: "eth0", address: "192.0.2.7/32" } });
  place.apply({ op: "delete", address: { link: "eth0", address: "10.244.1.2/24" } });
  await until(() => addressesOf(place, "eth0").includes("10.244.1.2/24"), "the address comes back");
  await until(() => place.listRoutes().some((route) => route.destination === "0.0.0.0/0"), "and the default route");
  assert.ok(linkOf(place, "docker0"));
  assert.deepEqual(addressesOf(place, "eth0"), ["10.244.1.2/24", "192.0.2.7/32"]);
  succeeded(await check(result));
  const asked = { ...result, ips: [{ address: "10.244.1.77/24", interface: 2 }] };
  refused(await check(asked), 100, /eth0 lacks 10\.244\.1\.77\/24/);
  // A later plugin of the chain gave a second interface an address: not ours to judge.
  const chained = { ...result, interfaces: [...result.interfaces, { name: "net1", sandbox: place.path }] };
  succeeded(await check({ ...chained, ips: [...result.ips, { address: "192.0.2.9/24", interface: 3 }] }));
  place.apply({ op: "delete", link: { name: "eth0" } });
  refused(await check(result), 100, /is gone/);
  succeeded(await rig.call("DEL", "c1", place));
  assert.deepEqual(ranges(rig), [0]);
});

test("a container without a pod; the older versions; a chain; the node's own namespace and no namespace", async (t) => {
  const rig = await raise(t, ["10.244.1.0/24"]);
  const old = succeeded(
    await rig.call("ADD", "plain", rig.pod(), { config: { cniVersion: "0.4.0", dns: { nameservers: ["10.96.0.10"] } } }),
  );
  assert.deepEqual(old.ips, [{ version: "4", address: "10.244.1.2/24", gateway: "10.244.1.1", interface: 2 }]);
  assert.deepEqual(old.dns, { nameservers: ["10.96.0.10"] });
  const place = rig.pod();
  const prevResult = {
    cniVersion: "1.0.0",
    interfaces: [{ name: "net1", sandbox: place.path }],
    ips: [{ address: "192.0.2.9/24", interface: 0 }],
    routes: [{ dst: "198.51.100.0/24" }],
  };
  const chained = succeeded(await rig.call("ADD", "chained", place, { config: { cniVersion: "1.0.0", prevResult } }));
  assert.deepEqual(
    chained.interfaces.map((each: { name: string }) => each.name),
    ["net1", "cni0", hostLinkName("chained", "eth0"), "eth0"],
  );
  assert.deepEqual(chained.ips, [
    { address: "192.0.2.9/24", interface: 0 },
    { address: "10.244.1.3/24", gateway: "10.244.1.1", interface: 3 },
  ]);
  assert.deepEqual(chained.routes, [{ dst: "198.51.100.0/24" }, { dst: "0.0.0.0/0", gw: "10.244.1.1" }]);
  refused(await rig.call("ADD", "c3", rig.node), 8, /node's own/);
  refused(await rig.call("ADD", "c3", undefined, { env: { CNI_NETNS: "/run/netns/not-there" } }), 3, /no network namespace/);
  assert.deepEqual(ranges(rig), [2]);
});

test("two interfaces of one container live and go separately", async (t) => {
  const rig = await raise(t, ["10.244.1.0/24"]);
  const place = rig.pod();
  const second = { env: { CNI_IFNAME: "net1" } };
  succeeded(await rig.call("ADD", "c1", place));
  succeeded(await rig.call("ADD", "c1", place, second));
  const both = [addressesOf(place, "eth0"), addressesOf(place, "net1")];
  assert.deepEqual(both, [["10.244.1.2/24"], ["10.244.1.3/24"]]);
  place.apply({ op: "delete", address: { link: "net1", address: "10.244.1.3/24" } });
  await until(() => addressesOf(place, "net1").length === 1, "the second is mended too");
  succeeded(await rig.call("DEL", "c1", place));
  assert.equal(linkOf(place, "eth0"), undefined);
  assert.equal(linkOf(place, "net1")?.up, true);
  await until(
    () => place.listRoutes().some((route) => route.destination === "0.0.0.0/0" && route.nexthops[0]?.link === "net1"),
    "the way out moves to the one that is left",
  );
  succeeded(await rig.call("DEL", "c1", place, second));
  assert.deepEqual(ranges(rig), [0]);
});

test("STATUS and a full range: 50 and 101; GC frees what is not valid; a freed address is given out again", async (t) => {
  const rig = await raise(t, ["10.244.1.0/29"]);
  const places = new Map(["a", "b", "c", "d", "e"].map((id) => [id, rig.pod()]));
  succeeded(await rig.call("STATUS", ""));
  for (const [id, place] of places) succeeded(await rig.call("ADD", id, place));
  refused(await rig.call("STATUS", ""), 50, /no address is free in 10\.244\.1\.0\/29: 5 of 5/);
  refused(await rig.call("ADD", "f", rig.pod()), 101, /no address is free in 10\.244\.1\.0\/29/);
  refused(await rig.call("GC", ""), 7, /valid-attachments/);
  const keep = ["a", "c"].map((containerID) => ({ containerID, ifname: "eth0" }));
  const others = { config: { name: "another", "cni.dev/valid-attachments": [] } };
  succeeded(await rig.call("GC", "", undefined, others));
  assert.deepEqual(ranges(rig), [5], "another network's GC touches nothing of ours");
  succeeded(await rig.call("GC", "", undefined, { config: { "cni.dev/valid-attachments": keep } }));
  assert.deepEqual(ranges(rig), [2]);
  for (const [id, place] of places)
    assert.equal(
      linkOf(place, "eth0") !== undefined,
      keep.some((each) => each.containerID === id),
      id,
    );
  succeeded(await rig.call("STATUS", ""));
  const again = succeeded(await rig.call("ADD", "f", rig.pod()));
  assert.equal(again.ips[0].address, "10.244.1.3/29", "the one freed first");
});

test("a restarted agent adopts and changes nothing; what is gone is freed, what lost its record is cut off", async (t) => {
  const rig = await raise(t, ["10.244.1.0/24", "fd00:10:244:1::/64"]);
  const [one, two, three] = [rig.pod(), rig.pod(), rig.pod()];
  const result = succeeded(await rig.call("ADD", "c1", one, asPod("web-1")));
  succeeded(await rig.call("ADD", "c2.x", two, asPod("web-2")));
  succeeded(await rig.call("ADD", "c3", three));
  await until(() => rig.agent.status.ready, "the agent is at rest");
  const scope = { tables: [{ family: "inet" as const, name: "fairlead" }], sysctls: ["net.ipv4.ip_forward"] };
  const seen = () =>
    [...[one, two, three].map((place) => place.observe()), rig.node.observe(scope)].map((state) => ({
      ...state,
      // What the kernel makes and learns by itself comes when it likes.
      addresses: state.addresses.filter((address) => !address.address.startsWith("fe80:")),
      routes: state.routes.filter((route) => route.protocol !== ROUTE_PROTOCOL.kernel || route.family === 4),
      neighbours: state.neighbours.filter((neighbour) => neighbour.state === "permanent"),
      fdb: state.fdb.filter((entry) => entry.permanent),
    }));
  const before = seen();
  await rig.restart();
  assert.deepEqual(seen(), before);
  assert.deepEqual([ranges(rig), rig.agent.status.pods], [[3, 3], 3]);
  succeeded(await rig.call("CHECK", "c1", one, { config: { prevResult: result } }));
  await rig.agent.close();
  three.apply({ op: "delete", link: { name: "eth0" } });
  writeFileSync(join(rig.directory, "agent/attachments/c2.x.eth0.json"), '{"network":');
  await rig.restart();
  assert.deepEqual([ranges(rig), rig.agent.status.pods], [[1, 1], 1]);
  assert.equal(linkOf(two, "eth0"), undefined);
  assert.match(rig.log.join("\n"), /is cut off: its record is damaged/);
  succeeded(await rig.call("DEL", "c2.x", two));
  const next = succeeded(await rig.call("ADD", "c2.x", two, asPod("web-2")));
  assert.equal(next.ips[0].address, "10.244.1.5/24", "not one that was in use a moment ago");
});
