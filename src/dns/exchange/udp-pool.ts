// Questions to other servers by UDP: a few sockets on random ports, replaced now and then, each question under a random id.
//
// An answer counts only from the asked address and port, with the asked id and question (RFC 5452 §9).
import { randomInt } from "node:crypto";
import { deadline, messageOf } from "../../base/index.ts";
import type { Message } from "../message.ts";
import type { DnsNetwork, UdpPort } from "../network.ts";
import { decodeMessage, encodeMessage } from "../wire/codec.ts";
import { ExchangeError, type Peer, sameQuestion } from "./exchange.ts";

interface Waiting {
  readonly peer: Peer;
  readonly query: Message;
  done(answer: Message | ExchangeError): void;
}

interface OpenSocket {
  readonly port: Promise<UdpPort>;
  readonly born: number;
  readonly waiting: Map<number, Waiting>;
  retired: boolean;
}

export interface UdpPoolOptions {
  readonly network: DnsNetwork;
  readonly now: () => number;
  /** Milliseconds after which a socket is given up for one on another port. */
  readonly expire: number;
}

/** Questions that one socket holds before another is opened, up to SOCKETS for a peer. */
const CROWD = 500;
const SOCKETS = 16;

export class UdpPool {
  readonly #options: UdpPoolOptions;
  readonly #sockets = new Map<string, OpenSocket[]>();
  #closed = false;

  constructor(options: UdpPoolOptions) {
    this.#options = options;
  }

  /** The peer's answer. @throws ExchangeError */
  async ask(peer: Peer, query: Message, timeout: number): Promise<{ readonly answer: Message; readonly reused: boolean }> {
    if (this.#closed) throw new ExchangeError("the server is ending");
    const { socket, reused } = this.#pick(peer);
    let port: UdpPort;
    try {
      port = await socket.port;
    } catch (error) {
      socket.retired = true;
      throw new ExchangeError(`no socket to ask from: ${messageOf(error)}`);
    }
    if (this.#closed) throw new ExchangeError("the server is ending");
    const id = freeId(socket.waiting);
    const answer = await new Promise<Message | ExchangeError>((resolve) => {
      const done = (given: Message | ExchangeError) => {
        endWait();
        socket.waiting.delete(id);
        this.#tidy(socket, port);
        resolve(given);
      };
      const endWait = deadline(timeout, () => done(new ExchangeError(`${peer.text} did not answer within ${timeout} ms`)));
      socket.waiting.set(id, { peer, query, done });
      port.send(encodeMessage({ ...query, id }), peer.address, peer.port);
    });
    if (answer instanceof ExchangeError) throw answer;
    return { answer, reused };
  }

  #pick(peer: Peer): { readonly socket: OpenSocket; readonly reused: boolean } {
    const { now, expire } = this.#options;
    const sockets = (this.#sockets.get(peer.text) ?? []).filter((each) => {
      each.retired ||= now() - each.born > expire;
      return !each.retired;
    });
    this.#sockets.set(peer.text, sockets);
    const free = sockets.filter((each) => each.waiting.size < CROWD);
    const candidates = free.length > 0 || sockets.length >= SOCKETS ? (free.length > 0 ? free : sockets) : [];
    const found = candidates[randomInt(Math.max(1, candidates.length))];
    if (found) return { socket: found, reused: true };
    const opened = this.#open(peer);
    sockets.push(opened);
    return { socket: opened, reused: false };
  }

  #open(peer: Peer): OpenSocket {
    const { network, now, expire } = this.#options;
    const socket: OpenSocket = { port: network.connectUdp(peer.address, peer.port), born: now(), waiting: new Map(), retired: false };
    socket.port.then(
      (port) => {
        port.receive((bytes, address, from) => receive(socket, bytes, address, from));
        port.failed((error) => {
          for (const waiting of [...socket.waiting.values()]) waiting.done(new ExchangeError(`${peer.text}: ${error.message}`));
        });
        // Closes one that nobody asks by any more.
        setTimeout(() => {
          socket.retired = true;
          this.#tidy(socket, port);
        }, expire).unref();
      },
      () => {
        socket.retired = true;
      },
    );
    return socket;
  }

  /** Closes a retired socket after its last answer. */
  #tidy(socket: OpenSocket, port: UdpPort): void {
    if ((socket.retired || this.#closed) && socket.waiting.size === 0) port.close();
  }

  close(): void {
    this.#closed = true;
    for (const sockets of this.#sockets.values()) {
      for (const socket of sockets) {
        socket.retired = true;
        for (const waiting of [...socket.waiting.values()]) waiting.done(new ExchangeError("the server is ending"));
        void socket.port.then(
          (port) => port.close(),
          () => {},
        );
      }
    }
    this.#sockets.clear();
  }
}

function receive(socket: OpenSocket, bytes: Uint8Array, address: string, from: number): void {
  if (bytes.length < 12 || ((bytes[2] ?? 0) & 0x80) === 0) return;
  const waiting = socket.waiting.get(((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0));
  if (!waiting || waiting.peer.port !== from || waiting.peer.address !== plain(address)) return;
  let message: Message;
  try {
    message = decodeMessage(bytes);
  } catch (error) {
    waiting.done(new ExchangeError(`${waiting.peer.text} sent what is no answer: ${messageOf(error)}`));
    return;
  }
  // Another question's answer: forged, or very late. The wait goes on.
  if (sameQuestion(waiting.query, message)) waiting.done(message);
}

function plain(address: string): string {
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}

/** A random id that is not in use; at most half of them ever are. */
function freeId(used: ReadonlyMap<number, unknown>): number {
  for (;;) {
    const id = randomInt(65_536);
    if (!used.has(id)) return id;
  }
}
