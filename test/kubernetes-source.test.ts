// The source of a real cluster against the embedded API server: TLS, token, list, watch, patch.
import assert from "node:assert/strict";
import { test } from "node:test";
import { SqliteStore, startApiServer } from "../src/api/index.ts";
import { ApiConflict, apiFromKubernetes, type ClusterSnapshot, patchObject, sourceFromKubernetes } from "../src/cluster/index.ts";
import { BlockIpam, IPAM_RESOURCES, type IpamBlock, readPools } from "../src/ipam/index.ts";
import type { KubeObject } from "../src/resources/index.ts";
import { makeIpamWorld } from "./ipam-objects.ts";

const NODES = { group: "", version: "v1", plural: "nodes" };
const node = (name: string): KubeObject => ({ apiVersion: "v1", kind: "Node", metadata: { name } });

test("a source follows the embedded API over HTTPS, and a patch comes back through it", async (t) => {
  const store = new SqliteStore({ path: ":memory:" });
  const server = await startApiServer({ store, listen: { host: "127.0.0.1", port: 0 } });
  const problems: string[] = [];
  store.create(NODES, node("node-1"));
  const kubeconfig = server.kubeconfig("test");
  const source = sourceFromKubernetes({ kubeconfig, onProblem: (message) => problems.push(message) });
  t.after(async () => {
    source.close();
    await server.close();
    store.close();
  });
  const seen = (test: (snapshot: ClusterSnapshot) => boolean) =>
    new Promise<void>((resolve) => {
      if (source.synced && test(source.snapshot)) return resolve();
      const stop = source.subscribe((snapshot) => {
        if (!test(snapshot)) return;
        stop();
        resolve();
      });
    });
  await seen((snapshot) => snapshot.nodes.size === 1);
  store.create(NODES, node("node-2"));
  await seen((snapshot) => snapshot.nodes.size === 2);
  const patch = { metadata: { annotations: { "flannel.alpha.coreos.com/backend-type": "vxlan" } } };
  const patched = await patchObject({ kubeconfig, resource: NODES, name: "node-1", patch });
  assert.deepEqual(patched.metadata.annotations, patch.metadata.annotations);
  await seen((snapshot) => snapshot.nodes.get("node-1")?.metadata.annotations !== undefined);
  store.delete(NODES, undefined, "node-2");
  await seen((snapshot) => snapshot.nodes.size === 1);
  assert.deepEqual(problems, []);
  const stranger = kubeconfig.replace(server.token, "wrong");
  await assert.rejects(patchObject({ kubeconfig: stranger, resource: NODES, name: "node-1", patch }), /credentials are not accepted/);
});

test("objects with compare-and-swap over HTTPS: conflicts, what is gone, long lists; and blocks of addresses on top of them", async (t) => {
  const world = makeIpamWorld({ pools: { main: { cidr: "10.244.0.0/16" } }, nodes: { "node-1": ["10.244.0.0/24"] } });
  const server = await startApiServer({ store: world.store, listen: { host: "127.0.0.1", port: 0 } });
  const api = apiFromKubernetes(server.kubeconfig("test"));
  t.after(async () => {
    api.close();
    await server.close();
    world.close();
  });
  const ipam = new BlockIpam({ node: "node-1", api, snapshot: () => world.source.snapshot });
  const owner = { handle: "net.a", secondary: { node: "node-1" } };
  const { all } = readPools(world.source.snapshot);
  assert.deepEqual(await Promise.all([ipam.assign(owner, all), ipam.assign(owner, all)]), ["10.244.0.2", "10.244.0.3"]);
  const block = (await api.get<IpamBlock>(IPAM_RESOURCES.blocks, "10-244-0-0-26")) ?? assert.fail();
  assert.deepEqual([block.kind, block.spec.attributes.length], ["IPAMBlock", 1]);
  await ipam.release("net.a");
  assert.deepEqual(world.given(), []);
  await assert.rejects(api.update(IPAM_RESOURCES.blocks, block), ApiConflict, "outdated");
  await assert.rejects(api.delete(IPAM_RESOURCES.blocks, block), ApiConflict, "outdated");
  const { resourceVersion: _version, uid: _uid, ...metadata } = block.metadata;
  await assert.rejects(api.create(IPAM_RESOURCES.blocks, { ...block, metadata }), ApiConflict, "taken");
  const gone = { ...block, metadata: { name: "gone" } };
  await assert.rejects(api.update(IPAM_RESOURCES.blocks, gone), ApiConflict, "gone");
  await api.delete(IPAM_RESOURCES.blocks, gone);
  assert.equal(await api.get(IPAM_RESOURCES.blocks, "gone"), undefined);
  for (let i = 0; i < 1100; i++) world.store.create(NODES, node(`n${i}`));
  const listed = await api.list(NODES);
  assert.equal(listed.length, 1101);
  assert.ok(listed.every(({ apiVersion, kind }) => apiVersion === "v1" && kind === "Node"));
  const refused = apiFromKubernetes(server.kubeconfig("test").replace(server.token, "wrong"));
  await assert.rejects(refused.list(NODES), /credentials are not accepted/);
  refused.close();
});
