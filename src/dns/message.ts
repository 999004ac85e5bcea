// DNS messages as data (RFC 1035 §4, RFC 6891 for EDNS0).

export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
} as const;
export const CLASS = { IN: 1, CH: 3, ANY: 255 } as const;
export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

/** A name in text: labels joined by dots with a dot at the end, "." for the root. A dot or backslash within a label is escaped by a backslash. */
export type Name = string;

export interface Question {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
}

export type RecordData =
  | { readonly type: "A" | "AAAA"; readonly address: string }
  | { readonly type: "CNAME" | "NS" | "PTR"; readonly target: Name }
  | { readonly type: "SRV"; readonly priority: number; readonly weight: number; readonly port: number; readonly target: Name }
  | { readonly type: "MX"; readonly preference: number; readonly target: Name }
  | { readonly type: "TXT"; readonly texts: readonly string[] }
  | {
      readonly type: "SOA";
      readonly primary: Name;
      readonly mailbox: Name;
      readonly serial: number;
      readonly refresh: number;
      readonly retry: number;
      readonly expire: number;
      readonly minimum: number;
    }
  /** Any other type, kept as bytes. */
  | { readonly type: "other"; readonly code: number; readonly bytes: Uint8Array };

export interface ResourceRecord {
  readonly name: Name;
  readonly class: number;
  /** Seconds. */
  readonly ttl: number;
  readonly data: RecordData;
}

/** EDNS0: what the OPT pseudo-record says (RFC 6891 §6.1). */
export interface Edns {
  /** Largest UDP answer that the sender takes, in bytes. */
  readonly udpSize: number;
  readonly version: number;
  readonly dnssecOk: boolean;
  readonly extendedRcode: number;
}

export interface Message {
  readonly id: number;
  readonly response: boolean;
  readonly opcode: number;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly recursionDesired: boolean;
  readonly recursionAvailable: boolean;
  readonly rcode: number;
  readonly questions: readonly Question[];
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
  readonly edns?: Edns;
}
