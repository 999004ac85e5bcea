// RTM_*RULE: policy routing rules (linux/fib_rules.h).
import { type Family, parsePrefix } from "../../base/index.ts";
import type { RoutingRule } from "../state.ts";
import { concatBytes, decodeAttributes, encodeAttributes, readU32 } from "./attribute.ts";
import { familyFromNumber, familyNumber } from "./family.ts";

/** Message types. */
export const RULE_MESSAGE = { new: 32, delete: 33, get: 34 } as const;

const RULE = {
  to: [1, "address"],
  from: [2, "address"],
  iif: [3, "string"],
  priority: [6, "u32"],
  mark: [10, "u32"],
  tunnelId: [12, "bytes"],
  suppressIfgroup: [13, "u32"],
  suppressPrefixLength: [14, "u32"],
  table: [15, "u32"],
  markMask: [16, "u32"],
  oif: [17, "string"],
  l3mdev: [19, "u8"],
  uidRange: [20, "bytes"],
  protocol: [21, "u8"],
  ipProtocol: [22, "u8"],
  sourcePorts: [23, "bytes"],
  destinationPorts: [24, "bytes"],
} as const;

const HEADER = 12;
const TO_TABLE = 1;
const INVERT = 0x2;
const ALL_BITS = 0xffffffff;

/** @throws FairleadError `bad-prefix` */
export function encodeRule(rule: RoutingRule): Uint8Array {
  const to = rule.to === undefined ? undefined : parsePrefix(rule.to);
  const from = rule.from === undefined ? undefined : parsePrefix(rule.from);
  const header = new Uint8Array(HEADER);
  header[0] = familyNumber(rule.family);
  header[1] = to?.length ?? 0;
  header[2] = from?.length ?? 0;
  header[4] = rule.table < 256 ? rule.table : 0;
  header[7] = TO_TABLE;
  return concatBytes([
    header,
    encodeAttributes(RULE, {
      to: to?.length ? rule.to?.split("/")[0] : undefined,
      from: from?.length ? rule.from?.split("/")[0] : undefined,
      iif: rule.iif,
      priority: rule.priority,
      mark: rule.mark,
      markMask: rule.mark === undefined ? undefined : (rule.markMask ?? ALL_BITS),
      table: rule.table,
      protocol: rule.protocol,
    }),
  ]);
}

/** The body of a dump. */
export function ruleDump(family: Family): Uint8Array {
  const header = new Uint8Array(HEADER);
  header[0] = familyNumber(family);
  return header;
}

/** Undefined for what RoutingRule cannot say (actions other than a table lookup, inverted rules, and matches on ports, users or outgoing links). */
export function decodeRule(body: Uint8Array): RoutingRule | undefined {
  if (body.length < HEADER) return undefined;
  const family = familyFromNumber(body[0] ?? 0);
  if (family === undefined || body[7] !== TO_TABLE || body[3] || readU32(body, 8) & INVERT) return undefined;
  const a = decodeAttributes(RULE, body.subarray(HEADER));
  const matchesMore = a.oif ?? a.uidRange ?? a.ipProtocol ?? a.sourcePorts ?? a.destinationPorts ?? a.tunnelId ?? (a.l3mdev || undefined);
  const suppresses = [a.suppressIfgroup, a.suppressPrefixLength].some((value) => value !== undefined && value !== ALL_BITS);
  if (matchesMore !== undefined || suppresses) return undefined;
  return {
    family,
    priority: a.priority ?? 0,
    table: a.table ?? body[4] ?? 0,
    ...(a.from === undefined ? {} : { from: `${a.from}/${body[2] ?? 0}` }),
    ...(a.to === undefined ? {} : { to: `${a.to}/${body[1] ?? 0}` }),
    ...(a.mark === undefined ? {} : { mark: a.mark }),
    ...(a.markMask === undefined || a.markMask === ALL_BITS ? {} : { markMask: a.markMask }),
    ...(a.iif === undefined ? {} : { iif: a.iif }),
    protocol: a.protocol ?? 0,
  };
}
