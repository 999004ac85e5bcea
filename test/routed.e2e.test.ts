// The routed network, end to end: the guide's Installation as a lab, addresses out of blocks, and a lab that changes to it while pods talk.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import type { LabStatus, MatrixAnswer, ProbeResult } from "../src/lab/index.ts";
import type { TraceResult } from "../src/trace/index.ts";
import { makePlace, type Place, SHOP } from "./fairlead.ts";
import { eventually, until } from "./patience.ts";
import type { Talk } from "./stream.ts";

const INSTALLATION = join(import.meta.dirname, "../examples/guide/calico-installation.yaml");
const BIN = join(import.meta.dirname, "../bin/fairlead");

function tools(place: Place) {
  const status = () => place.json<LabStatus>("lab", "status");
  return {
    status,
    probe: (from: string, to: string, ...more: string[]) => place.json<ProbeResult>("probe", from, to, ...more),
    onNode: (node: string, ...words: string[]) => place.run(BIN, ["lab", "node", node, "--", ...words]),
    kubectl: async (...words: string[]) => {
      const config = (await place.ok("lab", "kubeconfig")).trim();
      return place.run("kubectl", [`--kubeconfig=${config}`, `--cache-dir=${place.directory}/kubectl`, ...words]);
    },
    podOn: async (node: string, namespace = "default") => {
      const pod = (await status()).pods.find((each) => each.node === node && each.namespace === namespace);
      return pod ?? assert.fail(`no pod of ${namespace} on ${node}`);
    },
    apply: async (text: string) => {
      const file = join(place.directory, "applied.yaml");
      writeFileSync(file, text);
      await place.ok("lab", "up", file);
    },
  };
}

