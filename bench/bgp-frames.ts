// A neighbour's side of a BGP connection, as thin as it can be: messages are cut from the bytes and looked at in place.

/** What to do with a message of this type: its body lies in `bytes` from `from` to `end`. */
type Take = (type: number, bytes: Buffer, from: number, end: number) => void;

const HEADER = 19;

/** Cuts whole messages (RFC 4271 §4.1) from what comes in; the rest waits for more. */
export function frames(take: Take): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
    let at = 0;
    while (bytes.length - at >= HEADER) {
      const length = bytes.readUInt16BE(at + 16);
      if (bytes.length - at < length) break;
      take(bytes[at + 18] ?? 0, bytes, at + HEADER, at + length);
      at += length;
    }
    rest = Buffer.from(bytes.subarray(at));
  };
}
