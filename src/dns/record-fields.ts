// What each record type holds, as a table: the wire codec and the text form are both read from it.
//
// A kind of field:
//   u8 u16 u32   a number              name        a name that may be compressed (only the types of RFC 1035, RFC 3597 §4)
//   type         a type code           plain-name  a name that is never compressed
//   time         seconds of an epoch   ipv4 ipv6   an address in text
//   string       up to 255 bytes, as latin1 text, length in front     strings   one or more of them up to the end
//   word         the same, written without quotes
//   text         latin1 text up to the end
//   hex base64   bytes up to the end   hex8 base32 bytes with their length in one byte in front
//   types        a bitmap of type codes (RFC 4034 §4.1.2)             params    service parameters (RFC 9460 §2.2)

/** Service parameter: key and value's bytes. */
export interface ServiceParameter {
  readonly key: number;
  readonly bytes: Uint8Array;
}

export interface FieldValues {
  readonly u8: number;
  readonly u16: number;
  readonly u32: number;
  readonly type: number;
  readonly time: number;
  readonly name: string;
  readonly "plain-name": string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly string: string;
  readonly word: string;
  readonly strings: readonly string[];
  readonly text: string;
  readonly hex: Uint8Array;
  readonly base64: Uint8Array;
  readonly hex8: Uint8Array;
  readonly base32: Uint8Array;
  readonly types: readonly number[];
  readonly params: readonly ServiceParameter[];
}
export type FieldKind = keyof FieldValues;

export const RECORD_FIELDS = {
  A: { address: "ipv4" },
  AAAA: { address: "ipv6" },
  NS: { target: "name" },
  CNAME: { target: "name" },
  PTR: { target: "name" },
  DNAME: { target: "plain-name" },
  SOA: { primary: "name", mailbox: "name", serial: "u32", refresh: "u32", retry: "u32", expire: "u32", minimum: "u32" },
  HINFO: { cpu: "string", os: "string" },
  MX: { preference: "u16", target: "name" },
  TXT: { texts: "strings" },
  SRV: { priority: "u16", weight: "u16", port: "u16", target: "plain-name" },
  NAPTR: { order: "u16", preference: "u16", flags: "string", services: "string", regexp: "string", replacement: "plain-name" },
  CAA: { flags: "u8", tag: "word", value: "text" },
  URI: { priority: "u16", weight: "u16", target: "text" },
  DS: { keyTag: "u16", algorithm: "u8", digestType: "u8", digest: "hex" },
  SSHFP: { algorithm: "u8", hash: "u8", fingerprint: "hex" },
  DNSKEY: { flags: "u16", protocol: "u8", algorithm: "u8", key: "base64" },
  RRSIG: {
    covered: "type",
    algorithm: "u8",
    labels: "u8",
    originalTtl: "u32",
    expiration: "time",
    inception: "time",
    keyTag: "u16",
    signer: "plain-name",
    signature: "base64",
  },
  NSEC: { next: "plain-name", types: "types" },
  NSEC3: { algorithm: "u8", flags: "u8", iterations: "u16", salt: "hex8", next: "base32", types: "types" },
  NSEC3PARAM: { algorithm: "u8", flags: "u8", iterations: "u16", salt: "hex8" },
  TLSA: { usage: "u8", selector: "u8", matching: "u8", data: "hex" },
  SVCB: { priority: "u16", target: "plain-name", params: "params" },
  HTTPS: { priority: "u16", target: "plain-name", params: "params" },
} as const satisfies Readonly<Record<string, Readonly<Record<string, FieldKind>>>>;

type Fields = typeof RECORD_FIELDS;
export type KnownType = keyof Fields;

type DataOf<T extends KnownType> = { readonly type: T } & {
  readonly [F in keyof Fields[T]]: Fields[T][F] extends FieldKind ? FieldValues[Fields[T][F]] : never;
};

/** A record's data, by its type; types without a row in the table are kept as bytes (RFC 3597). */
export type RecordData =
  | { [T in KnownType]: DataOf<T> }[KnownType]
  | { readonly type: "other"; readonly code: number; readonly bytes: Uint8Array };