const podOf = (name: string, node: string, annotations = "{}", namespace = "default") => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, annotations: ${annotations} }
spec: { nodeName: ${node}, containers: [{ name: c, image: x, ports: [{ containerPort: 8080 }] }] }
---`;

describe("the guide's Installation", () => {
  const place = makePlace();
  const { status, probe, onNode, podOn, apply } = tools(place);
  before(async () => {
    // One pod of each node that no policy selects.
    const own = join(place.directory, "own.yaml");
    writeFileSync(own, ["node-1", "node-2", "node-3"].map((node) => podOf(`on-${node}`, node)).join(""));
    await place.ok("lab", "up", INSTALLATION, SHOP, own, "--subnets", "2", "--agents", "processes");
  });
  after(() => place.close());

  test("every pair is as the truth table says, over two subnets", async () => {
    const answer = await place.json<MatrixAnswer>(
      "matrix",
      "--all",
      "--expect",
      join(SHOP, "expect.yaml"),
      "--namespace",
      "production",
      "monitoring",
    );
    assert.deepEqual(answer.failures, []);
    assert.ok(answer.pairs.length > 60);
    const calculated = await place.json<MatrixAnswer>(
      "matrix",
      "--all",
      "--static",
      "--expect",
      join(SHOP, "expect.yaml"),
      "--namespace",
      "production",
      "monitoring",
    );
    assert.deepEqual(calculated.failures, [], "by calculation as well");
    const { nodes, pods } = await status();
    assert.deepEqual(new Set(pods.map(({ node }) => node)).size, 3);
    assert.deepEqual(new Set(nodes.map(({ addresses }) => addresses[0]?.split(".")[2])).size, 2, "on two subnets");
  });

  test("routes: blocks plain in the same subnet, through vxlan.calico beyond, own blocks black holes, own pods by themselves", async () => {
    const { out } = await onNode("node-1", "ip", "route");
    assert.match(out, /^blackhole 10\.244\.0\.0\/26 proto 84/m);
    assert.match(out, /^10\.244\.0\.\d+ dev cali[0-9a-f]{11} proto 84 scope link/m);
    assert.match(out, /^10\.244\.2\.0\/26 via 10\.112\.0\.52 dev ens160 proto 84/m);
    assert.match(out, /^10\.244\.1\.0\/26 via 10\.244\.1\.1 dev vxlan\.calico proto 84 onlink/m);
    assert.doesNotMatch(out, /cni0|flannel/);
    assert.match(
      (await onNode("node-1", "ip", "-d", "link", "show", "vxlan.calico")).out,
      /vxlan id 4096 local 10\.112\.0\.51 dev ens160 .*dstport 4789 nolearning/,
    );
    assert.equal((await onNode("node-1", "ping", "-c", "1", "-W", "20", "-I", "10.244.0.1", "10.244.2.1")).status, 0, "the guide's case 1");
    assert.equal((await onNode("node-1", "ping", "-c", "1", "-W", "20", "-I", "10.244.0.1", "10.244.1.1")).status, 0, "across subnets");
  });

  test("a pod has its address alone, and the host's end for its router", async () => {
    const pod = await podOn("node-1");
    const inPod = (...words: string[]) => place.ok("exec", `default/${pod.name}`, "--", ...words);
    assert.match(await inPod("ip", "-4", "addr", "show", "dev", "eth0"), new RegExp(`inet ${pod.address}/32 `));
    const routes = await inPod("ip", "route");
    assert.match(routes, /^default via 169\.254\.1\.1 dev eth0/m);
    assert.match(routes, /^169\.254\.1\.1 dev eth0 .*scope link/m);
    await probe(`default/${pod.name}`, "outside:80");
    assert.match(await inPod("ip", "neigh"), /169\.254\.1\.1 dev eth0 lladdr ee:ee:ee:ee:ee:ee/);
  });

  test("natOutgoing: the outside sees the node; a NodePort leads to pods on other nodes", async () => {
    const pod = await podOn("node-2");
    const { nodes } = await status();
    const node = nodes.find(({ name }) => name === "node-2");
    assert.equal((await probe(`default/${pod.name}`, "outside:80")).sourceSeen, node?.addresses[0]?.replace(/\/.*/, ""));
    for (const { name } of nodes) assert.equal((await probe("outside", `node/${name}:30080`)).verdict, "connected", name);
  });

  test("trace follows the path, and says of an address that no pod has why it goes nowhere", async () => {
    const [near, far, here] = [await podOn("node-3"), await podOn("node-2"), await podOn("node-1")];
    const trace = async (to: string, ...more: string[]) =>
      JSON.parse((await place.fairlead("trace", `default/${here.name}`, to, "-o", "json", ...more)).out) as TraceResult;
    for (const more of [[], ["--desired"]]) {
      const plain = await trace(`default/${near.name}:8080`, ...more);
      assert.equal(plain.verdict, "delivered");
      assert.ok(
        plain.hops.some(({ says }) => /route 10\.244\.2\.0\/26 leads to 10\.112\.0\.52 over ens160/.test(says)),
        "plain",
      );
      const wrapped = await trace(`default/${far.name}:8080`, ...more);
      assert.equal(wrapped.verdict, "delivered");
      assert.ok(
        wrapped.hops.some(({ says }) => /wrapped: VXLAN 4096, UDP 4789, 10\.112\.0\.51 → 10\.112\.1\.51/.test(says)),
        "wrapped",
      );
    }
    const nobody = await trace("10.244.2.50:80");
    assert.equal(nobody.verdict, "unroutable");
    assert.match(nobody.reason, /node-3: route 10\.244\.2\.0\/26 is blackhole: the block is node-3's, and no pod there has 10\.244\.2\.50/);
  });

  test("addresses: shown, checked, given back; static ones and pools by annotation", async () => {
    const shown = await place.json<{ pools: { name: string; used: number }[]; blocks: { cidr: string; node: string }[] }>("ipam", "show");
    assert.deepEqual(
      shown.pools.map(({ name }) => name),
      ["default-ipv4-pool"],
    );
    assert.deepEqual(
      shown.blocks.map(({ cidr, node }) => `${cidr} ${node}`),
      ["10.244.0.0/26 node-1", "10.244.1.0/26 node-2", "10.244.2.0/26 node-3"],
    );
    assert.match(await place.ok("ipam", "check"), /every address has one owner/);
    await apply(
      `
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: second }
spec: { cidr: 10.245.0.0/24, vxlanMode: Always, natOutgoing: true, nodeSelector: "!all()" }
---${podOf("static", "node-1", `{ cni.projectcalico.org/ipAddrs: '["10.244.2.33"]' }`)}${podOf("other", "node-2", `{ cni.projectcalico.org/ipv4pools: '["second"]' }`)}${podOf("third", "node-3")}${podOf("plain", "node-1")}`,
    );
    const { pods } = await status();
    const address = (name: string) => pods.find((pod) => pod.name === name)?.address ?? "";
    assert.equal(address("static"), "10.244.2.33", "of another node's block");
    assert.match(address("other"), /^10\.245\.0\./);
    assert.match(await place.ok("ipam", "show", "10.244.2.33"), /10\.244\.2\.33 +10\.244\.2\.0\/26 +node-1 +default\/static/);
    // The new block and the borrowed address reach the other nodes by BGP.
    for (const [from, to] of [
      ["default/third", "static"],
      ["default/other", "static"],
      ["default/static", "other"],
      ["default/plain", "other"],
    ] as const)
      assert.ok(
        await eventually(async () => (await place.fairlead("exec", from, "--", "ping", "-c", "1", "-W", "1", address(to))).status === 0),
        `${from} → ${to}`,
      );
    assert.equal((await place.fairlead("ipam", "show", "10.244.2.34")).status, 1);
    assert.equal((await place.fairlead("ipam", "release", "10.244.2.33")).status, 1, "only shown, without --yes");
    assert.match(await place.ok("ipam", "check"), /every address has one owner/);
  });

  test("a pod's address comes back when it goes, and an agent that is killed adopts what is there", async () => {
    const before = await status();
    const used = async () =>
      (await place.json<{ blocks: { cidr: string; used: number }[] }>("ipam", "show")).blocks.find(({ cidr }) => cidr === "10.244.0.0/26")
        ?.used;
    const count = await used();
    const agent = before.nodes[0]?.agentPid ?? assert.fail("no agent");
    const [source, target] = [await podOn("node-1"), await podOn("node-2")];
    const pinging = place.ok("exec", `default/${source.name}`, "--", "ping", "-n", "-q", "-i", "0.02", "-c", "60", target.address ?? "");
    await new Promise((resolve) => setTimeout(resolve, 300));
    process.kill(agent, "SIGKILL");
    assert.match(await pinging, /60 packets transmitted, 60 received, 0% packet loss/);
    assert.ok(await eventually(async () => (await status()).nodes[0]?.agentPid !== agent && (await status()).ready));
    assert.equal((await status()).nodes[0]?.mended, 0, "nothing had to be mended");
    assert.equal(await used(), count);
    const { kubectl } = tools(place);
    if ((await kubectl("delete", "pod", "plain", "--wait=true")).status === 0)
      assert.ok(await eventually(async () => (await used()) === (count ?? 0) - 1), "given back");
  });

  test("what of the configuration is not followed is said, and why", async () => {
    await apply(`
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: { name: default }
spec: { vxlanMTU: 1400, bpfEnabled: true, iptablesBackend: NFT }`);
    assert.ok(await eventually(async () => /mtu 1400/.test((await onNode("node-1", "ip", "link", "show", "vxlan.calico")).out)));
    const said = (await onNode("node-1", BIN, "agent", "status", "-o", "json")).out;
    const { remarks, network, follows } = JSON.parse(said) as { remarks: string[]; network: string; follows: string[] };
    assert.equal(network, "routed");
    assert.ok(remarks.includes("FelixConfiguration: bpfEnabled is not followed: the eBPF data path has settings of its own"), said);
    assert.ok(
      follows.some((each) => /IPPool default-ipv4-pool: 10\.244\.0\.0\/16, blocks of \/26, VXLANCrossSubnet/.test(each)),
      said,
    );
    assert.ok(follows.includes("FelixConfiguration: vxlanMTU 1400"), said);
  });
});

describe("a routed lab without an Installation", () => {
  const place = makePlace();
  const { probe } = tools(place);
  after(() => place.close());

  test("has a pool of each family, and its pods reach each other in both, over two subnets", async () => {
    const own = join(place.directory, "own.yaml");
    writeFileSync(own, ["node-1", "node-2"].map((node) => podOf(`on-${node}`, node)).join(""));
    await place.ok("lab", "up", own, "--network", "routed", "--nodes", "2", "--subnets", "2");
    const { pools, blocks } = await place.json<{ pools: { name: string }[]; blocks: { cidr: string; node: string }[] }>("ipam", "show");
    assert.deepEqual(
      pools.map(({ name }) => name),
      ["default-ipv4-ippool", "default-ipv6-ippool"],
    );
    assert.equal(blocks.length, 4);
    const { addresses } = await place.json<{ addresses: { address: string; use: string }[] }>("ipam", "show", "--addresses");
    for (const { address } of addresses.filter(({ use }) => use === "default/on-node-2"))
      assert.equal(
        (await probe("default/on-node-1", address.includes(":") ? `[${address}]:8080` : `${address}:8080`)).verdict,
        "connected",
        address,
      );
  });
});

describe("from overlay to routed on a running lab", () => {
  const place = makePlace();
  const { status, probe, onNode, podOn, kubectl } = tools(place);
  const children: ChildProcess[] = [];
  after(async () => {
    // Each with what it has started inside the pods.
    for (const { pid } of children)
      try {
        process.kill(-(pid ?? 0), "SIGKILL");
      } catch {
        // It has ended.
      }
    await place.close();
  });

  const inPod = (pod: string, ...words: string[]) => {
    const stream = join(import.meta.dirname, "stream.ts");
    const args = ["exec", `production/${pod}`, "--", process.execPath, "--disable-warning=ExperimentalWarning", stream, ...words];
    const child = spawn(BIN, args, {
      env: { ...process.env, FAIRLEAD_STATE: place.directory },
      stdio: ["pipe", "pipe", "inherit"],
      detached: true,
    });
    children.push(child);
    return child;
  };

  /** One pod talks to another until it is told to end. */
  const talkFrom = (from: string, address: string) => {
    const child = inPod(from, "talk", address);
    let now: Talk | undefined;
    createInterface({ input: child.stdout }).on("line", (line) => {
      now = JSON.parse(line);
    });
    const ended = once(child, "close");
    return {
      answers: () => now?.answers ?? 0,
      /** It was reset, or has been silent for so long. */
      isCutFor: (ms: number) => now !== undefined && (now.error !== null || now.silentMs > ms),
      async end(): Promise<Talk> {
        child.stdin.end();
        await ended;
        return now ?? assert.fail(`the talk of ${from} said nothing`);
      },
    };
  };

  test("node by node, no connection is silent for a second; then both families go the new way", async (t) => {
    if ((await place.run("kubectl", ["version", "--client"])).status !== 0) {
      t.skip("NOT RUN: there is no kubectl on this machine");
      return;
    }
    await place.ok("lab", "up", SHOP, "--subnets", "2");
    await kubectl("delete", "networkpolicies", "--all", "-A");
    const before = await status();
    const pods = before.pods.filter(({ namespace }) => namespace === "production");
    for (const { name } of pods) inPod(name, "serve");
    const talks = ["node-1", "node-3"].flatMap((node) => {
      const from = pods.find((pod) => pod.node === node) ?? assert.fail();
      const to = [...new Set(pods.map((pod) => pod.node))].map(
        (other) => pods.find((pod) => pod.node === other && pod !== from) ?? assert.fail(),
      );
      return to.map((pod) => ({ pair: `${from.name} → ${pod.name}`, talk: talkFrom(from.name, pod.address ?? "") }));
    });
    await until(() => talks.every(({ talk }) => talk.answers() > 100), "all talk");
    for (const node of ["node-2", "node-1", "node-3"]) {
      assert.equal((await kubectl("annotate", "node", node, "fairlead.dev/network=routed")).status, 0);
      const routed = async () => /^blackhole 10\.244\.\d\.0\/26/m.test((await onNode(node, "ip", "route")).out);
      assert.ok(await eventually(routed), node);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    await eventually(() => talks.every(({ talk }) => talk.answers() > 500));
    for (const { pair, talk } of talks) {
      const { answers, longestMs, stoodStillMs, error } = await talk.end();
      assert.equal(error, null, pair);
      assert.ok(answers > 500, `${pair}: ${answers} answers`);
      assert.ok(longestMs < 1000, `${pair} was silent for ${longestMs} ms (beside ${stoodStillMs} ms in which an end stood still)`);
    }
    const now = await status();
    assert.deepEqual(
      now.pods.map(({ name, address }) => `${name} ${address}`),
      before.pods.map(({ name, address }) => `${name} ${address}`),
      "pods keep their addresses",
    );
    assert.ok(
      await eventually(async () => !/flannel|cni0/.test((await onNode("node-1", "ip", "route")).out)),
      "nothing of the overlay is left",
    );
    assert.doesNotMatch((await onNode("node-1", "ip", "-br", "link")).out, /flannel|cni0|veth/);
    assert.match(await place.ok("ipam", "check"), /every address has one owner/);
    const from = await podOn("node-1", "production");
    for (const node of ["node-1", "node-2", "node-3"]) {
      const to = now.pods.find((pod) => pod.node === node && pod.name !== from.name && pod.namespace === "production") ?? assert.fail();
      const addresses = (
        await place.ok("exec", `production/${to.name}`, "--", "ip", "-o", "addr", "show", "dev", "eth0", "scope", "global")
      ).match(/(?<=inet6? )[0-9a-f.:]+/g);
      assert.equal(addresses?.length, 2);
      for (const address of addresses ?? [])
        assert.match(
          await place.ok("exec", `production/${from.name}`, "--", "ping", "-c", "1", "-W", "20", address),
          /1 received/,
          `${to.name} ${address}`,
        );
    }
    assert.equal((await probe("outside", "node/node-2:30080")).verdict, "connected");
    // A node with pods can't go back, and says so.
    await kubectl("annotate", "node", "node-1", "fairlead.dev/network=overlay", "--overwrite");
    assert.ok(
      await eventually(async () =>
        /overlay is asked for, but \d+ pods here have addresses of blocks/.test((await onNode("node-1", BIN, "agent", "status")).out),
      ),
    );
  });

  test("open connections take the fast path, in one subnet and through a tunnel; one that a policy denies is cut at once", async (t) => {
    const follows = (JSON.parse((await onNode("node-1", BIN, "agent", "status", "-o", "json")).out) as { follows: string[] }).follows;
    const lack = follows.find((each) => each.startsWith("no fast path"));
    if (lack !== undefined) {
      t.skip(`LACKS ${lack}`);
      return;
    }
    assert.ok(follows.includes("fast path for established TCP connections"), follows.join());
    const pods = (await status()).pods.filter(({ namespace }) => namespace === "production");
    const from = pods.find(({ node }) => node === "node-1") ?? assert.fail();
    const [near, far, denied] = ["node-3", "node-2", "node-3"].map(
      (node, index) => pods.filter((pod) => pod.node === node)[index === 2 ? 1 : 0] ?? assert.fail(`${node} has too few pods`),
    );
    for (const link of ["ens160", "vxlan.calico"])
      assert.match((await onNode("node-1", "tc", "filter", "show", "dev", link, "ingress")).out, /fairlead-forward/, link);
    const counter = "add table inet count; add chain inet count forward { type filter hook forward priority -300; }";
    await onNode("node-1", "nft", `${counter}; add rule inet count forward meta l4proto tcp counter`);
    const talkTo = (pod: typeof near) => talkFrom(from.name, pod?.address ?? "");
    const [toNear, toFar, toDenied] = [talkTo(near), talkTo(far), talkTo(denied)];
    await until(() => [toNear, toFar, toDenied].every((talk) => talk.answers() > 200), "all talk");
    await kubectl("label", "pod", "-n", "production", denied?.name ?? "", "cut=yes");
    const policy = join(place.directory, "cut.yaml");
    writeFileSync(
      policy,
      `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: cut, namespace: production }
spec: { podSelector: { matchLabels: { cut: "yes" } }, policyTypes: [Ingress] }
`,
    );
    assert.equal((await kubectl("apply", "-f", policy)).status, 0);
    await until(() => toDenied.isCutFor(2000), "the connection that is denied was cut");
    await until(() => toNear.answers() > 500 && toFar.answers() > 500, "the others go on");
    const [nearSeen, farSeen, deniedSeen] = await Promise.all([toNear.end(), toFar.end(), toDenied.end()]);
    for (const [name, { error, longestMs }] of Object.entries({ near: nearSeen, far: farSeen })) {
      assert.equal(error, null, name);
      assert.ok(longestMs < 1000, `${name} was silent for ${longestMs} ms`);
    }
    const counted = Number(/packets (\d+)/.exec((await onNode("node-1", "nft", "list", "table", "inet", "count")).out)?.[1]);
    const sent = 2 * (nearSeen.answers + farSeen.answers + deniedSeen.answers);
    assert.ok(counted < sent / 2, `${counted} of ${sent} packets and more went the long way`);
  });
});
