// Policies are told whether they were understood: conditions in their statuses, Events where they have none.
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import { startPolicyDuties } from "../src/agent/index.ts";
import { SqliteStore, startApiServer } from "../src/api/index.ts";
import { type ClusterWriter, sourceFromStore, writerToKubernetes } from "../src/cluster/index.ts";
import { storeWriter } from "../src/lab/index.ts";
import type { KubeObject } from "../src/resources/index.ts";
import { eventually } from "./patience.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });
const CILIUM = { group: "cilium.io", version: "v2", plural: "ciliumnetworkpolicies" };
const CLUSTER = { group: "policy.networking.k8s.io", version: "v1alpha2", plural: "clusternetworkpolicies" };
const KUBERNETES = { group: "networking.k8s.io", version: "v1", plural: "networkpolicies" };

interface Conditioned extends KubeObject {
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
      readonly lastTransitionTime?: string;
      readonly observedGeneration?: number;
    }[];
  };
}

interface Event extends KubeObject {
  readonly reason: string;
  readonly message: string;
  readonly involvedObject: { readonly kind: string; readonly name: string };
}

const cilium = (name: string, spec: object): KubeObject =>
  ({ apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { namespace: "default", name }, spec }) as KubeObject;
const GOOD = { endpointSelector: {}, ingress: [{ fromEntities: ["world"] }] };
const BAD = { endpointSelector: {}, ingress: [{ fromEntities: ["wrold"] }] };

for (const way of ["the store", "HTTPS"] as const)
  describe(`by ${way}`, () => {
    async function cluster(context: TestContext) {
      const store = new SqliteStore({ path: ":memory:" });
      store.create(core("namespaces"), { apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } });
      const server = way === "HTTPS" ? await startApiServer({ store, listen: { host: "127.0.0.1", port: 0 } }) : undefined;
      const remote = server && writerToKubernetes(server.kubeconfig("test"));
      const writer: ClusterWriter = remote ?? storeWriter(store);
      const problems: string[] = [];
      const source = sourceFromStore(store);
      const duties = startPolicyDuties({ source, writer, log: (message) => void problems.push(message), patience: 10 });
      context.after(async () => {
        duties.close();
        remote?.close();
        source.close();
        await server?.close();
        store.close();
      });
      return {
        store,
        problems,
        condition: (name: string) =>
          store.get<Conditioned>(CILIUM, "default", name)?.status?.conditions?.find(({ type }) => type === "Valid"),
        events: () => store.list<Event>(core("events")).items,
      };
    }

    test("a policy says whether it is valid, where not, and stays so; others' conditions stay", async (context) => {
      const { store, problems, condition } = await cluster(context);
      store.create(CILIUM, cilium("good", GOOD));
      const made = store.create<Conditioned>(CILIUM, cilium("bad", BAD));
      store.update(CILIUM, { ...made, status: { conditions: [{ type: "Others", status: "True" }] } } as Conditioned, {
        subresource: "status",
      });
      assert.ok(
        await eventually(async () => condition("good")?.status === "True" && condition("bad")?.status === "False"),
        problems.join(),
      );
      assert.equal(condition("bad")?.reason, "NotUnderstood");
      assert.match(condition("bad")?.message ?? "", /^spec\.ingress\[0\]\.fromEntities\[0\]: "wrold" is no entity/);
      assert.match(condition("bad")?.lastTransitionTime ?? "", /^\d{4}-\d\d-\d\dT[\d:]+Z$/);
      const bad = store.get<Conditioned>(CILIUM, "default", "bad");
      assert.deepEqual(
        bad?.status?.conditions?.map(({ type }) => type),
        ["Others", "Valid"],
      );
      store.update(CILIUM, { ...(bad as Conditioned), spec: GOOD } as Conditioned);
      assert.ok(await eventually(async () => condition("bad")?.status === "True"), problems.join());
      const version = () => store.get(CILIUM, "default", "bad")?.metadata.resourceVersion;
      const settled = version();
      await new Promise((resolve) => setTimeout(resolve, 300));
      assert.equal(version(), settled, "what is written is not written again");
    });

    test("a cluster-wide policy says of which generation", async (context) => {
      const { store, problems } = await cluster(context);
      const spec = {
        tier: "Admin",
        priority: 7,
        subject: { namespaces: {} },
        ingress: [{ action: "Perhaps", from: [{ namespaces: {} }] }],
      };
      store.create(CLUSTER, {
        apiVersion: "policy.networking.k8s.io/v1alpha2",
        kind: "ClusterNetworkPolicy",
        metadata: { name: "c" },
        spec,
      } as KubeObject);
      const read = () => store.get<Conditioned>(CLUSTER, undefined, "c");
      assert.ok(await eventually(async () => read()?.status?.conditions?.[0]?.status === "False"), problems.join());
      assert.match(read()?.status?.conditions?.[0]?.message ?? "", /spec\.ingress\[0\]\.action: "Perhaps" is no action/);
      assert.equal(read()?.status?.conditions?.[0]?.observedGeneration, read()?.metadata.generation);
    });

    test("a NetworkPolicy has no status: an Event says it", async (context) => {
      const { store, problems, events } = await cluster(context);
      const metadata = { namespace: "default", name: "n" };
      const spec = { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["192.168.0.0/16"] } }] }] };
      store.create(KUBERNETES, { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata, spec } as KubeObject);
      assert.ok(await eventually(async () => events().length > 0), problems.join());
      const [event] = events();
      assert.deepEqual([event?.reason, event?.involvedObject.kind, event?.involvedObject.name], ["NotUnderstood", "NetworkPolicy", "n"]);
      assert.match(
        event?.message ?? "",
        /^spec\.ingress\[0\]\.from\[0\]\.ipBlock\.except\[0\]: "192\.168\.0\.0\/16" lies not strictly within/,
      );
    });
  });
