// The plugin kubernetes with a kubeconfig of its own, against the embedded API: start, change, reload.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { SqliteStore, startApiServer } from "../src/api/index.ts";
import { startDns } from "../src/dns/index.ts";
import type { KubeObject } from "../src/resources/index.ts";
import { ask } from "./dns-client.ts";
import { until } from "./patience.ts";

const SERVICES = { group: "", version: "v1", plural: "services" };
const service = (clusterIP: string): KubeObject =>
  ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "api", namespace: "default" },
    spec: { clusterIP, clusterIPs: [clusterIP], ports: [{ name: "http", port: 80 }] },
  }) as KubeObject;

test("names come from the API server of a kubeconfig, changes show, and a reload lists nothing again", async (t) => {
  const store = new SqliteStore({ path: ":memory:" });
  const api = await startApiServer({ store, listen: { host: "127.0.0.1", port: 0 } });
  const folder = mkdtempSync(join(tmpdir(), "dns-"));
  const path = join(folder, "Corefile");
  writeFileSync(join(folder, "kubeconfig"), api.kubeconfig("test"));
  const corefile = (ttl: number) =>
    `.:0 {\n kubernetes cluster.local {\n  kubeconfig kubeconfig\n  startup_timeout 60s\n  ttl ${ttl}\n }\n}\n`;
  writeFileSync(path, corefile(5));
  store.create({ group: "", version: "v1", plural: "namespaces" }, { apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } });
  const made = store.create(SERVICES, service("10.96.0.5"));
  const server = await startDns({ path });
  t.after(async () => {
    await server.close();
    await api.close();
    store.close();
    rmSync(folder, { recursive: true });
  });
  const port = server.status().listeners[0]?.port ?? 0;
  const address = async () => {
    const { answers } = await ask("api.default.svc.cluster.local.", "A", { port });
    const [record] = answers;
    return record?.data.type === "A" ? `${record.data.address} ${record.ttl}` : undefined;
  };
  assert.equal(await address(), "10.96.0.5 5");
  store.delete(SERVICES, "default", "api");
  await until(async () => (await address()) === undefined);
  store.create(SERVICES, service("10.96.0.6"));
  await until(async () => (await address()) !== undefined);
  assert.equal(await address(), "10.96.0.6 5");
  assert.ok(made);
  // With the API server away a source that is opened anew would not be synced.
  await api.close();
  writeFileSync(path, corefile(7));
  await server.reload();
  assert.equal(await address(), "10.96.0.6 7");
});
