// The cluster's own upkeep: default namespaces, service accounts, deletion of namespaces, pod networks of nodes, garbage.
import { addressBits, type Family, formatAddress, type IpPrefix, networkOf, parsePrefix, prefixSize } from "../../base/index.ts";
import type { KubeObject, Namespace, Node, Pod } from "../../resources/index.ts";
import type { ResourceTable } from "../resource-table.ts";
import type { ResourceRef } from "../store.ts";
import { type Controller, type ControllerContext, REF } from "./context.ts";
import { createQueue } from "./queue.ts";

const FIRST_NAMESPACES = ["default", "kube-system", "kube-public", "kube-node-lease"];

/** Makes the first namespaces, gives each its ServiceAccount, and empties those that are deleted. */
export function namespaceController(context: ControllerContext, resources: ResourceTable): Controller {
  const queue = createQueue("namespace", (name) => reconcile(name), context.log);

  function reconcile(name: string): void {
    const namespace = context.store.get<Namespace>(REF.namespaces, undefined, name);
    if (!namespace) return;
    if (namespace.metadata.deletionTimestamp === undefined) {
      if (!context.store.get(REF.serviceAccounts, name, "default")) {
        context.store.create(REF.serviceAccounts, {
          apiVersion: "v1",
          kind: "ServiceAccount",
          metadata: { name: "default", namespace: name },
        });
      }
      return;
    }
    let left = 0;
    for (const resource of resources.all()) {
      if (!resource.namespaced) continue;
      for (const object of context.store.list(resource, { namespace: name }).items) {
        left++;
        if (object.metadata.deletionTimestamp === undefined) context.store.delete(resource, name, object.metadata.name);
      }
    }
    if (left > 0) {
      if (countOf(name) > 0) return;
      queue.add(name);
      return;
    }
    context.store.update(REF.namespaces, { ...namespace, spec: { finalizers: [] } } as Namespace, { subresource: "finalize" });
  }

  function countOf(name: string): number {
    return [...context.pods.inNamespace(name)].length;
  }

  for (const name of FIRST_NAMESPACES) {
    if (!context.store.get(REF.namespaces, undefined, name)) {
      context.store.create(REF.namespaces, {
        apiVersion: "v1",
        kind: "Namespace",
        metadata: { name, labels: { "kubernetes.io/metadata.name": name } },
      });
    }
  }
  context.watch(REF.namespaces, ({ object }) => queue.add(object.metadata.name));
  context.watch(REF.pods, ({ type, object }) => {
    if (type === "DELETED" && object.metadata.namespace !== undefined) queue.add(object.metadata.namespace);
  });
  return queue;
}

export interface PodNetworks {
  /** None: nodes get them from elsewhere. */
  readonly podCidrs: readonly string[];
  /** Prefix lengths of a node's share: 24 and 64. */
  readonly nodeMask: Readonly<Record<Family, number>>;
}

/** Gives every node its share of each pod network, in turn. */
export function podCidrController(context: ControllerContext, networks: PodNetworks): Controller {
  const taken = new Set<string>();
  const queue = createQueue("podcidr", (name) => assign(name), context.log);
  const next = new Map<string, bigint>();

  function assign(name: string): void {
    const node = context.store.get<Node>(REF.nodes, undefined, name);
    if (!node || node.spec?.podCIDRs) return;
    const podCIDRs = networks.podCidrs.map((cidr) => take(parsePrefix(cidr)));
    context.store.update(REF.nodes, { ...node, spec: { ...node.spec, podCIDR: podCIDRs[0] ?? "", podCIDRs } });
  }

  function take(network: IpPrefix): string {
    const length = networks.nodeMask[network.family];
    const step = 1n << BigInt(addressBits(network.family) - length);
    const key = `${network.family} ${network.value}`;
    const shares = prefixSize(network) / step;
    for (let i = next.get(key) ?? 0n; i < shares; i++) {
      const cidr = `${formatAddress({ family: network.family, value: networkOf(network).value + i * step })}/${length}`;
      if (taken.has(cidr)) continue;
      taken.add(cidr);
      next.set(key, i + 1n);
      return cidr;
    }
    throw new Error(`no /${length} is left in the pod network: it has ${shares}, one per node`);
  }

  context.watch(REF.nodes, ({ type, object }) => {
    const node = object as Node;
    for (const cidr of node.spec?.podCIDRs ?? []) {
      if (type === "DELETED") {
        taken.delete(cidr);
        next.clear();
      } else taken.add(cidr);
    }
    if (type !== "DELETED") queue.add(node.metadata.name);
  });
  return queue;
}

