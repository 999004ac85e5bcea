// One SPDY/3.1 connection as the server of it: streams that the client opens, each a Duplex.
//
// The clients of Kubernetes keep no windows (they send and expect no WINDOW_UPDATE), so none are kept here; how much waits is
// bounded by the connection: reading stops while a stream's reader lags.
import { Duplex } from "node:stream";
import { constants, createDeflate, createInflate, type Deflate, type Inflate } from "node:zlib";
import { DICTIONARY } from "./dictionary.ts";
import { type Frame, type Headers, readFrame, readHeaders, writeFrame, writeHeaders } from "./frame.ts";

const PROTOCOL_ERROR = 1;
const CANCEL = 5;
const MAX_STREAMS = 1000;
/** A block of headers in its whole length; what unpacks to more is refused. */
const MAX_HEADERS = 64 * 1024;

export interface SpdyStream extends Duplex {
  readonly headers: Headers;
}

/** Serves the streams that the client opens on a connection. A connection that does not speak SPDY is destroyed. */
export function serveSpdy(connection: Duplex, onStream: (stream: SpdyStream) => void): void {
  const session = new Session(connection, onStream);
  session.run().catch(() => session.fail());
}

class Session {
  readonly #connection: Duplex;
  readonly #onStream: (stream: SpdyStream) => void;
  readonly #streams = new Map<number, ServerStream>();
  readonly #inflate: Inflate = createInflate({ dictionary: DICTIONARY, maxOutputLength: 1 << 30 });
  readonly #deflate: Deflate = createDeflate({ dictionary: DICTIONARY, flush: constants.Z_SYNC_FLUSH });
  #last = 0;

  constructor(connection: Duplex, onStream: (stream: SpdyStream) => void) {
    this.#connection = connection;
    this.#onStream = onStream;
    connection.on("error", () => {});
    connection.on("close", () => this.#endAll());
  }

  async run(): Promise<void> {
    let rest: Buffer = Buffer.alloc(0);
    for await (const chunk of this.#connection) {
      rest = rest.length > 0 ? Buffer.concat([rest, chunk as Buffer]) : (chunk as Buffer);
      let at = 0;
      for (let read = readFrame(rest, at); read; read = readFrame(rest, at)) {
        at = read.next;
        await this.#take(read.frame);
      }
      rest = rest.subarray(at);
    }
    this.#endAll();
  }

  fail(): void {
    if (this.#connection.writable) this.#connection.end(writeFrame({ type: "goaway", last: this.#last, status: PROTOCOL_ERROR }));
    this.#connection.destroy();
    this.#endAll();
  }

  #endAll(): void {
    for (const stream of this.#streams.values()) stream.destroy();
    this.#streams.clear();
    this.#inflate.destroy();
    this.#deflate.destroy();
  }

  async #take(frame: Frame): Promise<void> {
    switch (frame.type) {
      case "open":
        return this.#open(frame.stream, readHeaders(await pass(this.#inflate, frame.headers)), frame.fin);
      case "reply":
      case "headers":
        // Of no interest, but the decompressor must see it.
        await pass(this.#inflate, frame.headers);
        return;
      case "data": {
        const stream = this.#streams.get(frame.stream);
        // Copied, because the rest of the buffer may be large and live on.
        if (frame.data.length > 0) await stream?.deliver(Buffer.from(frame.data));
        if (frame.fin) await stream?.deliver(null);
        return;
      }
      case "reset":
        this.#streams.get(frame.stream)?.destroy();
        this.#streams.delete(frame.stream);
        return;
      case "ping":
        // A client's pings are odd; an even one answers ours.
        if (frame.id % 2 === 1) this.send(writeFrame(frame));
        return;
      case "goaway":
        this.#connection.end();
        return;
    }
  }

  async #open(id: number, headers: Headers, fin: boolean): Promise<void> {
    if (id <= this.#last || id % 2 === 0 || this.#streams.size >= MAX_STREAMS) {
      this.send(writeFrame({ type: "reset", stream: id, status: PROTOCOL_ERROR }));
      return;
    }
    this.#last = id;
    const stream = new ServerStream(id, headers, this);
    this.#streams.set(id, stream);
    stream.once("close", () => this.#streams.delete(id));
    this.send(writeFrame({ type: "reply", stream: id, fin: false, headers: await pass(this.#deflate, writeHeaders({})) }));
    this.#onStream(stream);
    if (fin) await stream.deliver(null);
  }

  /** Whether the connection takes more at once. */
  send(bytes: Buffer): boolean {
    return this.#connection.writable ? this.#connection.write(bytes) : true;
  }

  whenTaken(done: () => void): void {
    this.#connection.once("drain", done);
  }
}

class ServerStream extends Duplex implements SpdyStream {
  readonly headers: Headers;
  readonly #id: number;
  readonly #session: Session;
  #finished = false;
  #wanted: (() => void) | undefined;

  constructor(id: number, headers: Headers, session: Session) {
    super({ allowHalfOpen: true });
    this.headers = headers;
    this.#id = id;
    this.#session = session;
    this.on("error", () => {});
  }

  /** Gives data to the reader, null at its end; waits while the reader lags. */
  deliver(data: Buffer | null): Promise<void> | undefined {
    if (this.destroyed || this.readableEnded || this.push(data) || data === null) return undefined;
    return new Promise((resolve) => {
      this.#wanted = resolve;
    });
  }

  override _read(): void {
    this.#wanted?.();
    this.#wanted = undefined;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (this.#session.send(writeFrame({ type: "data", stream: this.#id, fin: false, data: chunk }))) done();
    else this.#session.whenTaken(done);
  }

  override _final(done: () => void): void {
    this.#finished = true;
    this.#session.send(writeFrame({ type: "data", stream: this.#id, fin: true, data: Buffer.alloc(0) }));
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#wanted?.();
    if (!this.#finished) this.#session.send(writeFrame({ type: "reset", stream: this.#id, status: CANCEL }));
    done(error);
  }
}

/** What a compressor or decompressor gives for some bytes, its state being kept for the next. */
function pass(stream: Deflate | Inflate, bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let size = 0;
    const onData = (part: Buffer) => {
      size += part.length;
      if (size > MAX_HEADERS) return settle(() => reject(new RangeError("a block of headers is too long")));
      parts.push(part);
    };
    const onError = (error: Error) => settle(() => reject(error));
    const settle = (then: () => void) => {
      stream.off("data", onData);
      stream.off("error", onError);
      then();
    };
    stream.on("data", onData);
    stream.once("error", onError);
    stream.write(bytes, () => setImmediate(() => settle(() => resolve(Buffer.concat(parts)))));
  });
}
