// The kinds' rules in the API: what kubectl says of a bad object, and what a short one becomes.
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { KubeObject } from "../resources/index.ts";
import { ApiError, kindRules, SqliteStore, serviceAddresses, startApiServer } from "./index.ts";

const SERVICES = { group: "", version: "v1", plural: "services" };
const NAMESPACES = { group: "", version: "v1", plural: "namespaces" };

function openStore(): SqliteStore {
  const store = new SqliteStore({ path: ":memory:", rules: kindRules, hooks: [serviceAddresses({ serviceCidrs: ["10.96.0.0/12"] })] });
  store.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } });
  return store;
}

function service(spec: unknown, name = "x"): KubeObject {
  return { apiVersion: "v1", kind: "Service", metadata: { name, namespace: "default" }, spec } as KubeObject;
}

test("a stored Service has its defaults and its addresses", () => {
  const store = openStore();
  const { spec } = store.create(SERVICES, service({ type: "NodePort", ports: [{ port: 80 }] })) as unknown as {
    spec: { clusterIP: string; externalTrafficPolicy: string; ports: { nodePort: number; targetPort: number }[] };
  };
  assert.match(spec.clusterIP, /^10\./);
  assert.equal(spec.externalTrafficPolicy, "Cluster");
  assert.equal(spec.ports[0]?.targetPort, 80);
  assert.ok((spec.ports[0]?.nodePort ?? 0) >= 30_000);
  store.close();
});

test("a bad object is refused with a cause for each field, and leaves the others alone", () => {
  const store = openStore();
  for (const spec of [{ ports: 5 }, "spec", { clusterIP: "nonsense", ports: [{ port: 80 }] }, { ports: [{ port: 0 }, 7] }]) {
    assert.throws(
      () => store.create(SERVICES, service(spec)),
      (error) => error instanceof ApiError && error.reason === "Invalid" && (error.details?.causes?.length ?? 0) > 0,
    );
  }
  const made = store.create(SERVICES, service({ ports: [{ port: 80 }] }));
  const changed = { ...made, spec: { clusterIP: "10.96.9.9", ports: [{ port: 80 }] } } as KubeObject;
  assert.throws(() => store.update(SERVICES, changed), /spec.clusterIP: Invalid value: "10.96.9.9": may not change once set/);
  store.close();
});

const absent = spawnSync("kubectl", ["version", "--client"]).error ? "kubectl is not on this machine: nothing here was tested" : false;

test("kubectl tells the field and the fault", { skip: absent }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "api-rules-"));
  const store = openStore();
  const server = await startApiServer({ store, listen: { host: "127.0.0.1", port: 0 } });
  t.after(async () => {
    await server.close();
    store.close();
    rmSync(folder, { recursive: true });
  });
  const config = join(folder, "config");
  writeFileSync(config, server.kubeconfig("test"));
  const apply = (object: object): Promise<string> =>
    new Promise((resolve) => {
      const child = execFile(
        "kubectl",
        ["--kubeconfig", config, "--cache-dir", join(folder, "cache"), "apply", "-f", "-"],
        { timeout: 120_000 },
        (_error, stdout, stderr) => resolve(stdout + stderr),
      );
      child.stdin?.end(JSON.stringify(object));
    });
  const says = await apply(service({ type: "NodePort", ports: [{ port: 80, nodePort: 80 }] }));
  assert.ok(
    says.startsWith('The Service "x" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range.'),
    says,
  );
  const good = service({ type: "NodePort", ports: [{ port: 80, nodePort: 30080 }] });
  assert.match(await apply(good), /service\/x created/);
  assert.match(await apply(good), /service\/x unchanged/);
  // Back and forth: what only the other type needed goes.
  for (const spec of [
    { type: "ClusterIP", ports: [{ port: 80 }] },
    { type: "ExternalName", externalName: "a.example" },
    { ports: [{ port: 80 }] },
  ])
    assert.match(await apply(service(spec)), /service\/x configured/, JSON.stringify(spec));
  const { spec } = store.get(SERVICES, "default", "x") as unknown as { spec: Record<string, unknown> };
  assert.deepEqual(
    Object.keys(spec).sort().join(),
    "clusterIP,clusterIPs,internalTrafficPolicy,ipFamilies,ipFamilyPolicy,ports,sessionAffinity,type",
  );
});
