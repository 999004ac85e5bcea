import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { KubeObject } from "../../resources/index.ts";
import { mirrorKubernetes } from "./mirror.ts";

const MAPS = { group: "", version: "v1", plural: "configmaps" };
const map = (name: string, resourceVersion: string): KubeObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default", uid: name, resourceVersion },
});

test("who waits for a watch to catch up hears first what it has brought by then", async (t) => {
  const watches: ServerResponse[] = [];
  const server = createServer((request, response) => {
    if (request.url?.includes("watch=true")) {
      response.writeHead(200).flushHeaders();
      watches.push(response);
    } else response.end(JSON.stringify({ kind: "ConfigMapList", apiVersion: "v1", metadata: { resourceVersion: "5" }, items: [] }));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const access = {
    server: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    tls: { rejectUnauthorized: true },
    authorization: () => undefined,
  };
  const mirror = await mirrorKubernetes({ kubeconfig: access, resources: [MAPS] });
  t.after(() => {
    mirror.close();
    server.closeAllConnections();
    server.close();
  });
  const told = async (object: KubeObject) => {
    watches[0]?.write(`${JSON.stringify({ type: "ADDED", object })}\n`);
    while (!mirror.get(MAPS, "default", object.metadata.name)) await new Promise((resolve) => setImmediate(resolve));
  };
  while (watches.length === 0) await new Promise((resolve) => setImmediate(resolve));
  await told(map("before", "6"));
  t.mock.timers.enable({ apis: ["setTimeout"] });
  // From here the event loop reads before it comes by again.
  await new Promise((resolve) => setImmediate(resolve));
  const late = map("late", "7");
  watches[0]?.write(`${JSON.stringify({ type: "ADDED", object: late })}\n`);
  // It is sent, and the kernel has its time to bring it.
  await new Promise<void>((resolve) => process.nextTick(resolve));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
  const caughtUp = mirror.caughtUp(MAPS, late);
  for (let part = 0; part < 4; part++) t.mock.timers.tick(2000);
  await caughtUp;
  assert.ok(mirror.get(MAPS, "default", "late"));
});
