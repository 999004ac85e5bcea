// What a neighbour did wrong, in the form in which BGP reports it: NOTIFICATION code, subcode and data.

/** NOTIFICATION error codes (RFC 4271 §4.5, RFC 7313). */
export const CODE = { header: 1, open: 2, update: 3, holdTimer: 4, stateMachine: 5, cease: 6, refresh: 7, sendHoldTimer: 8 } as const;

/** Subcodes of Cease (RFC 4486, RFC 8538, RFC 9384). */
export const CEASE = {
  prefixLimit: 1,
  shutdown: 2,
  deconfigured: 3,
  reset: 4,
  rejected: 5,
  otherChange: 6,
  collision: 7,
  resources: 8,
  hardReset: 9,
  bfdDown: 10,
} as const;

/** An error to be sent as NOTIFICATION. */
export interface ProtocolError {
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
  /** For people: what was wrong. */
  readonly says: string;
}

/** The outcome of a decoder: any bytes give one of the two. */
export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: ProtocolError };

/** Carries a ProtocolError out of nested decoding; never leaves this folder. */
export class Malformed extends Error {
  readonly error: ProtocolError;

  constructor(code: number, subcode: number, says: string, data: Uint8Array = new Uint8Array(0)) {
    super(says);
    this.error = { code, subcode, data, says };
  }
}

/** Runs a decoder that throws Malformed and makes it total. */
export function total<T>(decode: () => T): Decoded<T> {
  try {
    return { ok: true, value: decode() };
  } catch (thrown) {
    if (thrown instanceof Malformed) return { ok: false, error: thrown.error };
    throw thrown;
  }
}

const NAMES: Readonly<Record<number, readonly [string, ...string[]]>> = {
  1: ["message header error", "connection not synchronised", "bad message length", "bad message type"],
  2: [
    "OPEN error",
    "unsupported version number",
    "bad peer AS",
    "bad BGP identifier",
    "unsupported optional parameter",
    "authentication failure",
    "unacceptable hold time",
    "unsupported capability",
  ],
  3: [
    "UPDATE error",
    "malformed attribute list",
    "unrecognised well-known attribute",
    "missing well-known attribute",
    "attribute flags error",
    "attribute length error",
    "invalid ORIGIN",
    "AS routing loop",
    "invalid NEXT_HOP",
    "optional attribute error",
    "invalid network field",
    "malformed AS_PATH",
  ],
  4: ["hold timer expired"],
  5: ["state machine error", "unexpected message in OpenSent", "unexpected message in OpenConfirm", "unexpected message in Established"],
  6: [
    "cease",
    "maximum number of prefixes reached",
    "administrative shutdown",
    "peer de-configured",
    "administrative reset",
    "connection rejected",
    "other configuration change",
    "connection collision resolution",
    "out of resources",
    "hard reset",
    "BFD down",
  ],
  7: ["ROUTE-REFRESH error", "invalid message length"],
  8: ["send hold timer expired"],
};

/** "cease: administrative shutdown"; numbers where no name is known. */
export function nameOfError(code: number, subcode: number): string {
  const names = NAMES[code];
  if (!names) return `error ${code}/${subcode}`;
  if (subcode === 0) return names[0];
  return `${names[0]}: ${names[subcode] ?? `subcode ${subcode}`}`;
}
