// Flannel's annotations on Node objects: how nodes tell each other where their tunnel ends are.
import { createHash } from "node:crypto";
import { type Family, formatAddress, tryParseAddress } from "../../base/index.ts";
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

/** What takes a node's annotations away again, when it has left the overlay. */
export const annotationsTaken: Readonly<Record<string, null>> = Object.fromEntries(
  ["kube-subnet-manager", "backend-type", "public-ip", "backend-data", "public-ipv6", "backend-v6-data"].map((key) => [
    `${PREFIX}/${key}`,
    null,
  ]),
);

/** Whether a node takes part in the overlay, as it says itself. */
export function isOverlayNode(node: Node): boolean {
  return node.metadata.annotations?.[`${PREFIX}/backend-type`] !== undefined;
}

/** What a peer says of its tunnel end, of this outer family first; undefined while it has said nothing that can be read. */
export function readVtep(node: Node, outer: Family): Vtep | undefined {
  const annotations = node.metadata.annotations ?? {};
  const keys = outer === 4 ? ["backend-data", "backend-v6-data"] : ["backend-v6-data", "backend-data"];
  for (const key of keys) {
    const vtep = parseVtep(annotations[`${PREFIX}/${key}`]);
    if (vtep) return vtep;
  }
  return undefined;
}

function parseVtep(text: string | undefined): Vtep | undefined {
  try {
    const { VNI, VtepMAC } = JSON.parse(text ?? "null") as { VNI?: unknown; VtepMAC?: unknown };
    if (typeof VtepMAC !== "string" || !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(VtepMAC)) return undefined;
    return { mac: VtepMAC.toLowerCase(), vni: typeof VNI === "number" ? VNI : 1 };
  } catch {
    return undefined;
  }
}

/** The address at which a peer is reached in the underlay: as it says itself, else as the Node object says. What is no address of the family is passed over with a remark. */
export function peerAddress(node: Node, family: Family, remark: (says: string) => void): string | undefined {
  const annotations = node.metadata.annotations ?? {};
  const keys = family === 4 ? ["public-ip-overwrite", "public-ip"] : ["public-ipv6-overwrite", "public-ipv6"];
  for (const key of keys) {
    const text = annotations[`${PREFIX}/${key}`];
    if (!text) continue;
    const address = tryParseAddress(text);
    if (address?.family === family) return formatAddress(address);
    remark(`node ${node.metadata.name}: annotation ${PREFIX}/${key} "${text}" is no IPv${family} address and is passed over`);
  }
  for (const { type, address: text } of node.status?.addresses ?? []) {
    const address = type === "InternalIP" ? tryParseAddress(text) : undefined;
    if (address?.family === family) return formatAddress(address);
  }
  return undefined;
}

/** A locally administered MAC address that follows from a name, so that it is the same after every restart. */
export function macOf(name: string): string {
  const digest = createHash("sha256").update(name).digest();
  const bytes = [((digest[0] ?? 0) & 0xfc) | 2, ...digest.subarray(1, 6)];
  return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
