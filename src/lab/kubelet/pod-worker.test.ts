import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Pod } from "../../resources/index.ts";
import type { KubeletContext } from "./kubelet.ts";
import { PodWorker } from "./pod-worker.ts";

/** A pod without containers that has its network; DEL fails so many times, and the clock is the test's. */
async function wiredPod(t: TestContext, failures: number): Promise<{ worker: PodWorker; dels: () => number; logged: string[] }> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-test-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  let dels = 0;
  const logged: string[] = [];
  let reported = (): void => {};
  const wired = new Promise<void>((resolve) => {
    reported = resolve;
  });
  const context = {
    podDirectory: () => join(directory, "pod"),
    resolvConf: () => "",
    domain: "cluster.local",
    hostAddresses: [],
    kernel: { createNamespace: () => ({ path: "/run/netns/pod", close: () => {} }) },
    cni: {
      add: async () => ({ ips: [{ address: "10.244.0.2/24" }] }),
      delete: async () => {
        dels++;
        if (dels <= failures) throw new Error("the agent does not answer");
      },
    },
    responders: { stop: async () => {} },
    token: async () => undefined,
    report: () => reported(),
    log: (message: string) => logged.push(message),
    now: () => "",
  } as unknown as KubeletContext;
  const worker = new PodWorker(
    { metadata: { name: "a", namespace: "b", uid: "1-2" }, spec: { containers: [] } } as unknown as Pod,
    context,
  );
  worker.start();
  await wired;
  t.mock.timers.enable({ apis: ["setTimeout"] });
  return { worker, dels: () => dels, logged };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("a pod that ends while the agent is away is taken down when it is back; one that stays away holds it up for a while only", async (t) => {
  for (const [failures, tries, words] of [
    [3, 4, []],
    [99, 9, ["CNI DEL of a: the agent does not answer"]],
  ] as const) {
    const { worker, dels, logged } = await wiredPod(t, failures);
    let over = false;
    const end = worker.end(0).then(() => {
      over = true;
    });
    for (let times = 0; times < 20 && !over; times++) {
      await turn();
      t.mock.timers.tick(5000);
    }
    await end;
    assert.equal(dels(), tries);
    assert.deepEqual(logged, words);
    t.mock.timers.reset();
  }
});

test("the end of the lab waits for nothing", async (t) => {
  const { worker, dels } = await wiredPod(t, 99);
  const end = worker.end(0);
  await turn();
  const tried = dels();
  assert.ok(tried > 0);
  worker.abandon();
  t.mock.timers.tick(5000);
  await end;
  assert.equal(dels(), tried);
});
