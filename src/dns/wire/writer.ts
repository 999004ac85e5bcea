// Writes the primitives of a DNS message into a buffer that grows, with compression of names.
import type { Name } from "../message.ts";
import { DnsValueError } from "./errors.ts";
import { labelsOf, MAX_LABEL, MAX_NAME } from "./names.ts";

/** Compression pointers have 14 bits. */
const POINTER_REACH = 0x4000;

export class Writer {
  #bytes = Buffer.allocUnsafe(1024);
  length = 0;
  /** Where each name (and end of a name), in lower case, was written first. */
  readonly #names = new Map<string, number>();

  #compress = true;

  /** Begins anew, keeping the buffer. Without `compress` every name is written whole. */
  reset(compress = true): void {
    this.#compress = compress;
    this.length = 0;
    this.#names.clear();
  }

  #grow(by: number): void {
    if (this.length + by <= this.#bytes.length) return;
    const bigger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.length + by));
    bigger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = bigger;
  }

  u8(value: number): void {
    this.#grow(1);
    this.#bytes[this.length++] = checked(value, 0xff);
  }

  u16(value: number): void {
    this.#grow(2);
    checked(value, 0xffff);
    this.#bytes[this.length++] = value >>> 8;
    this.#bytes[this.length++] = value & 255;
  }

  u32(value: number): void {
    checked(value, 0xffff_ffff);
    this.u16(value >>> 16);
    this.u16(value & 0xffff);
  }

  append(bytes: Uint8Array): void {
    this.#grow(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Text of latin1, without a length. @throws DnsValueError for other letters */
  text(text: string): void {
    for (let i = 0; i < text.length; i++)
      if (text.charCodeAt(i) > 255) throw new DnsValueError(`"${text}" has letters that are no single byte`);
    this.#grow(text.length);
    this.#bytes.write(text, this.length, "latin1");
    this.length += text.length;
  }

  skip(length: number): void {
    this.#grow(length);
    this.#bytes.fill(0, this.length, this.length + length);
    this.length += length;
  }

  setU8(at: number, value: number): void {
    this.#bytes[at] = value;
  }

  setU16(at: number, value: number): void {
    checked(value, 0xffff);
    this.#bytes[at] = value >>> 8;
    this.#bytes[at + 1] = value & 255;
  }

  getU8(at: number): number {
    return this.#bytes[at] ?? 0;
  }

  /** Takes back what was written from there on. */
  rewind(to: number): void {
    this.length = to;
    for (const [suffix, offset] of this.#names) if (offset >= to) this.#names.delete(suffix);
  }

  name(name: Name, compress = true): void {
    if (name === ".") {
      this.u8(0);
      return;
    }
    if (name.includes("\\") || !name.endsWith(".")) this.#escapedName(name, compress && this.#compress);
    else this.#plainName(name, compress && this.#compress);
  }

  #plainName(name: Name, compress: boolean): void {
    if (name.length + 1 > MAX_NAME) throw tooLong(name);
    const key = name.toLowerCase();
    for (let at = 0; at < name.length; ) {
      if (this.#pointTo(at === 0 ? key : key.slice(at), compress)) return;
      const dot = name.indexOf(".", at);
      this.#label(name.slice(at, dot), name);
      at = dot + 1;
    }
    this.u8(0);
  }

  #escapedName(name: Name, compress: boolean): void {
    const labels = labelsOf(name);
    if (labels.reduce((length, label) => length + label.length + 1, 1) > MAX_NAME) throw tooLong(name);
    // Letters of ASCII alone have two cases (RFC 4343).
    const keys = labels.map((label) => label.replace(/[A-Z]+/g, (letters) => letters.toLowerCase()).replace(/[\\.]/g, "\\$&"));
    for (const [index, label] of labels.entries()) {
      if (this.#pointTo(`${keys.slice(index).join(".")}.`, compress)) return;
      this.#label(label, name);
    }
    this.u8(0);
  }

  /** Writes a pointer where the suffix stands already; else remembers that it will stand here. */
  #pointTo(suffix: string, compress: boolean): boolean {
    const known = this.#names.get(suffix);
    if (known === undefined) {
      if (this.length < POINTER_REACH) this.#names.set(suffix, this.length);
      return false;
    }
    if (compress) this.u16(0xc000 | known);
    return compress;
  }

  #label(label: string, name: Name): void {
    if (label.length === 0 || label.length > MAX_LABEL)
      throw new DnsValueError(`"${name}" is not a name: a label has 1 to ${MAX_LABEL} bytes`);
    this.u8(label.length);
    this.text(label);
  }

  /** A copy of what was written. */
  bytes(): Uint8Array {
    const copy = new Uint8Array(this.length);
    copy.set(this.#bytes.subarray(0, this.length));
    return copy;
  }
}

function tooLong(name: Name): DnsValueError {
  return new DnsValueError(`"${name}" is not a name: it is longer than ${MAX_NAME} bytes`);
}

function checked(value: number, largest: number): number {
  if (!Number.isInteger(value) || value < 0 || value > largest) throw new DnsValueError(`${value} is no number from 0 to ${largest}`);
  return value;
}
