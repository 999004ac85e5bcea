// What a lab's operator does for the routed network: IPPools of an Installation, or usual ones where nobody names any.
import { nodeSettings } from "../agent/index.ts";
import { familyOf } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import { missingPools, readPools } from "../ipam/index.ts";
import type { KubeObject } from "../resources/index.ts";

/** Kinds that must be there before the first pod has its addresses. */
const FIRST_KINDS = new Set([
  "Installation",
  "IPPool",
  "IPAMConfig",
  "IPAMConfiguration",
  "IPReservation",
  "FelixConfiguration",
  "BGPConfiguration",
  "BGPPeer",
  "BGPFilter",
]);

/** The part of a person's manifests that the network itself is made of. */
export function networkObjects(objects: readonly KubeObject[]): KubeObject[] {
  return objects.filter(
    ({ apiVersion, kind }) => FIRST_KINDS.has(kind) && /^(operator\.tigera\.io|(crd\.)?projectcalico\.org)\//.test(apiVersion),
  );
}

/** Whether manifests ask for the routed network, as Calico's operator is asked. */
export function asksForRouted(objects: readonly KubeObject[]): boolean {
  return objects.some(
    ({ kind, ...rest }) => kind === "Installation" && "calicoNetwork" in ((rest as { readonly spec?: object }).spec ?? {}),
  );
}

/** IPPools that are to be made now. Pure. */
export function poolsToMake(
  snapshot: ClusterSnapshot,
  options: { readonly podCidrs: readonly string[]; readonly routed: boolean },
): KubeObject[] {
  const missing = missingPools(snapshot);
  if (missing.length > 0 || readPools(snapshot).all.length > 0) return missing;
  const network = options.routed ? "routed" : "overlay";
  const nodes = [...snapshot.nodes.values()];
  if (!nodes.some((node) => nodeSettings(snapshot, node.metadata.name, { options: { network } }).network === "routed")) return [];
  return options.podCidrs.map(usualPool);
}

function usualPool(cidr: string): KubeObject {
  const family = familyOf(cidr);
  const spec = {
    cidr,
    blockSize: family === 4 ? 26 : 122,
    vxlanMode: "CrossSubnet",
    ipipMode: "Never",
    natOutgoing: true,
    nodeSelector: "all()",
  };
  return { apiVersion: "projectcalico.org/v3", kind: "IPPool", metadata: { name: `default-ipv${family}-ippool` }, spec } as KubeObject;
}
