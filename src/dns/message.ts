// DNS messages as data (RFC 1035 §4, RFC 6891 for EDNS0). The record types are the table in record-fields.ts.
import type { RecordData } from "./record-fields.ts";

export type { RecordData } from "./record-fields.ts";

/** Codes of record and question types by name. */
export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  NAPTR: 35,
  DNAME: 39,
  OPT: 41,
  DS: 43,
  SSHFP: 44,
  RRSIG: 46,
  NSEC: 47,
  DNSKEY: 48,
  NSEC3: 50,
  NSEC3PARAM: 51,
  TLSA: 52,
  SVCB: 64,
  HTTPS: 65,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
  URI: 256,
  CAA: 257,
} as const;
export const CLASS = { IN: 1, CH: 3, HS: 4, NONE: 254, ANY: 255 } as const;
export const OPCODE = { QUERY: 0, NOTIFY: 4, UPDATE: 5 } as const;
export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  YXDOMAIN: 6,
  YXRRSET: 7,
  NXRRSET: 8,
  NOTAUTH: 9,
  NOTZONE: 10,
  BADVERS: 16,
} as const;

/**
 * A name in text: labels joined by dots with a dot at the end, "." for the root. Within a label a dot or backslash is
 * escaped by a backslash, and a byte that is no printable ASCII is written \DDD.
 */
export type Name = string;

export interface Question {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
}

export interface ResourceRecord {
  readonly name: Name;
  readonly class: number;
  /** Seconds. */
  readonly ttl: number;
  readonly data: RecordData;
}

/** One option of EDNS0, such as NSID (3) or a client subnet (8). */
export interface EdnsOption {
  readonly code: number;
  readonly bytes: Uint8Array;
}

/** EDNS0: what the OPT pseudo-record says (RFC 6891 §6.1). */
export interface Edns {
  /** Largest UDP answer that the sender takes, in bytes. */
  readonly udpSize: number;
  readonly version: number;
  readonly dnssecOk: boolean;

  readonly options?: readonly EdnsOption[];
}

export interface Message {
  readonly id: number;
  readonly response: boolean;
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
  /** Twelve bits with EDNS0, four without. */
  readonly rcode: number;
  readonly questions: readonly Question[];
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
  readonly edns?: Edns;
}

const TYPE_NAMES = new Map<number, string>(Object.entries(TYPE).map(([name, code]) => [code, name]));
const RCODE_NAMES = new Map<number, string>(Object.entries(RCODE).map(([name, code]) => [code, name]));
const CLASS_NAMES = new Map<number, string>(Object.entries(CLASS).map(([name, code]) => [code, name]));

/** "A", or TYPE65280 for one without a name here (RFC 3597 §5). */
export function typeName(code: number): string {
  return TYPE_NAMES.get(code) ?? `TYPE${code}`;
}

/** The code of a type's name in any letter case, or of TYPE123; undefined if it is none. */
export function typeCode(name: string): number | undefined {
  const upper = name.toUpperCase();
  const known = (TYPE as Readonly<Record<string, number>>)[upper];
  if (known !== undefined && Object.hasOwn(TYPE, upper)) return known;
  const number = /^TYPE(\d{1,5})$/.exec(upper)?.[1];
  return number !== undefined && Number(number) <= 0xffff ? Number(number) : undefined;
}

/** "IN", or CLASS123. */
export function className(code: number): string {
  return CLASS_NAMES.get(code) ?? `CLASS${code}`;
}

/** "NXDOMAIN", or RCODE23. */
export function rcodeName(code: number): string {
  return RCODE_NAMES.get(code) ?? `RCODE${code}`;
}

/** The type code of a record. */
export function typeOf(record: ResourceRecord): number {
  return record.data.type === "other" ? record.data.code : TYPE[record.data.type];
}
