// Reads the primitives of a DNS message from bytes. Total: what is not there or not allowed is a DnsFormatError.
import type { Name } from "../message.ts";
import { DnsFormatError } from "./errors.ts";
import { escapeByte, MAX_LABEL, MAX_NAME } from "./names.ts";

export class Reader {
  readonly bytes: Uint8Array;
  offset = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  need(length: number): void {
    if (this.offset + length > this.bytes.length) throw new DnsFormatError("the message is cut short", this.bytes.length);
  }

  u8(): number {
    this.need(1);
    return this.bytes[this.offset++] ?? 0;
  }

  u16(): number {
    return (this.u8() << 8) | this.u8();
  }

  u32(): number {
    return ((this.u16() << 16) | this.u16()) >>> 0;
  }

  /** A view of the next bytes. */
  take(length: number): Uint8Array {
    if (length < 0) throw new DnsFormatError("a field reaches beyond its record", this.offset);
    this.need(length);
    this.offset += length;
    return this.bytes.subarray(this.offset - length, this.offset);
  }

  /** A copy of the next bytes: a Buffer's own slice would be a view, and keep a whole datagram alive. */
  copy(length: number): Uint8Array {
    return new Uint8Array(this.take(length));
  }

  /** The next bytes as latin1 text. */
  text(length: number): string {
    const bytes = this.take(length);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
  }

  /** A name, with its compression pointers followed; each pointer leads further back, so there is no loop. */
  name(): Name {
    const { bytes } = this;
    let text = "";
    let total = 1;
    let at = this.offset;
    let after = -1;
    for (;;) {
      const length = bytes[at];
      if (length === undefined) throw new DnsFormatError("a name is cut short", at);
      if (length === 0) {
        this.offset = after < 0 ? at + 1 : after;
        return text === "" ? "." : text;
      }
      if (length >= 0xc0) {
        const low = bytes[at + 1];
        const target = ((length & 0x3f) << 8) | (low ?? 0);
        if (low === undefined || target >= at) throw new DnsFormatError("a compression pointer leads nowhere", at);
        if (after < 0) after = at + 2;
        at = target;
        continue;
      }
      if (length > MAX_LABEL) throw new DnsFormatError("a label of an unknown kind", at);
      total += length + 1;
      if (total > MAX_NAME) throw new DnsFormatError("a name longer than 255 bytes", at);
      const end = at + 1 + length;
      if (end > bytes.length) throw new DnsFormatError("a label is cut short", at);
      text += labelText(bytes, at + 1, end);
      at = end;
    }
  }
}

/** A label with its final dot. */
function labelText(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  for (let i = from; i < to; i++) {
    const byte = bytes[i] ?? 0;
    text += byte > 0x20 && byte < 0x7f && byte !== 0x2e && byte !== 0x5c ? String.fromCharCode(byte) : escapeByte(byte);
  }
  return `${text}.`;
}
