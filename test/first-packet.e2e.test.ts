// No packet before policy: pods that send from their first instant, under a policy that denies all egress.
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createLinuxKernel } from "../src/kernel/index.ts";
import type { ExecPlace } from "../src/lab/index.ts";
import { callRpc } from "../src/lab/index.ts";
import { makePlace } from "./fairlead.ts";
import { eventually } from "./patience.ts";

const STARTS = 200;
const PORT = 5555;
const place = makePlace();

/** A pod whose program sends datagrams to the outside from its first instant, as fast as it can. */
function sender(namespace: string, index: number): object {
  const script = `for i in 1 2 3 4 5 6 7 8 9 10; do echo ${namespace} > /dev/udp/198.51.100.10/${PORT}; done; exec sleep 600`;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: `sender-${index}`, namespace, labels: { app: "sender" } },
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: "c", image: "x", command: ["bash", "-c", script] }] },
  };
}

describe("a pod that sends from its first instant", () => {
  const heard = new Map<string, number>();
  let close = () => {};
  before(async () => {
    await place.ok("lab", "up", "--nodes", "2");
    const outside = await callRpc<ExecPlace>(join(place.directory, "lab/daemon.sock"), "place", { what: "outside" });
    const namespace = createLinuxKernel().openNamespace(outside.netns);
    const socket = createSocket("udp4");
    socket.on("message", (message) => {
      const from = message.toString().trim();
      heard.set(from, (heard.get(from) ?? 0) + 1);
    });
    socket.bind({ fd: namespace.bindSocket({ protocol: "udp", address: "0.0.0.0", port: PORT }) });
    close = () => {
      socket.close();
      namespace.close();
    };
  });
  after(async () => {
    close();
    await place.close();
  });

  const apply = async (name: string, objects: readonly object[]) => {
    const file = join(place.directory, name);
    writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }));
    await place.ok("lab", "up", file);
  };

  test(`is never heard under a default-deny, in ${STARTS} starts; without it, it is`, async () => {
    await apply("open.json", [{ apiVersion: "v1", kind: "Namespace", metadata: { name: "open" } }, sender("open", 0), sender("open", 1)]);
    assert.ok(await eventually(async () => (heard.get("open") ?? 0) >= 10), "the witness hears pods that are free to send");

    const deny = {
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "deny", namespace: "closed" },
      spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"] },
    };
    await apply("closed.json", [{ apiVersion: "v1", kind: "Namespace", metadata: { name: "closed" } }, deny]);
    for (let i = 0; i < STARTS; i += 50) {
      await apply(
        `batch-${i}.json`,
        Array.from({ length: 50 }, (_, index) => sender("closed", i + index)),
      );
    }
    assert.ok(await eventually(async () => (await place.fairlead("lab", "status")).status === 0));
    assert.equal(heard.get("closed") ?? 0, 0);
  });
});