/** Deletes what belonged to an object that is gone; keeps or waits for dependents where the deletion asked for that. */
export function garbageController(context: ControllerContext, resources: ResourceTable): Controller {
  const dependents = new Map<string, Map<string, { resource: ResourceRef; object: KubeObject }>>();
  const owners = new Map<string, { resource: ResourceRef; object: KubeObject }>();
  /** The owners that an object names, by its uid. */
  const belongs = new Map<string, readonly string[]>();
  const queue = createQueue("garbage", (uid) => collect(uid), context.log);

  function collect(uid: string): void {
    const owner = owners.get(uid);
    const finalizers = owner?.object.metadata.finalizers ?? [];
    const of = [...(dependents.get(uid)?.values() ?? [])];
    if (owner && finalizers.includes("orphan")) {
      for (const { resource, object } of of) {
        const ownerReferences = (object.metadata.ownerReferences ?? []).filter((reference) => reference.uid !== uid);
        context.store.update(resource, { ...object, metadata: { ...object.metadata, ownerReferences } });
      }
      release(owner, "orphan");
    } else if (owner && finalizers.includes("foregroundDeletion")) {
      for (const { resource, object } of of) remove(resource, object);
      if (of.length === 0) release(owner, "foregroundDeletion");
    } else if (!owner) for (const { resource, object } of of) remove(resource, object);
  }

  function remove(resource: ResourceRef, object: KubeObject): void {
    if (object.metadata.deletionTimestamp === undefined) context.store.delete(resource, object.metadata.namespace, object.metadata.name);
  }

  function release({ resource, object }: { resource: ResourceRef; object: KubeObject }, finalizer: string): void {
    const finalizers = (object.metadata.finalizers ?? []).filter((each) => each !== finalizer);
    context.store.update(resource, { ...object, metadata: { ...object.metadata, finalizers } });
  }

  for (const resource of resources.all()) {
    context.watch(resource, ({ type, object }) => {
      const uid = object.metadata.uid ?? "";
      if (type === "DELETED") {
        owners.delete(uid);
        if (dependents.has(uid)) queue.add(uid);
      } else {
        owners.set(uid, { resource, object });
        if (
          object.metadata.finalizers?.some((each) => each === "orphan" || each === "foregroundDeletion") &&
          object.metadata.deletionTimestamp
        )
          queue.add(uid);
      }
      const references = object.metadata.ownerReferences ?? [];
      // Owners that it had before and has no more (it was orphaned) are not its owners.
      for (const before of belongs.get(uid) ?? [])
        if (type === "DELETED" || !references.some((reference) => reference.uid === before)) {
          const of = dependents.get(before);
          of?.delete(uid);
          if (of?.size === 0) dependents.delete(before);
        }
      if (type === "DELETED" || references.length === 0) belongs.delete(uid);
      else
        belongs.set(
          uid,
          references.map((reference) => reference.uid),
        );
      for (const reference of references) {
        const of = dependents.get(reference.uid) ?? new Map();
        if (type !== "DELETED") {
          of.set(uid, { resource, object });
          dependents.set(reference.uid, of);
        }
        const owner = owners.get(reference.uid);
        if (owner?.object.metadata.deletionTimestamp || (type === "ADDED" && !owner)) queue.add(reference.uid);
      }
    });
  }
  return queue;
}

/** Pods that no node ever ran end at once: there is nobody to end them. */
export function unboundPodController(context: ControllerContext): Controller {
  const queue = createQueue("unbound-pod", (key) => remove(key), context.log);
  function remove(key: string): void {
    const [namespace, name = ""] = key.split("/");
    const pod = context.store.get<Pod>(REF.pods, namespace, name);
    if (pod?.metadata.deletionTimestamp && !pod.spec.nodeName) context.store.delete(REF.pods, namespace, name, { gracePeriodSeconds: 0 });
  }
  context.watch(REF.pods, ({ type, object }) => {
    if (type !== "DELETED" && object.metadata.deletionTimestamp && !(object as Pod).spec.nodeName)
      queue.add(`${object.metadata.namespace}/${object.metadata.name}`);
  });
  return queue;
}
