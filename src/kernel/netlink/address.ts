// RTM_*ADDR: addresses of links (linux/if_addr.h).
import { parsePrefix } from "../../base/index.ts";
import type { LinkAddress } from "../state.ts";
import { concatBytes, decodeAttributes, encodeAttributes, readU32, writeU32 } from "./attribute.ts";
import { familyNumber, SCOPE, scopeName } from "./family.ts";

/** Message types. */
export const ADDRESS_MESSAGE = { new: 20, delete: 21, get: 22 } as const;

const ADDRESS = {
  address: [1, "address"],
  local: [2, "address"],
  cacheInfo: [6, "bytes"],
  flags: [8, "u32"],
  protocol: [11, "u8"],
} as const;
const HEADER = 8;
const NO_DAD = 0x02;
const IS_DEPRECATED = 0x20;
/** struct ifa_cacheinfo: preferred for no time, valid for ever; the other two fields are the kernel's. */
const DEPRECATED = Uint8Array.of(0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0);

/** @throws FairleadError `bad-prefix` */
export function encodeAddress(wanted: LinkAddress, index: number): Uint8Array {
  const { family, length } = parsePrefix(wanted.address);
  const text = wanted.address.slice(0, wanted.address.indexOf("/"));
  const header = new Uint8Array(HEADER);
  header[0] = familyNumber(family);
  header[1] = length;
  header[3] = SCOPE[wanted.scope ?? (text.startsWith("127.") ? "host" : "global")];
  writeU32(header, 4, index);
  return concatBytes([
    header,
    encodeAttributes(ADDRESS, {
      local: text,
      address: text,
      cacheInfo: wanted.deprecated ? DEPRECATED : undefined,
      flags: family === 6 && wanted.nodad ? NO_DAD : undefined,
      protocol: wanted.protocol,
    }),
  ]);
}

/** Undefined for a body that is too short or of another family. */
export function decodeAddress(body: Uint8Array, nameOf: (index: number) => string): LinkAddress | undefined {
  if (body.length < HEADER) return undefined;
  const { address, local, flags = 0, protocol } = decodeAttributes(ADDRESS, body.subarray(HEADER));
  // On a point-to-point link `address` is the other end; without `local` both are one.
  const text = local ?? address;
  if (text === undefined) return undefined;
  return {
    link: nameOf(readU32(body, 4)),
    address: `${text}/${body[1] ?? 0}`,
    scope: scopeName(body[3] ?? 0),
    ...(flags & IS_DEPRECATED ? { deprecated: true } : {}),
    // Numbers of the kernel's own (loopback, router advertisement, link-local) say nothing of an owner.
    ...(protocol === undefined || protocol <= 3 ? {} : { protocol }),
  };
}

/** The header of a dump of every address of a family. */
export function addressDump(family: 4 | 6): Uint8Array {
  const header = new Uint8Array(HEADER);
  header[0] = familyNumber(family);
  return header;
}
