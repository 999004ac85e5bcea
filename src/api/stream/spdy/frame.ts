// SPDY/3.1 frames between bytes and data (SPDY protocol draft 3.1, section 2.2), with headers still compressed. Pure.

export type Frame =
  | { readonly type: "data"; readonly stream: number; readonly fin: boolean; readonly data: Buffer }
  | { readonly type: "open"; readonly stream: number; readonly fin: boolean; readonly headers: Buffer }
  | { readonly type: "reply" | "headers"; readonly stream: number; readonly fin: boolean; readonly headers: Buffer }
  | { readonly type: "reset"; readonly stream: number; readonly status: number }
  | { readonly type: "ping"; readonly id: number }
  | { readonly type: "goaway"; readonly last: number; readonly status: number }
  /** A kind that is of no interest here (SETTINGS, WINDOW_UPDATE), or not known. */
  | { readonly type: "other"; readonly number: number };

const NUMBER = { open: 1, reply: 2, reset: 3, ping: 6, goaway: 7, headers: 8 } as const;
const VERSION = 3;
const HEAD = 8;
/** A frame that is longer ends the session; clients send 32 KiB at a time. */
const MAX_FRAME = 4 * 1024 * 1024;

/** The first frame of some bytes and where the next begins; undefined where they end before it does. @throws RangeError for what is no SPDY/3 */
export function readFrame(bytes: Buffer, at: number): { readonly frame: Frame; readonly next: number } | undefined {
  if (bytes.length - at < HEAD) return undefined;
  const first = bytes.readUInt32BE(at);
  const flagsAndLength = bytes.readUInt32BE(at + 4);
  const length = flagsAndLength & 0xffffff;
  const fin = ((flagsAndLength >>> 24) & 1) === 1;
  if (length > MAX_FRAME) throw new RangeError(`a frame of ${length} bytes is longer than ${MAX_FRAME}`);
  const next = at + HEAD + length;
  if (bytes.length < next) return undefined;
  const body = bytes.subarray(at + HEAD, next);
  if (first < 0x80000000) return { frame: { type: "data", stream: first, fin, data: body }, next };
  if (((first >>> 16) & 0x7fff) !== VERSION) throw new RangeError(`the frame is of SPDY version ${(first >>> 16) & 0x7fff}`);
  return { frame: controlFrame(first & 0xffff, body, fin), next };
}

function controlFrame(number: number, body: Buffer, fin: boolean): Frame {
  const word = (index: number) => {
    if (body.length < (index + 1) * 4) throw new RangeError(`a control frame of kind ${number} is too short`);
    return body.readUInt32BE(index * 4);
  };
  const stream = () => word(0) & 0x7fffffff;
  switch (number) {
    case NUMBER.open:
      word(1);
      return { type: "open", stream: stream(), fin, headers: body.subarray(10) };
    case NUMBER.reply:
      return { type: "reply", stream: stream(), fin, headers: body.subarray(4) };
    case NUMBER.headers:
      return { type: "headers", stream: stream(), fin, headers: body.subarray(4) };
    case NUMBER.reset:
      return { type: "reset", stream: stream(), status: word(1) };
    case NUMBER.ping:
      return { type: "ping", id: word(0) };
    case NUMBER.goaway:
      return { type: "goaway", last: stream(), status: word(1) };
    default:
      return { type: "other", number };
  }
}

export function writeFrame(frame: Exclude<Frame, { readonly type: "other" }>): Buffer {
  const words = (...list: number[]) => {
    const bytes = Buffer.alloc(list.length * 4);
    for (const [index, word] of list.entries()) bytes.writeUInt32BE(word >>> 0, index * 4);
    return bytes;
  };
  const control = (number: number, body: Buffer, fin = false) =>
    Buffer.concat([words(0x80000000 + VERSION * 0x10000 + number, (fin ? 0x1000000 : 0) + body.length), body]);
  switch (frame.type) {
    case "data":
      return Buffer.concat([words(frame.stream, (frame.fin ? 0x1000000 : 0) + frame.data.length), frame.data]);
    case "open":
      return control(NUMBER.open, Buffer.concat([words(frame.stream, 0), Buffer.alloc(2), frame.headers]), frame.fin);
    case "reply":
    case "headers":
      return control(NUMBER[frame.type], Buffer.concat([words(frame.stream), frame.headers]), frame.fin);
    case "reset":
      return control(NUMBER.reset, words(frame.stream, frame.status));
    case "ping":
      return control(NUMBER.ping, words(frame.id));
    case "goaway":
      return control(NUMBER.goaway, words(frame.last, frame.status));
  }
}

export type Headers = Readonly<Record<string, string>>;

/** A block of headers before compression: their number, then names and values behind their lengths. */
export function writeHeaders(headers: Headers): Buffer {
  const text = (value: string) => {
    const bytes = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return [length, bytes];
  };
  const entries = Object.entries(headers);
  const count = Buffer.alloc(4);
  count.writeUInt32BE(entries.length);
  return Buffer.concat([count, ...entries.flatMap(([name, value]) => [...text(name.toLowerCase()), ...text(value)])]);
}

/** @throws RangeError where the block ends early */
export function readHeaders(block: Buffer): Headers {
  let at = 0;
  const word = () => {
    if (at + 4 > block.length) throw new RangeError("a block of headers ends early");
    const value = block.readUInt32BE(at);
    at += 4;
    return value;
  };
  const text = () => {
    const length = word();
    if (at + length > block.length) throw new RangeError("a block of headers ends early");
    at += length;
    return block.toString("utf8", at - length, at);
  };
  const headers: Record<string, string> = {};
  for (let left = word(); left > 0; left--) {
    const name = text();
    headers[name] = text();
  }
  return headers;
}
