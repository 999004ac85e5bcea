// One TCP connection to a neighbour: bytes in become messages, messages out are batched, and how much waits is known.
import type { Socket } from "node:net";
import { HEADER_LENGTH, messageLengthAt } from "../wire/message.ts";
import type { ProtocolError } from "../wire/protocol-error.ts";

export interface LinkEvents {
  /** One whole message; the bytes are valid during the call. Returns false to stop reading. */
  readonly message: (bytes: Buffer) => boolean;
  readonly malformed: (error: ProtocolError) => void;
  readonly closed: (why: string) => void;
  /** Everything that waited has been handed to the kernel. */
  readonly drained: () => void;
}

/** Bytes waiting from which a neighbour counts as slow. */
const HIGH_WATER = 1 << 20;
/** How long a close waits for the last words to go out. */
const LINGER_MS = 2000;

export class Link {
  readonly socket: Socket;
  messageLimit = 4096;
  /** When something was last received; by the clock of the owner. */
  lastHeard = 0;
  /** When something was last taken from us. */
  lastTaken = 0;
  messagesIn = 0;
  messagesOut = 0;
  readonly #events: LinkEvents;
  readonly #now: () => number;
  #rest: Buffer = Buffer.alloc(0);
  #closed = false;
  #why = "the neighbour closed the connection";

  constructor(socket: Socket, events: LinkEvents, now: () => number) {
    this.socket = socket;
    this.#events = events;
    this.#now = now;
    this.lastHeard = now();
    this.lastTaken = now();
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("drain", () => {
      this.lastTaken = this.#now();
      events.drained();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.#why = error.code ?? error.message;
    });
    socket.on("close", () => {
      if (!this.#closed) {
        this.#closed = true;
        events.closed(this.#why);
      }
    });
  }

  /** Bytes that wait to be taken. */
  get waiting(): number {
    return this.socket.writableLength;
  }

  get slow(): boolean {
    return this.socket.writableLength > HIGH_WATER;
  }

  send(bytes: Uint8Array): void {
    if (this.#closed) return;
    if (this.socket.writableLength === 0) this.lastTaken = this.#now();
    this.socket.write(bytes, () => {
      this.lastTaken = this.#now();
    });
  }

  /** Closes after what has been sent; no event follows. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const { socket } = this;
    if (socket.connecting) {
      socket.destroy();
      return;
    }
    socket.end();
    socket.resume();
    const timer = setTimeout(() => socket.destroy(), LINGER_MS);
    socket.once("close", () => clearTimeout(timer));
    timer.unref();
  }

  /** Closes without waiting. */
  abort(): void {
    this.#closed = true;
    this.socket.destroy();
  }

  #read(chunk: Buffer): void {
    if (this.#closed) return;
    this.lastHeard = this.#now();
    let bytes = chunk;
    if (this.#rest.length > 0) {
      bytes = Buffer.concat([this.#rest, chunk]);
      this.#rest = Buffer.alloc(0);
    }
    let at = 0;
    while (bytes.length - at >= HEADER_LENGTH) {
      const length = messageLengthAt(bytes, at, this.messageLimit);
      if (!length.ok) {
        this.#events.malformed(length.error);
        return;
      }
      if (bytes.length - at < length.value) break;
      this.messagesIn++;
      if (!this.#events.message(bytes.subarray(at, at + length.value)) || this.#closed) return;
      at += length.value;
    }
    if (at < bytes.length) this.#rest = Buffer.from(bytes.subarray(at));
  }
}
