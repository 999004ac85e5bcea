// DNS over TCP (RFC 7766): two bytes of length before each message, many queries on a connection, answered as they come.
//
// What a client may cost is bounded: connections, bytes of unfinished queries over all connections, queries at work and
// bytes unsent on one. A connection that completes no query for a while is closed, whatever trickles in.
import { createServer, type Server, type Socket } from "node:net";
import { deadline } from "../../base/index.ts";
import type { Origin } from "../query.ts";

export interface TcpLimits {
  /** Connections; the one that is idle longest is closed for a new one. */
  readonly connections: number;
  /** Milliseconds without a whole query or an answer taken. */
  readonly idle: number;
  /** Queries of one connection that wait for their answers; it is not read further meanwhile. */
  readonly pipelined: number;
  /** Bytes of unfinished queries, over all connections. */
  readonly unfinished: number;
}

export const TCP_LIMITS: TcpLimits = { connections: 16_384, idle: 10_000, pipelined: 128, unfinished: 64 * 1024 * 1024 };

/** Connections above the limit while those that are closed for them end. */
const SPARE = 64;

type Answer = (bytes: Uint8Array, origin: Origin) => Uint8Array | undefined | Promise<Uint8Array | undefined>;

/** Bytes that an answer waits with in a connection before it is read no further. */
const UNSENT = 256 * 1024;

/** A query that trickles in byte by byte is put together now and then, so that it costs what it is long. */
const MANY_CHUNKS = 64;

export class TcpService {
  readonly server: Server;
  readonly #limits: TcpLimits;
  readonly #answer: Answer;
  readonly #name: string;
  /** In order of last use: the first has been idle longest. */
  readonly #open = new Set<Connection>();
  unfinished = 0;

  /** `name`: how the listener is called in a query's origin. */
  constructor(name: string, answer: Answer, limits: TcpLimits = TCP_LIMITS) {
    this.#name = name;
    this.#answer = answer;
    this.#limits = limits;
    this.server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => this.#accept(socket));
    // A descriptor too many: the client that was not accepted tries again.
    this.server.on("error", () => {});
  }

  get connections(): number {
    return this.#open.size;
  }

  #accept(socket: Socket): void {
    if (this.#open.size >= this.#limits.connections) {
      const [oldest] = this.#open;
      oldest?.end();
      // It still has answers to give, as has every other: then it is this one's turn to wait.
      if (this.#open.size >= this.#limits.connections + SPARE) {
        socket.destroy();
        return;
      }
    }
    const origin: Origin = {
      transport: "tcp",
      address: unmapped(socket.remoteAddress ?? ""),
      port: socket.remotePort ?? 0,
      server: this.#name,
    };
    const connection = new Connection({ socket, origin, service: this, limits: this.#limits, answer: this.#answer });
    this.#open.add(connection);
    socket.on("close", () => {
      connection.forget();
      this.#open.delete(connection);
    });
  }

  /** Puts a connection behind all others: it was used just now. */
  used(connection: Connection): void {
    this.#open.delete(connection);
    this.#open.add(connection);
  }

  /** Takes no more connections, and closes those that are there once their answers are sent. */
  close(): void {
    this.server.close();
    for (const connection of this.#open) connection.end();
  }
}

interface ConnectionOptions {
  readonly socket: Socket;
  readonly origin: Origin;
  readonly service: TcpService;
  readonly limits: TcpLimits;
  readonly answer: Answer;
}

class Connection {
  readonly #options: ConnectionOptions;
  #chunks: Buffer[] = [];
  #buffered = 0;
  #working = 0;
  #ending = false;
  #endIdle: () => void = () => {};

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const { socket } = options;
    this.#waitForQuery();
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("drain", () => this.#goOn());
    // The asker has no more questions; it still wants its answers.
    socket.on("end", () => this.end());
  }

  /** The time without a query begins anew. */
  #waitForQuery(): void {
    const { socket, limits } = this.#options;
    this.#endIdle();
    this.#endIdle = deadline(limits.idle, () => socket.destroy());
  }

  #take(chunk: Buffer): void {
    const { service, limits, socket } = this.#options;
    this.#chunks.push(chunk);
    if (this.#chunks.length > MANY_CHUNKS) this.#chunks = [Buffer.concat(this.#chunks)];
    this.#buffered += chunk.length;
    service.unfinished += chunk.length;
    if (service.unfinished > limits.unfinished) {
      socket.destroy();
      return;
    }
    this.#goOn();
  }

  /** Answers the whole queries that are there, as far as the limits go; stops and goes on reading accordingly. */
  #goOn(): void {
    const { socket, limits, service } = this.#options;
    let asked = false;
    while (this.#working < limits.pipelined && socket.writableLength < UNSENT && !socket.destroyed) {
      const query = this.#next();
      if (!query) break;
      asked = true;
      service.used(this);
      this.#serve(query);
    }
    if (asked && !socket.destroyed) this.#waitForQuery();
    const busy = this.#working >= limits.pipelined || socket.writableLength >= UNSENT;
    if (busy !== socket.isPaused()) busy ? socket.pause() : socket.resume();
    if (this.#ending && this.#working === 0 && this.#wholeLength() < 0) socket.destroySoon();
  }

  /** Length of the first message with its two bytes; -1 where it is not there whole. */
  #wholeLength(): number {
    if (this.#buffered < 2) return -1;
    if ((this.#chunks[0]?.length ?? 0) < 2) this.#chunks = [Buffer.concat(this.#chunks)];
    const length = 2 + (this.#chunks[0]?.readUInt16BE(0) ?? 0);
    return this.#buffered >= length ? length : -1;
  }

  #next(): Buffer | undefined {
    const length = this.#wholeLength();
    if (length < 0) return undefined;
    const [first] = this.#chunks;
    const all = this.#chunks.length === 1 && first ? first : Buffer.concat(this.#chunks);
    const rest = all.subarray(length);
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#buffered = rest.length;
    this.#options.service.unfinished -= length;
    return all.subarray(2, length);
  }

  #serve(query: Buffer): void {
    const { answer, origin } = this.#options;
    const given = answer(query, origin);
    if (!(given instanceof Promise)) {
      this.#send(given);
      return;
    }
    this.#working++;
    void given.then((bytes) => {
      this.#working--;
      this.#send(bytes);
      this.#goOn();
    });
  }

  #send(bytes: Uint8Array | undefined): void {
    const { socket } = this.#options;
    if (!bytes || !socket.writable) return;
    const framed = Buffer.allocUnsafe(bytes.length + 2);
    framed.writeUInt16BE(bytes.length, 0);
    framed.set(bytes, 2);
    socket.write(framed);
  }

  /** Closes once what was asked is answered. */
  end(): void {
    this.#ending = true;
    this.#goOn();
  }

  /** The connection is gone: so are its timer and its unfinished bytes. */
  forget(): void {
    this.#endIdle();
    this.#options.service.unfinished -= this.#buffered;
    this.#buffered = 0;
    this.#chunks = [];
  }
}

/** An IPv4 address that a socket of both families shows as a mapped IPv6 one. */
export function unmapped(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}
