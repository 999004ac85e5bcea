// Endpoints, the older form of EndpointSlices: made for Services with a selector, and mirrored into slices where somebody else made them.
import { isDeepStrictEqual } from "node:util";
import type { EndpointSlice, KubeObject, Service } from "../../resources/index.ts";
import { type Controller, type ControllerContext, keyOf, REF, splitKey } from "./context.ts";
import { ownerReference } from "./pods.ts";
import { createQueue } from "./queue.ts";

interface EndpointAddress {
  readonly ip: string;
  readonly hostname?: string;
  readonly nodeName?: string;
  readonly targetRef?: unknown;
}

interface Subset {
  readonly addresses?: readonly EndpointAddress[];
  readonly notReadyAddresses?: readonly EndpointAddress[];
  readonly ports?: readonly { readonly name?: string; readonly port: number; readonly protocol?: string; readonly appProtocol?: string }[];
}

interface Endpoints extends KubeObject {
  readonly subsets?: readonly Subset[];
}

const MANAGED = "endpointslice.kubernetes.io/managed-by";
const MIRROR = "endpointslicemirroring-controller.k8s.io";
const CONTROLLER = "endpointslice-controller.k8s.io";
const SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror";
const OURS = "endpoints.kubernetes.io/managed-by";
/** An Endpoints object holds so many addresses at most; the rest is in the slices alone. */
const MOST_ADDRESSES = 1000;

/** Keeps both forms the same. */
export function endpointsController(context: ControllerContext): Controller {
  const queue = createQueue("endpoints", (key) => reconcile(key), context.log);

  function reconcile(key: string): void {
    const [namespace = "", name] = splitKey(key);
    const service = context.store.get<Service>(REF.services, namespace, name);
    const endpoints = context.store.get<Endpoints>(REF.endpoints, namespace, name);
    const slices = context.store.list<EndpointSlice>(REF.endpointSlices, {
      namespace,
      labelSelector: `kubernetes.io/service-name=${name}`,
    }).items;
    if (service?.spec.selector)
      write(
        service,
        endpoints,
        slices.filter((slice) => slice.metadata.labels?.[MANAGED] === CONTROLLER),
      );
    else if (endpoints?.metadata.labels?.[OURS] !== undefined && !service) context.store.delete(REF.endpoints, namespace, name);
    const mirrored = slices.filter((slice) => slice.metadata.labels?.[MANAGED] === MIRROR);
    const wanted = service && !service.spec.selector && endpoints && isMirrored(endpoints) ? mirrors(service, endpoints) : [];
    sync(mirrored, wanted);
  }

  function write(service: Service, before: Endpoints | undefined, slices: readonly EndpointSlice[]): void {
    const subsets = subsetsOf(slices.filter(({ addressType }) => addressType === "IPv4"));
    if (before && isDeepStrictEqual(before.subsets ?? [], subsets)) return;
    const { namespace = "", name, labels } = service.metadata;
    const metadata = { name, namespace, labels: { ...labels, [OURS]: "endpoint-controller" } };
    const object = { apiVersion: "v1", kind: "Endpoints", metadata, ...(subsets.length > 0 ? { subsets } : {}) } as unknown as Endpoints;
    if (before) context.store.update(REF.endpoints, { ...object, metadata: { ...before.metadata, ...metadata } } as Endpoints);
    else context.store.create(REF.endpoints, object);
  }

  function sync(present: readonly EndpointSlice[], wanted: readonly EndpointSlice[]): void {
    for (const slice of wanted) {
      const before = present.find(({ metadata }) => metadata.name === slice.metadata.name);
      if (!before) context.store.create(REF.endpointSlices, slice);
      else if (!isDeepStrictEqual([before.endpoints, before.ports], [slice.endpoints, slice.ports]))
        context.store.update(REF.endpointSlices, { ...before, endpoints: slice.endpoints, ports: slice.ports } as EndpointSlice);
    }
    for (const slice of present)
      if (!wanted.some(({ metadata }) => metadata.name === slice.metadata.name))
        context.store.delete(REF.endpointSlices, slice.metadata.namespace, slice.metadata.name);
  }

  context.watch(REF.services, ({ object }) => queue.add(keyOf(object)));
  context.watch(REF.endpoints, ({ object }) => queue.add(keyOf(object)));
  context.watch(REF.endpointSlices, ({ object }) => {
    const service = object.metadata.labels?.["kubernetes.io/service-name"];
    if (service !== undefined) queue.add(`${object.metadata.namespace}/${service}`);
  });
  return queue;
}

