// RTM_*LINK: network devices (linux/if_link.h).
import { KernelError } from "../errors.ts";
import { type Link, type LinkKind, USUAL_GSO_MAX_SIZE } from "../state.ts";
import { type AttributeValues, concatBytes, decodeAttributes, encodeAttributes, readU32, writeU32 } from "./attribute.ts";

/** Message types. */
export const LINK_MESSAGE = { new: 16, delete: 17, get: 18, set: 19 } as const;

export const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
/** RTEXT_FILTER_SKIP_STATS: leave the counters out of answers. */
export const SKIP_STATISTICS = 1 << 3;

const VXLAN = {
  id: [1, "u32"],
  group: [2, "address"],
  link: [3, "u32"],
  local: [4, "address"],
  learning: [7, "u8"],
  port: [15, "be16"],
  local6: [17, "address"],
} as const;

const BRIDGE_PORT = { hairpin: [4, "u8"] } as const;

const LINK_INFO = {
  kind: [1, "string"],
  data: [2, "bytes"],
  slaveKind: [4, "string"],
  slaveData: [5, BRIDGE_PORT],
} as const;

const LINK = {
  mac: [1, "mac"],
  name: [3, "string"],
  mtu: [4, "u32"],
  link: [5, "u32"],
  master: [10, "u32"],
  port: [12, BRIDGE_PORT],
  info: [18, LINK_INFO],
  ifalias: [20, "text"],
  namespaceFd: [28, "u32"],
  extMask: [29, "u32"],
  linkNamespaceId: [37, "u32"],
  gsoIpv4MaxSize: [63, "u32"],
  groIpv4MaxSize: [64, "u32"],
} as const;

const VETH_PEER = { peer: [1, "bytes"] } as const;

/** struct ifinfomsg and its attributes. */
export interface LinkMessage {
  readonly family?: number;
  readonly index?: number;
  readonly flags?: number;
  /** Which of the flags are meant. */
  readonly change?: number;
  readonly attributes: AttributeValues<typeof LINK>;
}

const HEADER = 16;

export function encodeLink(message: LinkMessage): Uint8Array {
  const header = new Uint8Array(HEADER);
  header[0] = message.family ?? 0;
  writeU32(header, 4, message.index ?? 0);
  writeU32(header, 8, message.flags ?? 0);
  writeU32(header, 12, message.change ?? 0);
  return concatBytes([header, encodeAttributes(LINK, message.attributes)]);
}

/** Undefined if the body is too short for its header. */
export function decodeLink(body: Uint8Array): (LinkMessage & { readonly index: number; readonly flags: number }) | undefined {
  if (body.length < HEADER) return undefined;
  return {
    family: body[0] ?? 0,
    index: readU32(body, 4),
    flags: readU32(body, 8),
    change: readU32(body, 12),
    attributes: decodeAttributes(LINK, body.subarray(HEADER)),
  };
}

/** The veth kind with its peer, which may be born in another namespace. */
export function vethInfo(peer: LinkMessage): NonNullable<LinkMessage["attributes"]["info"]> {
  return { kind: "veth", data: encodeAttributes(VETH_PEER, { peer: encodeLink(peer) }) };
}

/** The attributes that make a link of the kind. @throws KernelError EOPNOTSUPP for kinds that are not made this way */
export function kindInfo(link: Link, indexOf: (name: string) => number): NonNullable<LinkMessage["attributes"]["info"]> {
  const kind = link.kind;
  switch (kind.type) {
    case "bridge":
      return { kind: "bridge" };
    case "vxlan": {
      const local = kind.local.includes(":") ? { local6: kind.local } : kind.local === "" ? {} : { local: kind.local };
      const device = kind.device === "" ? {} : { link: indexOf(kind.device) };
      return {
        kind: "vxlan",
        data: encodeAttributes(VXLAN, { id: kind.vni, ...device, ...local, learning: kind.learning ? 1 : 0, port: kind.port }),
      };
    }
    case "ipip":
      return { kind: "ipip" };
    case "other":
      return { kind: kind.name };
    default:
      throw new KernelError({
        errno: "EOPNOTSUPP",
        operation: `add a ${kind.type} link`,
        subject: link.name,
        remedy: kind.type === "veth" ? "make both ends with addVethPair" : "only bridge, vxlan and other virtual links can be made",
      });
  }
}

/** The size that IPv4 has both ways; undefined where it is the usual one, or the kernel has none of IPv4's own (before 6.3). */
function gsoIpv4MaxSizeOf({ gsoIpv4MaxSize, groIpv4MaxSize }: LinkMessage["attributes"]): number | undefined {
  const least = Math.min(gsoIpv4MaxSize ?? USUAL_GSO_MAX_SIZE, groIpv4MaxSize ?? USUAL_GSO_MAX_SIZE);
  return least === USUAL_GSO_MAX_SIZE ? undefined : least;
}

/** A link as read. `nameOf` tells names of other links by index. */
export function linkOf(message: LinkMessage & { readonly index: number; readonly flags: number }, nameOf: (index: number) => string): Link {
  const { name = "", mtu, mac, master, info, ifalias, link } = message.attributes;
  const kind = kindOf(message, nameOf);
  const gsoIpv4MaxSize = gsoIpv4MaxSizeOf(message.attributes);
  return {
    name,
    index: message.index,
    kind,
    ...(mtu === undefined ? {} : { mtu }),
    ...(gsoIpv4MaxSize === undefined ? {} : { gsoIpv4MaxSize }),
    ...(mac === undefined ? {} : { mac }),
    up: (message.flags & IFF_UP) !== 0,
    ...(master ? { master: nameOf(master) } : {}),
    ...(info?.slaveKind === "bridge" && info.slaveData?.hairpin !== undefined ? { hairpin: info.slaveData.hairpin !== 0 } : {}),
    ...(kind.type === "veth" && link !== undefined ? { peerIndex: link } : {}),
    ...(ifalias ? { ifalias } : {}),
  };
}

function kindOf(message: LinkMessage & { readonly flags: number }, nameOf: (index: number) => string): LinkKind {
  const info = message.attributes.info;
  if (info?.kind === undefined) return { type: message.flags & IFF_LOOPBACK ? "loopback" : "physical" };
  switch (info.kind) {
    case "bridge":
      return { type: "bridge" };
    case "veth":
      return { type: "veth" };
    case "ipip":
      return { type: "ipip" };
    case "vxlan": {
      const data = decodeAttributes(VXLAN, info.data ?? new Uint8Array(0));
      return {
        type: "vxlan",
        vni: data.id ?? 0,
        port: data.port ?? 0,
        local: data.local ?? data.local6 ?? "",
        device: data.link ? nameOf(data.link) : "",
        learning: data.learning === 1,
      };
    }
    default:
      return { type: "other", name: info.kind };
  }
}
