// Rolling updates under constant load: with readiness probes and preStop hooks, as Kubernetes' documentation advises, no request fails;
// without them some do, so that the test is known to see it.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { createLinuxKernel } from "../src/kernel/index.ts";
import type { ExecPlace, LabStatus } from "../src/lab/index.ts";
import { callRpc } from "../src/lab/index.ts";
import { kubectls } from "./clients.ts";
import { makePlace } from "./fairlead.ts";
import { askAnew, askOnOne, LoadBook } from "./http-load.ts";
import { eventually } from "./patience.ts";

const NODES = ["node-1", "node-2"] as const;
const PORT = 8080;
const NODE_PORT = 30_081;
/** How long a program takes from its start to its port. */
const START_MS = 400;
const SERVER = join(import.meta.dirname, "programs/web-server.ts");
const MIN_REQUESTS = 500;
const GENTLE = {
  readinessProbe: { httpGet: { path: "/", port: PORT }, periodSeconds: 1, timeoutSeconds: 5 },
  lifecycle: { preStop: { sleep: { seconds: 3 } } },
};
const PROGRAM = { command: [process.execPath, SERVER, String(PORT), String(START_MS)] };

/** Deployments under load: a responder, a program with what the documentation advises, the same program without. */
const WORKLOADS: Readonly<Record<string, object>> = {
  responder: { ...GENTLE, ports: [{ containerPort: PORT }] },
  program: { ...GENTLE, ...PROGRAM },
  bare: PROGRAM,
};
const NAMES = Object.keys(WORKLOADS);

function objects(): object[] {
  const metadata = (name: string) => ({ name, namespace: "roll" });
  const deployment = (name: string) => ({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: metadata(name),
    spec: {
      replicas: 3,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: { containers: [{ name: "web", image: "web:1", ...WORKLOADS[name] }] },
      },
    },
  });
  const service = (name: string) => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: metadata(name),
    spec: {
      selector: { app: name },
      type: name === "responder" ? "NodePort" : "ClusterIP",
      ports: [{ port: 80, targetPort: PORT, ...(name === "responder" ? { nodePort: NODE_PORT } : {}) }],
    },
  });
  const client = (node: string) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: metadata(`client-${node}`),
    spec: { nodeName: node, terminationGracePeriodSeconds: 0, containers: [{ name: "client", image: "client" }] },
  });
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "roll" } };
  return [namespace, ...NAMES.flatMap((name) => [deployment(name), service(name)]), ...NODES.map(client)];
}

const [client] = kubectls();
const skip = client ? false : "NOT RUN: no kubectl is on this machine, and scripts/clients.sh brought none";

