// Questions to another server by TCP or TLS (RFC 7766, RFC 7858): connections are kept for a while, many questions on each.
import { randomInt } from "node:crypto";
import type { Socket } from "node:net";
import type { ConnectionOptions } from "node:tls";
import { deadline, messageOf } from "../../base/index.ts";
import type { Message } from "../message.ts";
import type { DnsNetwork } from "../network.ts";
import { decodeMessage, encodeMessage } from "../wire/codec.ts";
import { ExchangeError, type Peer, sameQuestion } from "./exchange.ts";

export interface StreamOptions {
  readonly network: DnsNetwork;
  readonly peer: Peer;
  /** With it the connection is encrypted, and the peer's certificate checked. */
  readonly tls?: ConnectionOptions | undefined;
  /** Milliseconds that a connection is kept without a question. */
  readonly expire: number;
}

/** Questions on one connection before another is opened, up to CONNECTIONS: some servers answer one after the other. */
const CROWD = 32;
const CONNECTIONS = 8;

/** What a socket says that was written to, or read from, after the peer had closed it. */
const RESETS: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE"]);

export class StreamPool {
  readonly #options: StreamOptions;
  readonly #connections = new Set<Connection>();
  #closed = false;

  constructor(options: StreamOptions) {
    this.#options = options;
  }

  /** The peer's answer. A kept connection that the peer closed meanwhile is replaced once. @throws ExchangeError */
  async ask(query: Message, timeout: number): Promise<{ readonly answer: Message; readonly reused: boolean }> {
    if (this.#closed) throw new ExchangeError("the server is ending");
    const kept = this.#pick();
    if (kept) {
      const answer = await kept.ask(query, timeout);
      if (!(answer instanceof ExchangeError)) return { answer, reused: true };
      if (!kept.closedByPeer) throw answer;
    }
    const answer = await this.#open().ask(query, timeout);
    if (answer instanceof ExchangeError) throw answer;
    return { answer, reused: false };
  }

  #pick(): Connection | undefined {
    let best: Connection | undefined;
    for (const each of this.#connections) if (best === undefined || each.load < best.load) best = each;
    return best && (best.load < CROWD || this.#connections.size >= CONNECTIONS) ? best : undefined;
  }

  #open(): Connection {
    const connection = new Connection(this.#options, () => this.#connections.delete(connection));
    this.#connections.add(connection);
    return connection;
  }

  close(): void {
    this.#closed = true;
    for (const connection of [...this.#connections]) connection.end(new ExchangeError("the server is ending"));
  }
}

interface Waiting {
  readonly query: Message;
  done(answer: Message | ExchangeError): void;
}

class Connection {
  readonly #options: StreamOptions;
  readonly #waiting = new Map<number, Waiting>();
  readonly #gone: () => void;
  readonly #ready: Promise<Socket>;
  #socket: Socket | undefined;
  #buffered: Buffer = Buffer.alloc(0);
  #idle: NodeJS.Timeout | undefined;
  #ended = false;
  closedByPeer = false;

  constructor(options: StreamOptions, gone: () => void) {
    this.#options = options;
    this.#gone = gone;
    this.#ready = this.#connect();
    this.#ready.catch((error: unknown) => this.end(new ExchangeError(`${options.peer.text}: ${messageOf(error)}`)));
  }

  get load(): number {
    return this.#waiting.size;
  }

  async #connect(): Promise<Socket> {
    const { network, peer, tls } = this.#options;
    const plain = network.connectTcp(peer.address, peer.port);
    const socket = tls ? (await import("node:tls")).connect({ ...tls, socket: plain, host: peer.address }) : plain;
    this.#socket = socket;
    // Of a TLS connection both ends may fail.
    const failed = (error: NodeJS.ErrnoException) => {
      // "close" comes after it, when who waited has been told already.
      if (error.code !== undefined && RESETS.has(error.code)) this.closedByPeer = true;
      this.end(new ExchangeError(`${peer.text}: ${error.message}`));
    };
    socket.on("error", failed);
    if (socket !== plain) plain.on("error", failed);
    socket.on("close", () => {
      this.closedByPeer = true;
      this.end(new ExchangeError(`${peer.text} closed the connection`));
    });
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    await new Promise<void>((resolve, reject) => {
      socket.once(tls ? "secureConnect" : "connect", resolve);
      socket.once("error", reject);
    });
    socket.setNoDelay(true);
    return socket;
  }

  ask(query: Message, timeout: number): Promise<Message | ExchangeError> {
    const { peer } = this.#options;
    return new Promise((resolve) => {
      const id = this.#freeId();
      const done = (answer: Message | ExchangeError) => {
        endWait();
        this.#waiting.delete(id);
        if (this.#waiting.size === 0) this.#restUntilExpired();
        resolve(answer);
      };
      const endWait = deadline(timeout, () => {
        done(new ExchangeError(`${peer.text} did not answer within ${timeout} ms`));
        // It may be dead; what comes next tries another.
        this.end(new ExchangeError(`${peer.text} does not answer`));
      });
      clearTimeout(this.#idle);
      this.#waiting.set(id, { query, done });
      const bytes = encodeMessage({ ...query, id });
      this.#ready.then(
        (socket) => {
          if (!this.#ended) socket.write(framed(bytes));
        },
        () => {},
      );
    });
  }

  #freeId(): number {
    for (;;) {
      const id = randomInt(65_536);
      if (!this.#waiting.has(id)) return id;
    }
  }

  #restUntilExpired(): void {
    if (this.#ended) return;
    this.#idle = setTimeout(() => this.end(new ExchangeError("the connection was idle")), this.#options.expire);
    this.#idle.unref();
  }

  #take(chunk: Buffer): void {
    this.#buffered = this.#buffered.length > 0 ? Buffer.concat([this.#buffered, chunk]) : chunk;
    while (this.#buffered.length >= 2 && this.#buffered.length >= 2 + this.#buffered.readUInt16BE(0)) {
      const end = 2 + this.#buffered.readUInt16BE(0);
      this.#answer(this.#buffered.subarray(2, end));
      this.#buffered = this.#buffered.subarray(end);
    }
  }

  #answer(bytes: Uint8Array): void {
    const { peer } = this.#options;
    let message: Message;
    try {
      message = decodeMessage(bytes);
    } catch (error) {
      this.end(new ExchangeError(`${peer.text} sent what is no answer: ${messageOf(error)}`));
      return;
    }
    const waiting = this.#waiting.get(message.id);
    if (waiting && message.response && sameQuestion(waiting.query, message)) waiting.done(message);
  }

  /** Closes the connection; who waits is told why. */
  end(why: ExchangeError): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#idle);
    this.#gone();
    for (const waiting of [...this.#waiting.values()]) waiting.done(why);
    this.#socket?.destroy();
  }
}

function framed(bytes: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(bytes.length + 2);
  frame.writeUInt16BE(bytes.length, 0);
  frame.set(bytes, 2);
  return frame;
}
