// Two nodes' BGP on a wire: blocks learned, a restart that forgets nothing, and each way in which a session may not come up, with its proof.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { type BgpNetwork, makeBgpNetwork } from "../../../test/bgp-network.ts";
import { until } from "../../../test/patience.ts";
import { snapshotOf } from "../../cluster/index.ts";
import type { NetworkNamespace } from "../../kernel/index.ts";
import type { KubeObject } from "../../resources/index.ts";
import { NodeBgp } from "./node-bgp.ts";
import { viewBgp, viewBgpRoutes } from "./view.ts";

const closers: (() => void)[] = [];
after(() => {
  for (const close of closers.reverse()) close();
});

const node = (number: number, annotations: object = {}): KubeObject =>
  ({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: `node-${number}`, annotations },
    status: { addresses: [{ type: "InternalIP", address: `10.0.0.${number}` }] },
  }) as KubeObject;
const calico = (kind: string, name: string, spec: object): KubeObject =>
  ({ apiVersion: "crd.projectcalico.org/v1", kind, metadata: { name }, spec }) as KubeObject;
const NODES = [node(1), node(2)];
const exports = (number: number) => ({ bgp: true, blocks: [`10.244.${number}.0/26`], localPrefixes: [] });

function network(): BgpNetwork {
  const made = makeBgpNetwork();
  closers.push(() => made.close());
  return made;
}

interface Running {
  readonly bgp: NodeBgp;
  readonly namespace: NetworkNamespace;
  why(): ReturnType<typeof viewBgp>["neighbours"][number]["why"] | undefined;
}

function start(
  namespace: NetworkNamespace,
  number: number,
  objects: readonly KubeObject[],
  more: { password?: string; directory?: string } = {},
): Running {
  const stateDirectory = more.directory ?? mkdtempSync(join(tmpdir(), "fairlead-node-bgp-"));
  const secrets = {
    follow: () => undefined,
    get: () => (more.password === undefined ? undefined : { key: more.password }),
    close: () => undefined,
  };
  const follow = () => bgp.follow(snapshotOf(objects), exports(number));
  const bgp = new NodeBgp({ node: `node-${number}`, namespace, stateDirectory, secrets, changed: () => follow(), log: () => {} });
  follow();
  closers.push(() => {
    bgp.close();
    rmSync(stateDirectory, { recursive: true, force: true });
  });
  return { bgp, namespace, why: () => viewBgp(`node-${number}`, bgp, namespace).neighbours[0]?.why };
}

const say = (...all: readonly Running[]) => JSON.stringify(all.map(({ bgp, namespace }) => viewBgp("n", bgp, namespace)));
const blocksOf = ({ bgp }: Running) => bgp.learned?.map(({ prefix, nextHops }) => `${prefix} ${nextHops}`);

async function cause(running: Running, wanted: string, proof: RegExp, ...others: readonly Running[]): Promise<void> {
  await until(
    () => running.why()?.cause === wanted && proof.test(running.why()?.proof ?? ""),
    () => say(running, ...others),
  );
}

describe("a node's BGP", { concurrency: 4 }, () => {
  test("blocks are learned, with the reason; a restarted agent knows them before anybody has told it again", async () => {
    const on = network();
    const directory = mkdtempSync(join(tmpdir(), "fairlead-node-bgp-"));
    const [one, two] = [start(on.ours, 1, NODES, { directory }), start(on.theirs, 2, NODES)];
    await until(
      () => blocksOf(one)?.join() === "10.244.2.0/26 10.0.0.2" && blocksOf(two)?.join() === "10.244.1.0/26 10.0.0.1",
      () => say(one, two),
    );
    assert.deepEqual(
      viewBgpRoutes("node-1", one.bgp, { prefix: "10.244.2.0/26" }).in.map(({ peer, nextHop, reason }) => [peer, nextHop, reason]),
      [["node-2", "10.0.0.2", "best"]],
    );
    one.bgp.close();
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.deepEqual(blocksOf(two), ["10.244.1.0/26 10.0.0.1"], "the other keeps the routes meanwhile");
    const again = start(on.ours, 1, NODES, { directory });
    assert.deepEqual(blocksOf(again), ["10.244.2.0/26 10.0.0.2"]);
    assert.equal(again.bgp.restarting, true);
    await until(
      () => !again.bgp.restarting && viewBgp("n", again.bgp, on.ours).neighbours.every(({ state }) => state === "Established"),
      () => say(again, two),
    );
    assert.deepEqual([blocksOf(again), blocksOf(two)], [["10.244.2.0/26 10.0.0.2"], ["10.244.1.0/26 10.0.0.1"]]);
  });

  test("another password: the kernel counts what is signed wrongly; none where one is wanted, and the other way about", async () => {
    const secret = { nodeMeshPassword: { secretKeyRef: { name: "bgp", key: "key" } } };
    const objects = [...NODES, calico("BGPConfiguration", "default", secret)];
    const on = network();
    const [one, two] = [start(on.ours, 1, objects, { password: "right" }), start(on.theirs, 2, objects, { password: "wrong" })];
    await cause(one, "wrong-password", /TCPMD5Failure grew by [1-9]/, two);
    const half = network();
    const [signed, plain] = [start(half.ours, 1, objects, { password: "right" }), start(half.theirs, 2, NODES)];
    await cause(signed, "wrong-password", /TCPMD5NotFound/, plain);
    await cause(plain, "wrong-password", /TCPMD5Unexpected/, signed);
    const without = network();
    assert.equal(start(without.ours, 1, objects).why()?.cause, "withheld");
  });

  test("another AS than is configured: told by the NOTIFICATION, at both ends", async () => {
    const on = network();
    const one = start(on.ours, 1, [...NODES, calico("BGPPeer", "wrong", { node: "node-1", peerIP: "10.0.0.2", asNumber: 65000 })]);
    const two = start(on.theirs, 2, NODES);
    await cause(one, "wrong-as", /NOTIFICATION 2\/2 sent/, two);
    await cause(two, "wrong-as", /NOTIFICATION 2\/2 from the neighbour/, one);
  });

  test("nobody listens; the host is not there; there is no route; packets are dropped", async () => {
    const on = network();
    await cause(start(on.ours, 1, NODES), "refused", /ECONNREFUSED/);
    const gone = network();
    await cause(start(gone.ours, 1, [node(1), node(99)]), "no-host", /10\.0\.0\.99/);
    const far = network();
    const peer = calico("BGPPeer", "far", { peerIP: "192.0.2.1", asNumber: 1 });
    await cause(start(far.ours, 1, [node(1), peer]), "no-route", /192\.0\.2\.1/);
    const blocked = network();
    blocked.theirs.nft.run(
      "add table inet f; add chain inet f in { type filter hook input priority 0; }; add rule inet f in tcp dport 179 drop",
    );
    const one = start(blocked.ours, 1, NODES);
    blocked.ours.nft.run(
      "add table inet f; add chain inet f in { type filter hook input priority 0; }; add rule inet f in tcp dport 179 drop",
    );
    await cause(one, "no-answer", /SYN-SENT 10\.0\.0\.1:\d+ → 10\.0\.0\.2:179, sent [2-9] times.*10\.0\.0\.2 is there/);
  });
});
