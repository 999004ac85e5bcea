// Services with a selector → EndpointSlices.
import { isDeepStrictEqual } from "node:util";
import { calculateEndpointSlices, type EndpointSlice, type Node, type Pod, type Service } from "../../resources/index.ts";
import { type Controller, type ControllerContext, keyOf, REF, splitKey } from "./context.ts";
import { createQueue } from "./queue.ts";

const TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time";

/** Keeps the slices of every Service. */
export function endpointSliceController(context: ControllerContext): Controller {
  const services = new Map<string, Map<string, Service>>();
  const slices = new Map<string, Map<string, EndpointSlice>>();
  const queue = createQueue("endpointslice", (key) => reconcile(key), context.log);

  function reconcile(key: string): void {
    const [namespace = "", name] = splitKey(key);
    const service = services.get(namespace)?.get(name);
    const present = new Map(slices.get(key));
    if (service?.spec.selector) {
      const selected: Pod[] = [];
      for (const pod of context.pods.inNamespace(namespace)) if (selects(service, pod)) selected.push(pod);
      const node = (nodeName: string) => context.store.get<Node>(REF.nodes, undefined, nodeName);
      for (const slice of calculateEndpointSlices(service, { pods: selected, node })) {
        const before = present.get(slice.metadata.name);
        present.delete(slice.metadata.name);
        if (before && isSame(before, slice)) continue;
        // From this, how long the way to the nodes' kernels is (kubeproxy_network_programming_duration_seconds) is measured.
        const annotations = { ...before?.metadata.annotations, [TRIGGER]: new Date().toISOString() };
        const metadata = { ...before?.metadata, ...slice.metadata, annotations };
        if (before) context.store.update(REF.endpointSlices, { ...before, ...slice, metadata });
        else context.store.create(REF.endpointSlices, { ...slice, metadata });
      }
    }
    for (const slice of present.values()) context.store.delete(REF.endpointSlices, slice.metadata.namespace, slice.metadata.name);
  }

  context.watch(REF.services, ({ type, object }) => {
    const { namespace = "", name } = object.metadata;
    const names = services.get(namespace) ?? new Map<string, Service>();
    if (type === "DELETED") names.delete(name);
    else names.set(name, object as Service);
    if (names.size > 0) services.set(namespace, names);
    else services.delete(namespace);
    queue.add(keyOf(object));
  });
  context.watch(REF.endpointSlices, ({ type, object }) => {
    const slice = object as EndpointSlice;
    // Slices that others made (a Service without selector) are not ours to keep.
    if (slice.metadata.labels?.["endpointslice.kubernetes.io/managed-by"] !== "endpointslice-controller.k8s.io") return;
    const key = `${slice.metadata.namespace}/${slice.metadata.labels["kubernetes.io/service-name"]}`;
    const names = slices.get(key) ?? new Map<string, EndpointSlice>();
    if (type === "DELETED") names.delete(slice.metadata.name);
    else names.set(slice.metadata.name, slice);
    if (names.size > 0) slices.set(key, names);
    else slices.delete(key);
    queue.add(key);
  });
  const known = new Map<string, Pod>();
  context.watch(REF.pods, ({ type, object }) => {
    const pod = object as Pod;
    const before = known.get(keyOf(pod));
    if (type === "DELETED") known.delete(keyOf(pod));
    else known.set(keyOf(pod), pod);
    for (const service of services.get(pod.metadata.namespace ?? "")?.values() ?? []) {
      if (selects(service, pod) || (before && selects(service, before))) queue.add(keyOf(service));
    }
  });
  return queue;
}

function selects(service: Service, pod: Pod): boolean {
  const selector = service.spec.selector;
  if (!selector) return false;
  for (const key in selector) if (pod.metadata.labels?.[key] !== selector[key]) return false;
  return true;
}

function isSame(a: EndpointSlice, b: EndpointSlice): boolean {
  return isDeepStrictEqual(
    [a.endpoints, a.ports, a.addressType, a.metadata.labels],
    [b.endpoints, b.ports, b.addressType, b.metadata.labels],
  );
}
