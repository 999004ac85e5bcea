// An unmodified helm on a lab: its own default chart, and one with a custom kind, hooks, a subchart and lookup, through their whole life.
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { helm, kubectls } from "./clients.ts";
import { makePlace } from "./fairlead.ts";
import { writeChart } from "./helm-chart.ts";
import { until } from "./patience.ts";

const [client] = kubectls();
const program = helm();
const skip = program && client ? false : "NOT RUN: scripts/clients.sh brought no helm or kubectl";

interface Revision {
  readonly revision: number;
  readonly status: string;
}

describe("helm on a lab", { skip }, () => {
  const place = makePlace();
  let environment: Record<string, string> = {};
  let chart = "";

  const tryHelm = (...words: string[]) => place.run(program ?? "", words, environment);
  const run = async (...words: string[]) => {
    const { status, out, err } = await tryHelm(...words);
    assert.equal(status, 0, `helm ${words.join(" ")}\n${out}${err}`);
    return out;
  };
  const kubectl = async (...words: string[]) => {
    const { status, out, err } = await place.run(client?.program ?? "", words, environment);
    assert.equal(status, 0, `kubectl ${words.join(" ")}\n${out}${err}`);
    return out.trim();
  };
  const history = async (release: string) => JSON.parse(await run("history", release, "-o", "json")) as Revision[];
  const states = async (release: string) => (await history(release)).map(({ revision, status }) => `${revision} ${status}`);
  const replicas = () => kubectl("get", "deploy", "quay", "-o", "jsonpath={.status.readyReplicas}");
  const key = () => kubectl("get", "secret", "quay-key", "-o", "jsonpath={.data.key}");

  before(async () => {
    await place.ok("lab", "up", "--nodes", "2");
    environment = { KUBECONFIG: (await place.ok("lab", "kubeconfig")).trim(), HOME: place.directory };
    chart = writeChart(place.directory);
    await run("create", join(place.directory, "web"));
  });
  after(() => place.close());

  test("helm's own chart: installed, tested, upgraded, rolled back, uninstalled", async () => {
    const web = join(place.directory, "web");
    assert.match(await run("install", "web", web, "--wait", "--timeout", "60s"), /STATUS: deployed/);
    assert.equal(await kubectl("get", "deploy", "web", "-o", "jsonpath={.status.readyReplicas}"), "1");
    assert.match(await run("test", "web"), /Phase: +Succeeded/);
    await run("upgrade", "web", web, "--set", "replicaCount=2", "--set", "autoscaling.enabled=true", "--wait", "--timeout", "60s");
    assert.match(await kubectl("get", "hpa", "-o", "name"), /web/);
    await run("rollback", "web", "1", "--wait", "--timeout", "60s");
    assert.deepEqual(await states("web"), ["1 superseded", "2 superseded", "3 deployed"]);
    assert.equal(await kubectl("get", "hpa", "-o", "name"), "");
    assert.match(await run("uninstall", "web", "--wait"), /release "web" uninstalled/);
    assert.equal(await kubectl("get", "deploy,svc,serviceaccount", "-l", "app.kubernetes.io/instance=web", "-o", "name"), "");
  });

  test("a custom kind, hooks and a subchart are installed in their order", async () => {
    assert.match(await run("install", "quay", chart, "--wait", "--timeout", "60s"), /STATUS: deployed/);
    assert.equal(await kubectl("get", "boat", "quay", "-o", "jsonpath={.spec.masts}"), "3");
    assert.equal(await kubectl("get", "configmap", "quay-store", "-o", "jsonpath={.data.size} {.data.of}"), "1 store");
    assert.equal(await replicas(), "2");
    assert.equal(await kubectl("get", "jobs", "-o", "name"), "", "a hook that succeeded is deleted as its policy says");
    assert.equal(await kubectl("get", "pod", "quay-announce", "-o", "jsonpath={.status.phase}"), "Succeeded");
    assert.equal(await kubectl("logs", "quay-announce"), "installed quay");
    assert.match(await run("list"), /quay\s+default\s+1\s.*deployed\s+harbour-0\.1\.0/);
    assert.match(await run("status", "quay"), /STATUS: deployed/);
    assert.match(await run("get", "manifest", "quay"), /kind: Boat/);
    assert.match(await run("get", "hooks", "quay"), /quay-prepare/);
    assert.match(await run("test", "quay"), /Phase: +Succeeded/);
  });

  test("what would be installed is shown, what is wrong is refused, and nothing is left", async () => {
    const dry = await run("install", "other", chart, "--dry-run=server");
    assert.match(dry, /kind: Boat/);
    assert.match(await run("template", "other", chart, "--validate"), /kind: Deployment/);
    const refusals: readonly (readonly [string[], RegExp])[] = [
      [["other", chart, "--set", "replicas=many"], /spec\.replicas/],
      [["other", join(place.directory, "web"), "--set", "securityContext.privilegde=true"], /unknown field "?.*privilegde/],
    ];
    for (const [words, message] of refusals) {
      const { status, out, err } = await tryHelm("install", ...words, "--rollback-on-failure", "--timeout", "60s");
      assert.notEqual(status, 0, out);
      assert.match(err, message);
    }
    assert.equal((await run("list", "-q")).trim(), "quay");
    assert.equal(await kubectl("get", "deploy,boats,secrets", "-o", "name", "--ignore-not-found", "other", "other-key"), "");
  });

  test("an upgrade keeps values and what was looked up; a rollback brings back", async () => {
    const before = await key();
    await run("upgrade", "quay", chart, "--reuse-values", "--set", "replicas=3", "--wait", "--timeout", "60s");
    await run("upgrade", "quay", chart, "--reuse-values", "--set", "image=harbour:2", "--set", "store.enabled=false", "--wait");
    assert.equal(await replicas(), "3", "the value of the upgrade before");
    assert.equal(await key(), before);
    assert.equal(await kubectl("get", "configmap", "-o", "name", "--ignore-not-found", "quay-store"), "", "the subchart is gone");
    await run("rollback", "quay", "1", "--wait", "--timeout", "60s");
    assert.equal(await kubectl("get", "deploy", "quay", "-o", "jsonpath={.spec.replicas} {..containers[0].image}"), "2 harbour:1");
    assert.equal(await kubectl("get", "configmap", "quay-store", "-o", "jsonpath={.data.size}"), "1");
    assert.deepEqual(await states("quay"), ["1 superseded", "2 superseded", "3 superseded", "4 deployed"]);
  });

  for (const flag of ["--rollback-on-failure", "--atomic"])
    test(`an upgrade that never gets ready is undone: ${flag}`, async () => {
      const failed = await tryHelm("upgrade", "quay", chart, "--set", "fails=true", flag, "--timeout", "60s");
      assert.notEqual(failed.status, 0, failed.out);
      assert.match(failed.err, /rolled back|rollback/i);
      assert.deepEqual(
        (await states("quay")).slice(-2).map((state) => state.split(" ")[1]),
        ["failed", "deployed"],
      );
      assert.equal(await kubectl("get", "deploy", "quay", "-o", "jsonpath={..containers[0].command}"), "");
      assert.equal(await kubectl("get", "deploy", "quay", "-o", "jsonpath={.status.updatedReplicas} {.status.readyReplicas}"), "2 2");
    });

  test("an install that fails leaves nothing with --rollback-on-failure", async () => {
    const failed = await tryHelm("install", "other", chart, "--set", "fails=true", "--rollback-on-failure", "--timeout", "60s");
    assert.notEqual(failed.status, 0, failed.out);
    assert.equal((await run("list", "-q")).trim(), "quay");
    assert.equal(
      await kubectl("get", "deploy,svc,boats,secrets", "-o", "name", "--ignore-not-found", "other", "other-key").catch(() => ""),
      "",
    );
  });

  test("uninstall leaves what helm leaves: the custom kind, and a hook's pod that no policy deletes", async () => {
    assert.match(await run("uninstall", "quay", "--wait", "--timeout", "60s"), /release "quay" uninstalled/);
    assert.equal((await run("list", "-q")).trim(), "");
    const own = ["service/kubernetes", "configmap/kube-root-ca.crt", "pod/quay-announce", "pod/quay-reach", "pod/web-test-connection"];
    let left: string[] = [];
    // What the Deployment owned is collected after it.
    await until(
      async () => {
        const names = await kubectl("get", "deploy,rs,pods,svc,secrets,configmaps,boats,jobs", "-o", "name");
        left = names.split("\n").filter((name) => !own.includes(name));
        return left.length === 0;
      },
      () => `nothing else is left: ${left.join(" ")}`,
    );
    assert.match(await kubectl("get", "crd", "-o", "name"), /boats\.harbour\.example/);
  });
});
