// A client library's informer through a server that is killed and started again: each change is seen, none twice.
//
//   FAIRLEAD_CHANGES=10000 node --test test/informer.e2e.test.ts
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { ApiException, CoreV1Api, KubeConfig, makeInformer, type V1ConfigMap } from "@kubernetes/client-node";
import { ApiProcess } from "./api-server.ts";
import { eventually } from "./patience.ts";

const MAPS = Math.ceil(Number(process.env.FAIRLEAD_CHANGES ?? 1000) / 3);
const KILLS = 5;
/** How many writes lie between two changes of one object: what a client sees only by listing again is then still one change. */
const APART = 60;
const namespace = "default";

/** Until it is done, however often the server goes away; an answer that says it was done before counts. */
async function insist(write: () => Promise<unknown>, doneBefore: number): Promise<void> {
  for (let attempt = 0; attempt < 1200; attempt++) {
    try {
      await write();
      return;
    } catch (error) {
      if (error instanceof ApiException) {
        if (attempt > 0 && error.code === doneBefore) return;
        throw error;
      }
      await pause(50);
    }
  }
  throw new Error("the server did not come back");
}

test(`${MAPS * 3} changes through ${KILLS} killed servers: an informer misses none and tells none twice`, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "api-informer-"));
  const server = new ApiProcess(folder);
  t.after(async () => {
    await server.end("SIGTERM");
    rmSync(folder, { recursive: true });
  });
  await server.start();
  const config = new KubeConfig();
  config.loadFromFile(server.kubeconfig);
  const core = config.makeApiClient(CoreV1Api);

  const told: string[] = [];
  const informer = makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, () => core.listNamespacedConfigMap({ namespace }));
  const note = (verb: string) => (map: V1ConfigMap) => {
    if (map.metadata?.name?.startsWith("map-")) told.push(`${verb} ${map.metadata.name} ${map.data?.state}`);
  };
  informer.on("add", note("add"));
  informer.on("update", note("update"));
  informer.on("delete", note("delete"));
  let over = false;
  informer.on("error", () => {
    const again = () => void informer.start().catch(() => !over && setTimeout(again, 50));
    if (!over) setTimeout(again, 50);
  });
  await informer.start();

  const expected: string[] = [];
  const killEvery = Math.ceil((MAPS + 2 * APART) / (KILLS + 1));
  let restart = Promise.resolve();
  for (let step = 0; step < MAPS + 2 * APART; step++) {
    const named = (index: number) => (index >= 0 && index < MAPS ? `map-${index}` : undefined);
    const [fresh, changed, gone] = [named(step), named(step - APART), named(step - 2 * APART)];
    const body = (name: string, state: string): V1ConfigMap => ({ metadata: { name }, data: { state } });
    if (step % killEvery === killEvery - 1) restart = server.end("SIGKILL").then(() => server.start());
    if (fresh) {
      await insist(() => core.createNamespacedConfigMap({ namespace, body: body(fresh, "new") }), 409);
      expected.push(`add ${fresh} new`);
    }
    if (changed) {
      await insist(() => core.replaceNamespacedConfigMap({ namespace, name: changed, body: body(changed, "old") }), 0);
      expected.push(`update ${changed} old`);
    }
    if (gone) {
      await insist(() => core.deleteNamespacedConfigMap({ namespace, name: gone }), 404);
      expected.push(`delete ${gone} old`);
    }
  }
  await restart;
  await eventually(() => told.length >= expected.length);
  over = true;
  await informer.stop();
  assert.deepEqual(told.toSorted(), expected.toSorted());
});
