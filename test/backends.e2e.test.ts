// The overlay's backends on a running lab of two subnets: VXLAN, VXLAN with DirectRouting, host-gw; switched without a new lab.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { LabStatus, MatrixAnswer, ProbeResult } from "../src/lab/index.ts";
import type { TraceResult } from "../src/trace/index.ts";
import { makePlace } from "./fairlead.ts";
import { eventually, until } from "./patience.ts";

const place = makePlace();

/** A pod on every node, and Flannel's configuration. */
function write(name: string, backend: object): string {
  const file = join(place.directory, `${name}.json`);
  const config = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "kube-flannel-cfg", namespace: "kube-flannel" },
    data: { "net-conf.json": JSON.stringify({ Network: "10.244.0.0/16", Backend: backend }) },
  };
  const pods = {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "echo", namespace: "default" },
    spec: {
      selector: { matchLabels: { app: "echo" } },
      template: {
        metadata: { labels: { app: "echo" } },
        spec: { containers: [{ name: "echo", image: "echo", ports: [{ containerPort: 80 }] }] },
      },
    },
  };
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "kube-flannel" } };
  writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items: [namespace, config, pods] }));
  return file;
}

const route = async (node: string, prefix: string) => {
  const { out } = await place.fairlead("lab", "node", node, "--", "ip", "route", "show", prefix);
  return out.trim();
};

/** Every pod comes to reach every other: each node follows a change by itself. */
async function allConnect(): Promise<void> {
  let silent: readonly ProbeResult[] = [];
  await until(
    async () => {
      const { pairs } = await place.json<MatrixAnswer>("matrix", "--namespace", "default", "--all");
      assert.equal(pairs.length, 12);
      silent = pairs.filter((pair) => pair.verdict !== "connected");
      return silent.length === 0;
    },
    () => JSON.stringify(silent),
  );
}

describe("a lab of two subnets", () => {
  let cidrs: Readonly<Record<string, string>> = {};
  /** What node-1 does with another node's pods. */
  const routeBecomes = async (node: string, expected: RegExp) => {
    let seen = "";
    await until(
      async () => {
        seen = await route("node-1", cidrs[node] ?? "");
        return expected.test(seen);
      },
      () => `${node}: ${seen}`,
    );
  };
  before(async () => {
    await place.ok("lab", "up", write("vxlan", { Type: "vxlan" }), "--nodes", "4", "--subnets", "2");
    const { nodes } = await place.json<LabStatus>("lab", "status");
    cidrs = Object.fromEntries(nodes.map((node) => [node.name, node.podCIDRs[0] ?? ""]));
  });
  after(() => place.close());

  // node-1 and node-3 stand in one subnet, node-2 and node-4 in the other.
  test("vxlan: every peer through flannel.1", async () => {
    for (const peer of ["node-2", "node-3"]) await routeBecomes(peer, /dev flannel\.1 .*onlink/);
    await allConnect();
  });

  test("vxlan with DirectRouting: straight within the subnet, through flannel.1 to the other", async () => {
    await place.ok("lab", "up", write("direct", { Type: "vxlan", DirectRouting: true }));
    await routeBecomes("node-3", /via 10\.112\.0\.52 dev ens160/);
    await routeBecomes("node-2", /dev flannel\.1/);
    await allConnect();
    const { pods } = await place.json<LabStatus>("lab", "status");
    const on = (node: string) => `default/${pods.find((pod) => pod.node === node)?.name}`;
    const within = await place.json<TraceResult>("trace", on("node-1"), on("node-3"));
    assert.equal(within.verdict, "delivered");
    assert.ok(!within.hops.some((hop) => hop.stage === "encapsulate"), "nothing is wrapped");
    const across = await place.json<TraceResult>("trace", on("node-1"), on("node-2"));
    assert.equal(across.verdict, "delivered");
    assert.ok(across.hops.some((hop) => hop.stage === "encapsulate"));
  });

  test("host-gw: no tunnel; the other subnet can't be reached, and the trace says why", async () => {
    await place.ok("lab", "up", write("host-gw", { Type: "host-gw" }));
    assert.ok(
      await eventually(async () => (await place.fairlead("lab", "node", "node-1", "--", "ip", "link", "show", "flannel.1")).status !== 0),
    );
    await routeBecomes("node-3", /via 10\.112\.0\.52 dev ens160/);
    await routeBecomes("node-2", /^$/);
    const { pods } = await place.json<LabStatus>("lab", "status");
    const on = (node: string) => `default/${pods.find((pod) => pod.node === node)?.name}`;
    const within = async () => (await place.json<MatrixAnswer>("matrix", "--from", on("node-1"), "--to", on("node-3"))).pairs[0]?.verdict;
    await until(async () => (await within()) === "connected");
    const across = await place.json<TraceResult>("trace", on("node-1"), on("node-2"));
    assert.equal(across.verdict, "unroutable", JSON.stringify(across));
  });

  test("back to vxlan: all connect again", async () => {
    await place.ok("lab", "up", write("again", { Type: "vxlan" }));
    await routeBecomes("node-3", /dev flannel\.1/);
    await allConnect();
  });
});
