// The real kubectl against the embedded server: what people type, and what it prints.
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { SqliteStore, startApiServer } from "./index.ts";

const absent = spawnSync("kubectl", ["version", "--client"]).error ? "kubectl is not on this machine: nothing here was tested" : false;

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx, env: [{name: A, value: "1"}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
`;

test("kubectl works on the embedded server", { skip: absent }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "api-kubectl-"));
  const store = new SqliteStore({ path: ":memory:" });
  const server = await startApiServer({ store, listen: { host: "127.0.0.1", port: 0 } });
  const config = join(folder, "config");
  const manifest = join(folder, "web.yaml");
  writeFileSync(config, server.kubeconfig("test"));
  writeFileSync(manifest, deployment);
  writeFileSync(manifest.replace("web", "more"), deployment.replace("replicas: 2", "replicas: 9"));
  store.create({ group: "", version: "v1", plural: "namespaces" }, { apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } });
  const kubectl = (...args: string[]): Promise<string> =>
    new Promise((resolve, reject) => {
      execFile(
        "kubectl",
        ["--kubeconfig", config, "--cache-dir", join(folder, "cache"), ...args],
        { timeout: 120_000 },
        (error, stdout, stderr) => (error ? reject(new Error(`kubectl ${args.join(" ")}: ${stderr}`)) : resolve(stdout)),
      );
    });
  t.after(async () => {
    await server.close();
    store.close();
    rmSync(folder, { recursive: true });
  });
  const steps: readonly (readonly [string, RegExp])[] = [
    ["version", /Server Version: v1\.35\.0-fairlead/],
    ["api-resources", /deployments +deploy +apps\/v1 +true +Deployment/],
    ["create namespace shop", /namespace\/shop created/],
    [`apply -n shop -f ${manifest}`, /deployment.apps\/web created\nservice\/web created/],
    [`apply -n shop -f ${manifest}`, /deployment.apps\/web unchanged\nservice\/web unchanged/],
    ["get deploy -n shop", /^NAME +READY +UP-TO-DATE +AVAILABLE +AGE\nweb +0\/2 +0 +0 +\d+s/],
    ["get deploy -n shop -o wide", /CONTAINERS +IMAGES +SELECTOR\nweb .* web +nginx +app=web/],
    ["get svc web -n shop -o yaml", /kind: Service\n/],
    ["get all -A", /service\/web/],
    ["scale deploy web -n shop --replicas 5", /scaled/],
    ["set image deploy/web -n shop web=nginx:2", /image updated/],
    ["get deploy web -n shop -o jsonpath={.spec.replicas}/{.spec.template.spec.containers[0].image}", /^5\/nginx:2$/],
    ["label deploy web -n shop tier=front", /labeled/],
    ["annotate deploy web -n shop note=x", /annotated/],
    ["get deploy -n shop -l tier=front -o name", /^deployment.apps\/web$/m],
    ['patch deploy web -n shop --type json -p [{"op":"replace","path":"/spec/replicas","value":1}]', /patched/],
    ["describe deploy web -n shop", /Image: +nginx:2/],
    [
      'patch deploy web -n shop --subresource status --type merge -p {"status":{"observedGeneration":9,"replicas":1,"updatedReplicas":1,"availableReplicas":1,"readyReplicas":1,"conditions":[{"type":"Available","status":"True"}]}}',
      /patched/,
    ],
    ["rollout status deploy web -n shop", /successfully rolled out/],
    ["wait deploy web -n shop --for condition=Available --timeout 60s", /condition met/],
    [`apply -n shop --server-side --field-manager other --force-conflicts -f ${manifest}`, /deployment.apps\/web serverside-applied/],
    ["get deploy web -n shop --show-managed-fields -o jsonpath={.metadata.managedFields[*].manager}", /other/],
    ["get deploy web -n shop -o jsonpath={.spec.replicas}", /^2$/],
    ["scale deploy web -n shop --replicas 7", /scaled/],
    [`apply -n shop --server-side -f ${manifest} --force-conflicts`, /service\/web serverside-applied/],
    [`diff -n shop --server-side -f ${manifest} --force-conflicts`, /^$/],
    ["delete deploy web -n shop", /deleted/],
    ["delete svc --all -n shop", /deleted/],
    ["get svc -n shop --ignore-not-found", /^$/],
  ];
  for (const [command, expected] of steps) {
    if (command.startsWith("delete deploy"))
      await assert.rejects(
        kubectl("apply", "-n", "shop", "--server-side", "--field-manager", "third", "-f", manifest.replace("web", "more")),
        {
          message: /conflict with "other" using apps\/v1: \.spec\.replicas|conflicts with "other"|Apply failed with/,
        },
      );
    assert.match(await kubectl(...command.split(" ")), expected, command);
  }
  await assert.rejects(kubectl("get", "pod", "nobody"), /Error from server \(NotFound\): pods "nobody" not found/);
});