for (const mode of ["nftables", "iptables"] as const)
  describe(`rolling updates under load, Services by ${mode}`, { skip }, () => {
    const place = makePlace();
    const kernel = createLinuxKernel();
    const closers: (() => void)[] = [];
    const books = new Map(NAMES.map((name) => [name, new LoadBook()]));
    const kept = new LoadBook();
    const stop = new AbortController();
    let config = "";
    let load: Promise<unknown> = Promise.resolve();
    let first: readonly string[] = [];

    const kubectl = async (...words: string[]) => {
      const flags = [`--kubeconfig=${config}`, `--cache-dir=${place.directory}/cache`, "--namespace=roll"];
      const { status, out, err } = await place.run(client?.program ?? "", [...flags, ...words]);
      assert.equal(status, 0, `kubectl ${words.join(" ")}\n${out}${err}`);
      return out;
    };
    const serving = async () =>
      (await kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.name}")).split(" ").filter((name) => !name.startsWith("client-"));
    const answeredBy = async (names: readonly string[]) => {
      const answered = () => [...books.values(), kept].flatMap((book) => [...book.answeredBy]);
      for (const name of names)
        assert.ok(await eventually(async () => answered().includes(name)), `${name} has answered: ${answered().join(" ")}`);
    };
    const rolled = () => Promise.all(NAMES.map((name) => kubectl("rollout", "status", `deployment/${name}`, "--timeout=60s")));

    before(async () => {
      const file = join(place.directory, "roll.json");
      writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items: objects() }));
      await place.ok("lab", "up", file, "--nodes", String(NODES.length), "--services", mode);
      config = (await place.ok("lab", "kubeconfig")).trim();
      const status = await place.json<LabStatus>("lab", "status");
      const netns = async (what: string) => {
        const { netns } = await callRpc<ExecPlace>(join(place.directory, "lab/daemon.sock"), "place", { what });
        const namespace = kernel.openNamespace(netns);
        closers.push(() => namespace.close());
        return namespace;
      };
      first = await serving();
      const running: Promise<unknown>[] = [];
      const inPods = await Promise.all(NODES.map((node) => netns(`roll/client-${node}`)));
      for (const [name, book] of books) {
        const address = status.services.find((service) => service.namespace === "roll" && service.name === name)?.clusterIP ?? "";
        const whoOf = (body: string) => (name === "responder" ? (JSON.parse(body).pod as string).replace("roll/", "") : body.trim());
        for (const namespace of inPods) {
          running.push(askAnew({ namespace, address, port: 80, book, whoOf }, stop.signal));
          if (name !== "bare") running.push(askOnOne({ namespace, address, port: 80, book: kept, whoOf, pauseMs: 20 }, stop.signal));
        }
        if (name !== "responder") continue;
        const outside = await netns("outside");
        const [node = ""] = status.nodes[1]?.addresses[0]?.split("/") ?? [];
        running.push(askAnew({ namespace: outside, address: node, port: NODE_PORT, book, whoOf }, stop.signal));
      }
      load = Promise.all(running);
      // A program may not listen yet when its pod without a probe is "ready": who asks it is refused, and this is nobody's fault.
      await answeredBy(first);
      books.get("bare")?.failures.splice(0);
    });
    after(async () => {
      stop.abort();
      await load;
      for (const close of closers) close();
      await place.close();
    });

    test("images, restarts and numbers of replicas change", async () => {
      const all = (...words: string[]) => Promise.all(NAMES.map((name) => kubectl(...words.map((word) => word.replace("NAME", name)))));
      await all("set", "image", "deployment/NAME", "web=web:2");
      await rolled();
      await all("scale", "deployment/NAME", "--replicas=5");
      await rolled();
      await all("rollout", "restart", "deployment/NAME");
      await rolled();
      await all("scale", "deployment/NAME", "--replicas=2");
      await rolled();
      await all("scale", "deployment/NAME", "--replicas=3");
      await rolled();
      assert.ok(await eventually(async () => (await serving()).length === 3 * NAMES.length), "old pods are gone");
      const now = await serving();
      assert.deepEqual(
        now.filter((name) => first.includes(name)),
        [],
        "no pod of the beginning is there any more",
      );
      await answeredBy(now);
      const enough = () => [...books.values()].every(({ requests }) => requests >= MIN_REQUESTS);
      assert.ok(await eventually(async () => enough()), "enough requests were made to tell");
    });

    test("not one request failed where pods say when they are ready, and wait before they end", async (t) => {
      stop.abort();
      await load;
      for (const name of ["responder", "program"]) {
        const { requests, failures } = books.get(name) ?? new LoadBook();
        t.diagnostic(`${name}: ${requests} requests on connections of their own, ${failures.length} failed`);
        assert.deepEqual(failures.slice(0, 20), [], name);
      }
    });

    test("kept connections end in order", (t) => {
      t.diagnostic(`${kept.requests} requests on kept connections, ${kept.endedInOrder} connections were ended by their server`);
      assert.deepEqual(kept.failures.slice(0, 20), []);
      assert.ok(kept.endedInOrder >= 4, `${kept.endedInOrder} ended`);
    });

    test("the same load sees requests fail where pods do neither", (t) => {
      const { requests, failures } = books.get("bare") ?? new LoadBook();
      t.diagnostic(`bare: ${requests} requests, ${failures.length} failed`);
      assert.ok(failures.length > 0);
    });
  });