function isMirrored({ metadata }: Endpoints): boolean {
  return (
    metadata.labels?.[SKIP_MIRROR] !== "true" &&
    metadata.labels?.[OURS] === undefined &&
    metadata.annotations?.["control-plane.alpha.kubernetes.io/leader"] === undefined
  );
}

/** The slices of a Service whose Endpoints somebody else keeps: one for each subset and address family. */
function mirrors(service: Service, endpoints: Endpoints): EndpointSlice[] {
  const { namespace = "", name } = service.metadata;
  return (endpoints.subsets ?? []).flatMap((subset, index) =>
    (["IPv4", "IPv6"] as const).flatMap((addressType) => {
      const of = (list: readonly EndpointAddress[] | undefined, ready: boolean) =>
        (list ?? [])
          .filter(({ ip }) => ip.includes(":") === (addressType === "IPv6"))
          .map(({ ip, hostname, nodeName, targetRef }) => ({
            addresses: [ip],
            conditions: { ready },
            ...(hostname === undefined ? {} : { hostname }),
            ...(nodeName === undefined ? {} : { nodeName }),
            ...(targetRef === undefined ? {} : { targetRef }),
          }));
      const all = [...of(subset.addresses, true), ...of(subset.notReadyAddresses, false)];
      if (all.length === 0) return [];
      return [
        {
          apiVersion: "discovery.k8s.io/v1",
          kind: "EndpointSlice",
          metadata: {
            name: `${name}-mirror-${index}${addressType === "IPv6" ? "-6" : ""}`,
            namespace,
            labels: { "kubernetes.io/service-name": name, [MANAGED]: MIRROR },
            ownerReferences: [ownerReference(endpoints)],
          },
          addressType,
          endpoints: all,
          ports: (subset.ports ?? []).map(({ name: port = "", ...rest }) => ({ name: port, protocol: "TCP", ...rest })),
        } as unknown as EndpointSlice,
      ];
    }),
  );
}

/** One subset for each set of ports. */
function subsetsOf(slices: readonly EndpointSlice[]): Subset[] {
  const subsets = new Map<string, { ports: Subset["ports"]; ready: EndpointAddress[]; unready: EndpointAddress[] }>();
  let left = MOST_ADDRESSES;
  for (const { endpoints, ports } of slices) {
    const listed = (ports ?? []).flatMap(({ name, port, protocol = "TCP", appProtocol }) =>
      port === undefined ? [] : [{ port, protocol, ...(name ? { name } : {}), ...(appProtocol ? { appProtocol } : {}) }],
    );
    const subset = subsets.get(JSON.stringify(listed)) ?? { ports: listed, ready: [], unready: [] };
    subsets.set(JSON.stringify(listed), subset);
    for (const { addresses, conditions, hostname, nodeName, targetRef } of endpoints ?? []) {
      const [ip] = addresses;
      if (ip === undefined || left-- <= 0) continue;
      const more = { ...(hostname ? { hostname } : {}), ...(nodeName ? { nodeName } : {}), ...(targetRef ? { targetRef } : {}) };
      (conditions?.ready === false ? subset.unready : subset.ready).push({ ip, ...more });
    }
  }
  return [...subsets.values()].flatMap(({ ports, ready, unready }) => {
    if (ready.length + unready.length === 0 || !ports?.length) return [];
    return [{ ...(ready.length > 0 ? { addresses: ready } : {}), ...(unready.length > 0 ? { notReadyAddresses: unready } : {}), ports }];
  });
}
