// Flannel's annotations on Node objects: how nodes tell each other where their tunnel ends are.
import { createHash } from "node:crypto";
import type { Node } from "../../resources/index.ts";

const PREFIX = "flannel.alpha.coreos.com";

export interface Vtep {
  readonly mac: string;
  readonly vni: number;
}

/** Annotations that a node of ours carries. */
export function writeAnnotations(
  backend: "vxlan" | "host-gw",
  publicIp: string | undefined,
  publicIpv6: string | undefined,
  vtep: Vtep,
): Record<string, string> {
  const data = JSON.stringify({ VNI: vtep.vni, VtepMAC: vtep.mac });
  return {
    [`${PREFIX}/kube-subnet-manager`]: "true",
    [`${PREFIX}/backend-type`]: backend,
    ...(publicIp === undefined
      ? {}
      : { [`${PREFIX}/public-ip`]: publicIp, [`${PREFIX}/backend-data`]: backend === "vxlan" ? data : "null" }),
    ...(publicIpv6 === undefined
      ? {}
      : { [`${PREFIX}/public-ipv6`]: publicIpv6, [`${PREFIX}/backend-v6-data`]: backend === "vxlan" ? data : "null" }),
  };
}

/** What a peer says of its tunnel end; undefined while it has said nothing. */
export function readVtep(node: Node): Vtep | undefined {
  const annotations = node.metadata.annotations ?? {};
  const text = annotations[`${PREFIX}/backend-data`] ?? annotations[`${PREFIX}/backend-v6-data`];
  try {
    const { VNI, VtepMAC } = JSON.parse(text ?? "null") as { VNI?: unknown; VtepMAC?: unknown };
    if (typeof VtepMAC !== "string" || !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(VtepMAC)) return undefined;
    return { mac: VtepMAC.toLowerCase(), vni: typeof VNI === "number" ? VNI : 1 };
  } catch {
    return undefined;
  }
}

/** The address at which a peer is reached in the underlay: as it says itself, else as the Node object says. */
export function peerAddress(node: Node, family: 4 | 6): string | undefined {
  const annotations = node.metadata.annotations ?? {};
  const keys = family === 4 ? ["public-ip-overwrite", "public-ip"] : ["public-ipv6-overwrite", "public-ipv6"];
  for (const key of keys) {
    const address = annotations[`${PREFIX}/${key}`];
    if (address) return address;
  }
  const internal = (node.status?.addresses ?? []).filter((address) => address.type === "InternalIP").map((address) => address.address);
  return internal.find((address) => address.includes(":") === (family === 6));
}

/** A locally administered MAC address that follows from a name, so that it is the same after every restart. */
export function macOf(name: string): string {
  const digest = createHash("sha256").update(name).digest();
  const bytes = [((digest[0] ?? 0) & 0xfc) | 2, ...digest.subarray(1, 6)];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
