// OPEN: who the neighbour is and what it can do (RFC 4271 §4.2, RFC 5492, RFC 9072).
import { AS_TRANS } from "./as-path.ts";
import { ByteWriter } from "./byte-writer.ts";
import { type Capability, readCapability, writeCapability } from "./capabilities.ts";
import { CODE, Malformed } from "./protocol-error.ts";

export interface OpenMessage {
  readonly type: "open";
  /** The real one, from the four-byte capability where there is one. */
  readonly as: number;
  /** Seconds; 0 means no keepalives. */
  readonly holdSeconds: number;
  readonly routerId: number;
  readonly capabilities: readonly Capability[];
}

const CAPABILITIES = 2;
const EXTENDED_LENGTH = 255;

/** Reads the body of an OPEN. @throws Malformed 1/2, 2/1, 2/3, 2/4, 2/6, 2/0 */
export function readOpen(bytes: Uint8Array): OpenMessage {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint8(0);
  if (version !== 4) throw new Malformed(CODE.open, 1, `version ${version}`, Uint8Array.of(0, 4));
  const holdSeconds = view.getUint16(3);
  const routerId = view.getUint32(5);
  const capabilities = readParameters(bytes);
  const fourByte = capabilities.find((capability) => capability.type === "four-byte-as");
  const as = fourByte?.as ?? view.getUint16(1);
  if (as === 0) throw new Malformed(CODE.open, 2, "AS 0");
  if (routerId === 0) throw new Malformed(CODE.open, 3, "BGP identifier 0.0.0.0");
  if (holdSeconds === 1 || holdSeconds === 2) throw new Malformed(CODE.open, 6, `hold time of ${holdSeconds} s`);
  return { type: "open", as, holdSeconds, routerId, capabilities };
}

function readParameters(bytes: Uint8Array): Capability[] {
  const capabilities: Capability[] = [];
  // RFC 9072: length 255 and first type 255 announce lengths of two bytes.
  const extended = bytes[9] === EXTENDED_LENGTH && bytes[10] === EXTENDED_LENGTH;
  let at = extended ? 13 : 10;
  const end = at + (extended ? ((bytes[11] ?? 0) << 8) | (bytes[12] ?? 0) : (bytes[9] ?? 0));
  if (end !== bytes.length) throw new Malformed(CODE.open, 0, "the optional parameters do not end with the message");
  while (at < end) {
    const type = bytes[at] ?? 0;
    const length = extended ? ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0) : (bytes[at + 1] ?? 0);
    at += extended ? 3 : 2;
    if (at + length > end) throw new Malformed(CODE.open, 0, "an optional parameter ends beyond the message");
    if (type !== CAPABILITIES) throw new Malformed(CODE.open, 4, `optional parameter ${type}`);
    for (const stop = at + length; at < stop; ) {
      const start = at + 2;
      const next = start + (bytes[at + 1] ?? 0);
      if (start > stop || next > stop) throw new Malformed(CODE.open, 0, "a capability ends beyond its parameter");
      capabilities.push(readCapability(bytes[at] ?? 0, bytes.subarray(start, next)));
      at = next;
    }
  }
  return capabilities;
}

/** Writes the body of an OPEN; all capabilities in one parameter. */
export function writeOpen(writer: ByteWriter, open: OpenMessage): void {
  writer.u8(4);
  writer.u16(open.as > 65535 ? AS_TRANS : open.as);
  writer.u16(open.holdSeconds);
  writer.u32(open.routerId);
  const body = new ByteWriter(128);
  for (const capability of open.capabilities) writeCapability(body, capability);
  if (body.length === 0) writer.u8(0);
  else if (body.length <= 253) {
    writer.u8(body.length + 2);
    writer.u8(CAPABILITIES);
    writer.u8(body.length);
  } else {
    writer.u8(EXTENDED_LENGTH);
    writer.u8(EXTENDED_LENGTH);
    writer.u16(body.length + 3);
    writer.u8(CAPABILITIES);
    writer.u16(body.length);
  }
  writer.raw(body.copy());
}
