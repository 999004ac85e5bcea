// A node's way to balance Services, changed while it runs, as a person does it: kubectl annotate node.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { LabStatus, ProbeResult } from "../src/lab/index.ts";
import type { TraceResult } from "../src/trace/index.ts";
import { makePlace } from "./fairlead.ts";
import { eventually } from "./patience.ts";

const place = makePlace();

describe("modes of Services in a lab", () => {
  let config = "";
  before(async () => {
    await place.ok("lab", "up", join(import.meta.dirname, "web.yaml"), "--nodes", "2", "--services", "iptables");
    config = (await place.ok("lab", "kubeconfig")).trim();
  });
  after(() => place.close());

  const kubectl = (...words: string[]) =>
    place.run("kubectl", [`--kubeconfig=${config}`, `--cache-dir=${place.directory}/cache`, ...words]);
  const onNode = async (node: string, ...words: string[]) => (await place.fairlead("lab", "node", node, "--", ...words)).out;
  const hasChains = async (node: string) => (await onNode(node, "iptables-save")).includes("KUBE-SVC-");
  const remarks = async (node: string) =>
    (await place.json<LabStatus>("lab", "status")).nodes.find(({ name }) => name === node)?.remarks ?? [];
  const use = (mode: string) => kubectl("annotate", "node", "node-1", "--overwrite", `fairlead.dev/services=${mode}`);
  const isServed = async () => {
    for (const from of ["web/web", "node/node-1"])
      assert.equal((await place.json<ProbeResult>("probe", from, "svc/web/web:80")).verdict, "connected", from);
  };

  test("lab up --services iptables: what the guide types shows what the guide says", async () => {
    for (const node of ["node-1", "node-2"])
      assert.match(
        await onNode(node, "iptables", "-t", "nat", "-L", "KUBE-SERVICES", "-n", "--line-numbers"),
        /KUBE-SVC-.*web\/web cluster IP/,
      );
    await isServed();
  });

  test("trace reads the chains", async () => {
    const { verdict, hops } = await place.json<TraceResult>("trace", "node/node-1", "svc/web/web:80");
    assert.equal(verdict, "delivered");
    assert.match(hops.find(({ stage }) => stage === "service")?.says ?? "", /Service web\/web/);
  });

  test("kubectl annotate node switches that node, and no other", async () => {
    await use("nftables");
    assert.ok(await eventually(async () => !(await hasChains("node-1"))));
    assert.ok(await hasChains("node-2"));
    await isServed();
    await use("iptables");
    assert.ok(await eventually(() => hasChains("node-1")));
    await isServed();
  });

  test("what is not known is told, and everything goes on", async () => {
    await use("carrier-pigeon");
    assert.ok(await eventually(async () => (await remarks("node-1")).some((remark) => remark.includes('"carrier-pigeon"'))));
    assert.ok(await hasChains("node-1"), "the mode that the agent was started with holds");
    await isServed();
  });

  test("IPVS is used where the kernel has it, and told to be missing where not", async () => {
    await use("ipvs");
    const told = async () => (await remarks("node-1")).some((remark) => remark.includes("ipvs is not possible on this node"));
    const used = async () => (await onNode("node-1", "cat", "/proc/net/ip_vs")).includes("TCP");
    assert.ok(await eventually(async () => (await told()) !== (await used())));
    await isServed();
  });

  test("chains that another proxy left are taken over, and go with the mode", async () => {
    await use("nftables");
    assert.ok(await eventually(async () => !(await hasChains("node-1"))));
    await onNode("node-1", "iptables", "-t", "nat", "-N", "KUBE-SVC-FOREIGN");
    await use("iptables");
    assert.ok(await eventually(() => hasChains("node-1")));
    // The iptables mode takes kube-proxy's chains over, and takes them along.
    await use("nftables");
    assert.ok(await eventually(async () => !(await hasChains("node-1"))));
  });
});
