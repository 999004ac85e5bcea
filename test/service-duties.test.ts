// What is done once for a cluster, by writes into the store and over HTTPS: load balancers' addresses, Events, the Lease.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { holdLease, startServiceDuties } from "../src/agent/index.ts";
import { SqliteStore, serviceAddresses, startApiServer } from "../src/api/index.ts";
import { type ClusterWriter, sourceFromStore, writerToKubernetes } from "../src/cluster/index.ts";
import { storeWriter } from "../src/lab/index.ts";
import type { KubeObject, Service, ServiceSpec } from "../src/resources/index.ts";
import { eventually } from "./patience.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });
const LEASES = { group: "coordination.k8s.io", version: "v1", plural: "leases" };
const SETTINGS: KubeObject & Record<string, unknown> = {
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { namespace: "kube-system", name: "fairlead" },
  data: { loadBalancerPools: "192.0.2.0/31" },
};
const named = (name: string, spec: ServiceSpec): Service => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { namespace: "default", name },
  spec,
});

interface Event extends KubeObject {
  readonly reason: string;
  readonly message: string;
  readonly count: number;
  readonly involvedObject: { readonly kind: string; readonly name: string; readonly uid: string };
}

for (const way of ["the store", "HTTPS"] as const)
  describe(`by ${way}`, () => {
    async function cluster() {
      const store = new SqliteStore({ path: ":memory:", hooks: [serviceAddresses({ serviceCidrs: ["10.96.0.0/16"] })] });
      for (const name of ["default", "kube-system"])
        store.create(core("namespaces"), { apiVersion: "v1", kind: "Namespace", metadata: { name } });
      store.create(core("configmaps"), SETTINGS);
      const server = way === "HTTPS" ? await startApiServer({ store, listen: { host: "127.0.0.1", port: 0 } }) : undefined;
      const remote = server && writerToKubernetes(server.kubeconfig("test"));
      const writer: ClusterWriter = remote ?? storeWriter(store);
      const problems: string[] = [];
      const source = sourceFromStore(store);
      return {
        store,
        writer,
        problems,
        source,
        log: (message: string) => void problems.push(message),
        addressOf: (name: string) => store.get<Service>(core("services"), "default", name)?.status?.loadBalancer?.ingress?.[0]?.ip,
        events: () => store.list<Event>(core("events")).items,
        async close() {
          remote?.close();
          source.close();
          await server?.close();
          store.close();
        },
      };
    }

    test("an address is given, kept, taken back and given to the next; what can't be is told in an Event, once", async () => {
      const { store, writer, problems, source, log, addressOf, events, close } = await cluster();
      const duties = startServiceDuties({ source, writer, log });
      const services = core("services");
      const balanced = (name: string, spec: ServiceSpec = {}) =>
        store.create(services, named(name, { type: "LoadBalancer", ports: [{ port: 80 }], ...spec }));
      try {
        balanced("a");
        assert.ok(await eventually(async () => addressOf("a") === "192.0.2.0"));
        balanced("b");
        balanced("c");
        assert.ok(await eventually(async () => addressOf("b") === "192.0.2.1" && events().length === 1));
        const [first] = events();
        assert.equal(first?.reason, "NoAddressLeft");
        assert.deepEqual([first.involvedObject.kind, first.involvedObject.name], ["Service", "c"]);
        assert.match(first.message, /widen loadBalancerPools/);
        store.delete(services, "default", "a");
        assert.ok(await eventually(async () => addressOf("c") === "192.0.2.0"));
        // The same once more: it is counted, not repeated.
        store.delete(services, "default", "c");
        balanced("d", { loadBalancerIP: "203.0.113.1" });
        assert.ok(await eventually(async () => events().length === 2));
        const refused = events().find(({ reason }) => reason === "AddressRefused");
        assert.equal(refused?.count, 1);
        const d = store.get<Service>(services, "default", "d") as Service;
        store.update(services, { ...d, spec: { ...d.spec, loadBalancerIP: "192.0.2.0" } });
        assert.ok(await eventually(async () => addressOf("d") === "192.0.2.0"));
        const back = store.get<Service>(services, "default", "d") as Service;
        store.update(services, { ...back, spec: { ...back.spec, loadBalancerIP: "203.0.113.1" } });
        assert.ok(await eventually(async () => events().find(({ reason }) => reason === "AddressRefused")?.count === 2));
        assert.equal(addressOf("d"), undefined, "an address that it no longer asks for is given back");
        assert.equal(events().length, 2);
        assert.deepEqual(problems, []);
      } finally {
        duties.close();
        await close();
      }
    });

    test("bad input is told at the object, and everything else goes on", async () => {
      const { store, writer, problems, source, log, addressOf, events, close } = await cluster();
      const services = core("services");
      const ports = [{ port: 80 }];
      store.create(services, named("first", { externalIPs: ["203.0.113.1"], ports }));
      store.create(services, named("second", { externalIPs: ["203.0.113.1", "2001:db8::1"], ports }));
      store.create(services, named("astray", { selector: { app: "wbe" }, ports }));
      store.create(services, named("found", { selector: { app: "web" }, type: "LoadBalancer", ports }));
      const slices = { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" };
      store.create(slices, {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { namespace: "default", name: "found-1", labels: { "kubernetes.io/service-name": "found" } },
        addressType: "IPv4",
        endpoints: [{ addresses: ["10.244.0.7"] }, { addresses: ["fd00::7"] }],
        ports: [{ port: 8080, protocol: "TCP" }],
      } as KubeObject);
      const duties = startServiceDuties({ source, writer, log, patience: { NoEndpoints: 50, other: 10 } });
      try {
        const told = () =>
          events()
            .map(({ involvedObject, reason }) => `${involvedObject.name} ${reason}`)
            .sort()
            .join(", ");
        assert.ok(
          await eventually(async () => told() === "astray NoEndpoints, found InvalidEndpoint, second AddressInUse, second FamilyMismatch"),
          told(),
        );
        for (const { involvedObject, message } of events()) {
          assert.equal(involvedObject.uid, store.get(services, "default", involvedObject.name)?.metadata.uid);
          assert.match(message, /;|already|left out/, "what, why, and what to do");
        }
        assert.ok(await eventually(async () => addressOf("found") !== undefined), "the others are served");
        assert.deepEqual(problems, []);
      } finally {
        duties.close();
        await close();
      }
    });

    test("the Lease has one holder; who gives it back or falls silent makes way for another", async () => {
      const { store, writer, problems, log, close } = await cluster();
      const place = { resource: LEASES, namespace: "kube-system", name: "fairlead" };
      const holds: string[] = [];
      const candidate = (identity: string, over: ClusterWriter = writer) =>
        holdLease({
          writer: over,
          place,
          identity,
          seconds: 1,
          log,
          held: () => {
            holds.push(identity);
            return () => void holds.splice(holds.indexOf(identity), 1);
          },
        });
      const holder = () =>
        (store.get(LEASES, "kube-system", "fairlead") as { spec?: { holderIdentity?: string } } | undefined)?.spec?.holderIdentity;
      let cut = false;
      const dead = async () => Promise.reject(new Error("cut off"));
      const mortal: ClusterWriter = {
        get: (where) => (cut ? dead() : writer.get(where)),
        create: (where, object) => (cut ? dead() : writer.create(where, object)),
        patch: (where, patch) => (cut ? dead() : writer.patch(where, patch)),
      };
      const a = candidate("a", mortal);
      try {
        assert.ok(await eventually(async () => holds.join() === "a"));
        const b = candidate("b");
        await new Promise((resolve) => setTimeout(resolve, 1600));
        assert.deepEqual([holds, holder()], [["a"], "a"], "it is held as long as it is renewed");
        cut = true;
        assert.ok(await eventually(async () => holds.join() === "b"), `${holds}`);
        assert.equal(holder(), "b");
        await b.close();
        assert.equal(holder(), "");
        assert.deepEqual(holds, []);
        cut = false;
        assert.ok(await eventually(async () => holds.join() === "a"));
        assert.ok(problems.every((problem) => problem.includes("cut off")));
      } finally {
        await a.close();
        await close();
      }
    });
  });
