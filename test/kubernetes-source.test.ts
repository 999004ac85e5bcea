// The source of a real cluster against the embedded API server: TLS, token, list, watch, patch.
import assert from "node:assert/strict";
import { test } from "node:test";
import { SqliteStore, startApiServer } from "../src/api/index.ts";
import { type ClusterSnapshot, patchObject, sourceFromKubernetes } from "../src/cluster/index.ts";
import type { KubeObject } from "../src/resources/index.ts";

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
