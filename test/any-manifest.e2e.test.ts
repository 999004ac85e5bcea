// Any manifest can be applied as it is: every pod becomes Ready, every port of every Service answers from a pod.
//
// Further manifests: FAIRLEAD_DEMOS=/path/one.yaml:/path/folder node --test test/any-manifest.e2e.test.ts
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, describe, test } from "node:test";
import type { LabStatus, MatrixAnswer, ProbeResult } from "../src/lab/index.ts";
import { makePlace } from "./fairlead.ts";
import { eventually } from "./patience.ts";

const HARBOUR = join(import.meta.dirname, "../examples/harbour");
const demos = (process.env.FAIRLEAD_DEMOS ?? "").split(":").filter((path) => path !== "");
const place = makePlace();

/** Service ports that answer to none of the pods that ask. A policy may keep some of them out, so others are asked as well. */
async function silentPorts(status: LabStatus): Promise<ProbeResult[]> {
  const services = status.services.filter(
    (service) =>
      service.type !== "ExternalName" && service.ports.length > 0 && `${service.namespace}/${service.name}` !== "default/kubernetes",
  );
  const to = services.map((service) => `svc/${service.namespace}/${service.name}`);
  const ready = status.pods.filter((pod) => pod.ready && pod.namespace !== "kube-system");
  let silent: readonly ProbeResult[] | undefined;
  // Every pod in turn, until each port has answered one of them.
  for (const pod of ready.length > 0 ? ready : status.pods.filter((each) => each.ready)) {
    const { pairs } = await place.json<MatrixAnswer>("matrix", "--from", `${pod.namespace}/${pod.name}`, "--to", ...to);
    const failed = pairs.filter((pair) => pair.verdict !== "connected");
    assert.ok(pairs.length >= services.flatMap((service) => service.ports).length, "every port was tried");
    const names = new Set(failed.map(portName));
    silent = silent?.filter((pair) => names.has(portName(pair))) ?? failed;
    if (silent.length === 0) return [];
  }
  return [...(silent ?? [])];
}

const portName = ({ to, port, protocol }: ProbeResult) => `${to}:${port}/${protocol}`;

async function applyAndTry(path: string): Promise<{ status: LabStatus; err: string }> {
  const run = await place.fairlead("lab", "up", path, "--timeout", "60", "-o", "json");
  assert.equal(run.status, 0, run.err);
  const status = JSON.parse(run.out) as LabStatus;
  assert.deepEqual(
    status.pods.filter((pod) => !pod.ready && pod.status !== "Succeeded").map((pod) => `${pod.namespace}/${pod.name}: ${pod.status}`),
    [],
  );
  assert.deepEqual((await silentPorts(status)).map(portName), []);
  return { status, err: run.err };
}

describe("any manifest", () => {
  after(() => place.close());

  test("the harbour: ten services with everything that manifests have", async () => {
    const { status, err } = await applyAndTry(HARBOUR);
    const pods = (prefix: string) => status.pods.filter((pod) => pod.name.startsWith(`${prefix}-`) && pod.namespace === "harbour");
    assert.equal(pods("beacon").length, status.nodes.length, "a DaemonSet's pod on every node");
    assert.deepEqual(
      pods("ledger-db").map((pod) => pod.name),
      ["ledger-db-0", "ledger-db-1", "ledger-db-2"],
    );
    assert.equal(pods("rates-cache").length, 2, "a ReplicationController's pods");
    assert.equal(pods("tide-import").filter((pod) => pod.status === "Succeeded").length, 3, "the Job's pods ran to their end");
    // What is stored only is said, by kind and number.
    assert.match(err, /nothing in this lab acts on it: 1 Ingress, 1 HorizontalPodAutoscaler, 1 Berth/);
    // From outside, by the port that a LoadBalancer has on every node, and by the NodePort that is asked for.
    const balanced = status.services.find((service) => service.name === "gateway")?.ports[0]?.match(/^80:(\d+)\/TCP$/)?.[1];
    for (const port of [balanced, "30902"])
      assert.equal((await place.json<ProbeResult>("probe", "outside", `node/node-2:${port}`)).verdict, "connected", `node port ${port}`);
    // A StatefulSet's pod by its own name, and the policy that lets only the harbour in.
    const named = "ledger-db-1.ledger-db.harbour.svc.cluster.local:5432";
    assert.equal((await place.json<ProbeResult>("probe", "harbour/courier", named)).server, "harbour/ledger-db-1");
    assert.equal(
      (await place.json<ProbeResult>("probe", "kube-system/coredns", "harbour/ledger-db-1:5432", "--timeout", "300")).verdict,
      "timeout",
    );
  });

  test("a Service that comes later finds its port served, though no container declares it", async () => {
    const late = { apiVersion: "v1", kind: "Service", metadata: { name: "late", namespace: "harbour" } };
    const spec = { selector: { app: "tickets" }, ports: [{ port: 81, targetPort: 8181 }] };
    const file = join(place.directory, "late.json");
    writeFileSync(file, JSON.stringify({ ...late, spec }));
    await place.ok("lab", "up", file);
    assert.ok(
      await eventually(async () => (await place.json<ProbeResult>("probe", "harbour/courier", "svc/harbour/late")).verdict === "connected"),
    );
    await place.ok("lab", "down");
  });

  for (const demo of demos) {
    test(basename(demo), async () => {
      try {
        await applyAndTry(demo);
      } finally {
        await place.ok("lab", "down");
      }
    });
  }
});
