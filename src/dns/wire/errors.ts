// What is wrong with bytes that should be a message, or with a message that should be bytes.
import { FairleadError } from "../../base/index.ts";

/** Bytes that are no DNS message. */
export class DnsFormatError extends FairleadError {
  /** Where in the bytes it shows. */
  readonly offset: number;

  constructor(message: string, offset: number) {
    super("dns-format", `${message} at byte ${offset}`);
    this.offset = offset;
  }
}

/** A message that cannot be written: a label of 64 bytes, a number too large for its field. */
export class DnsValueError extends FairleadError {
  constructor(message: string) {
    super("dns-value", message);
  }
}
