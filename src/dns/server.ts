// The cluster's DNS server: UDP and TCP in front, the cluster's zone and the upstream servers behind.
import { randomInt } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { createServer, type Server, Socket } from "node:net";
import { type Family, familyOf } from "../base/index.ts";
import type { ClusterSource } from "../cluster/index.ts";
import { type Answer, answerCluster, type ZoneOptions } from "./cluster-zone.ts";
import { type Message, RCODE, type ResourceRecord, TYPE } from "./message.ts";
import { decodeMessage, encodeMessage } from "./wire/codec.ts";
import { DnsFormatError } from "./wire/errors.ts";

/** How the server comes by sockets: a lab's server lives in a pod's namespace. */
export interface DnsSockets {
  /** A bound UDP descriptor for the service port. */
  readonly udp: { readonly fd: number; readonly family: Family };
  /** A listening TCP descriptor. */
  readonly tcp: number;
  /** A UDP descriptor to ask upstream with, bound to any port. */
  upstreamUdp(family: Family): number;
  /** A TCP descriptor that is not connected. */
  upstreamTcp(family: Family): number;
}

interface DnsServerOptions {
  readonly source: ClusterSource;
  readonly zone: ZoneOptions;
  /** Addresses asked, in turn, for what is not the cluster's. */
  readonly upstreams: readonly string[];
  readonly upstreamPort?: number;
  /** Milliseconds to wait for an upstream. */
  readonly timeoutMs?: number;
}

export interface DnsServer {
  /** Serves on one more set of sockets. */
  listen(sockets: DnsSockets): { close(): void };
  readonly queries: number;
}

const UDP_PLAIN = 512;
const UDP_MAX = 1232;
const MAX_PENDING = 2000;
const TCP_IDLE_MS = 10_000;

/** A server over a snapshot source. */
export function createDnsServer(options: DnsServerOptions): DnsServer {
  const state = { queries: 0 };

  async function answer(bytes: Uint8Array, upstream: Upstream, overTcp: boolean): Promise<Uint8Array | undefined> {
    state.queries++;
    let query: Message;
    try {
      query = decodeMessage(bytes);
    } catch (error) {
      if (!(error instanceof DnsFormatError) || bytes.length < 12) return undefined;
      return Uint8Array.of(bytes[0] ?? 0, bytes[1] ?? 0, 0x80 | ((bytes[2] ?? 0) & 0x79), RCODE.FORMERR, 0, 0, 0, 0, 0, 0, 0, 0);
    }
    if (query.response) return undefined;
    const limit = overTcp ? 65_535 : Math.min(UDP_MAX, Math.max(UDP_PLAIN, query.edns?.udpSize ?? UDP_PLAIN));
    const question = query.questions[0];
    if (query.opcode !== 0) return encodeMessage(reply(query, RCODE.NOTIMP), limit);
    if (!question || query.questions.length !== 1) return encodeMessage(reply(query, RCODE.FORMERR), limit);
    if (query.edns && query.edns.version !== 0) return encodeMessage({ ...reply(query, RCODE.BADVERS), edns: ourEdns }, limit);
    if (question.type === TYPE.AXFR || question.type === TYPE.IXFR) return encodeMessage(reply(query, RCODE.REFUSED), limit);
    if (!options.source.synced) return encodeMessage(reply(query, RCODE.SERVFAIL), limit);
    const found = answerCluster(options.source.snapshot, question, options.zone);
    if (!found) return (await upstream.ask(query, overTcp)) ?? encodeMessage(reply(query, RCODE.SERVFAIL), limit);
    const target = found.answers[0]?.data;
    const chased =
      target?.type === "CNAME" && question.type !== TYPE.CNAME ? await chase(found, question.type, target.target, upstream, query) : found;
    return encodeMessage({ ...reply(query, chased.rcode), ...chased, answers: shuffle(chased.answers) }, limit);
  }

  /** Follows an ExternalName's CNAME to the addresses behind it. */
  async function chase(found: Answer, type: number, target: string, upstream: Upstream, query: Message): Promise<Answer> {
    const question = { name: target, type, class: 1 };
    const inside = answerCluster(options.source.snapshot, question, options.zone);
    if (inside) return { ...found, answers: [...found.answers, ...inside.answers] };
    const { edns: _edns, ...plain } = query;
    const bytes = await upstream.ask({ ...plain, questions: [question] }, true);
    if (!bytes) return found;
    try {
      return { ...found, answers: [...found.answers, ...decodeMessage(bytes).answers] };
    } catch {
      return found;
    }
  }

  return {
    get queries() {
      return state.queries;
    },
    listen(sockets) {
      const upstream = new Upstream(options, sockets);
      const udp = createSocket(sockets.udp.family === 6 ? "udp6" : "udp4");
      udp.on("error", () => {});
      udp.on("message", async (bytes: Buffer, remote: RemoteInfo) => {
        const response = await answer(bytes, upstream, false);
        if (response) udp.send(response, remote.port, remote.address, () => {});
      });
      udp.bind({ fd: sockets.udp.fd });
      const tcp = serveTcp(sockets.tcp, (bytes) => answer(bytes, upstream, true));
      return {
        close() {
          udp.close();
          tcp.close();
          upstream.close();
        },
      };
    },
  };
}

const ourEdns = { udpSize: UDP_MAX, version: 0, dnssecOk: false };

function reply(query: Message, rcode: number): Message {
  return {
    id: query.id,
    response: true,
    opcode: query.opcode,
    authoritative: false,
    truncated: false,
    recursionDesired: query.recursionDesired,
    recursionAvailable: true,
    authenticData: false,
    checkingDisabled: query.checkingDisabled,
    rcode,
    questions: query.questions,
    answers: [],
    authorities: [],
    additionals: [],
    ...(query.edns ? { edns: { ...ourEdns, dnssecOk: query.edns.dnssecOk } } : {}),
  };
}

/** Addresses in random order, so that clients that take the first spread out; CNAMEs stay first. */
function shuffle(records: readonly ResourceRecord[]): ResourceRecord[] {
  const aliases = records.filter((record) => record.data.type === "CNAME");
  const others = records.filter((record) => record.data.type !== "CNAME");
  for (let i = others.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    const [a, b] = [others[i], others[j]];
    if (a && b) [others[i], others[j]] = [b, a];
  }
  return [...aliases, ...others];
}

/** TCP with two bytes of length before each message (RFC 1035 §4.2.2); queries of one connection are answered in order. */
function serveTcp(fd: number, answer: (bytes: Uint8Array) => Promise<Uint8Array | undefined>): { close(): void } {
  const open = new Set<Socket>();
  const server: Server = createServer((socket) => {
    open.add(socket);
    socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => open.delete(socket));
    let buffered: Buffer = Buffer.alloc(0);
    let chain = Promise.resolve();
    socket.on("data", (chunk: Buffer) => {
      buffered = buffered.length > 0 ? Buffer.concat([buffered, chunk]) : chunk;
      while (buffered.length >= 2 && buffered.length >= 2 + buffered.readUInt16BE(0)) {
        const end = 2 + buffered.readUInt16BE(0);
        const query = buffered.subarray(2, end);
        buffered = buffered.subarray(end);
        chain = chain.then(async () => {
          const response = await answer(query);
          if (!response || !socket.writable) return;
          socket.write(Buffer.concat([Buffer.from([response.length >> 8, response.length & 255]), response]));
        });
      }
    });
  });
  server.listen({ fd });
  return {
    close() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

interface Pending {
  readonly id: number;
  readonly question: string;
  resolve(bytes: Uint8Array | undefined): void;
}

/** Asks the upstream servers: one UDP socket per family, answers matched by id, server and question; TCP after truncation. */
class Upstream {
  readonly #options: DnsServerOptions;
  readonly #sockets: DnsSockets;
  readonly #udp = new Map<Family, UdpSocket>();
  readonly #pending = new Map<string, Pending>();

  constructor(options: DnsServerOptions, sockets: DnsSockets) {
    this.#options = options;
    this.#sockets = sockets;
  }

  /** The upstream's answer with the asker's id; undefined if none answers. */
  async ask(query: Message, overTcp: boolean): Promise<Uint8Array | undefined> {
    for (const address of this.#options.upstreams) {
      const bytes = await this.#askUdp(query, address);
      if (!bytes) continue;
      const truncated = ((bytes[2] ?? 0) & 2) !== 0;
      const whole = truncated && overTcp ? ((await this.#askTcp(query, address)) ?? bytes) : bytes;
      const own = Uint8Array.from(whole);
      own[0] = query.id >> 8;
      own[1] = query.id & 255;
      return own;
    }
    return undefined;
  }

  #askUdp(query: Message, address: string): Promise<Uint8Array | undefined> {
    if (this.#pending.size >= MAX_PENDING) return Promise.resolve(undefined);
    const id = randomInt(65_536);
    const key = `${address} ${id}`;
    return new Promise((resolve) => {
      const timer = setTimeout(() => done(undefined), this.#options.timeoutMs ?? 2000);
      const done = (bytes: Uint8Array | undefined) => {
        clearTimeout(timer);
        this.#pending.delete(key);
        resolve(bytes);
      };
      this.#pending.get(key)?.resolve(undefined);
      this.#pending.set(key, { id, question: questionKey(query), resolve: done });
      this.#socket(familyOf(address)).send(
        encodeMessage({ ...query, id }),
        this.#options.upstreamPort ?? 53,
        address,
        (error) => error && done(undefined),
      );
    });
  }

  #socket(family: Family): UdpSocket {
    let socket = this.#udp.get(family);
    if (!socket) {
      socket = createSocket(family === 6 ? "udp6" : "udp4");
      socket.on("error", () => {});
      socket.on("message", (bytes: Buffer, remote: RemoteInfo) => {
        if (bytes.length < 12) return;
        const pending = this.#pending.get(`${remote.address} ${bytes.readUInt16BE(0)}`);
        if (!pending) return;
        try {
          if (questionKey(decodeMessage(bytes)) === pending.question) pending.resolve(bytes);
        } catch {
          // Not an answer; the timer goes on.
        }
      });
      socket.bind({ fd: this.#sockets.upstreamUdp(family) });
      this.#udp.set(family, socket);
    }
    return socket;
  }

  #askTcp(query: Message, address: string): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => {
      // A descriptor that is not connected yet must not be read from before it is: manualStart.
      const socket = new Socket({ fd: this.#sockets.upstreamTcp(familyOf(address)), manualStart: true } as never);
      let buffered: Buffer = Buffer.alloc(0);
      const done = (bytes?: Uint8Array) => {
        socket.destroy();
        resolve(bytes);
      };
      socket.setTimeout(this.#options.timeoutMs ?? 2000, () => done());
      socket.on("error", () => done());
      socket.on("end", () => done());
      socket.on("data", (chunk: Buffer) => {
        buffered = Buffer.concat([buffered, chunk]);
        if (buffered.length >= 2 && buffered.length >= 2 + buffered.readUInt16BE(0))
          done(buffered.subarray(2, 2 + buffered.readUInt16BE(0)));
      });
      socket.connect({ host: address, port: this.#options.upstreamPort ?? 53 }, () => {
        const bytes = encodeMessage(query);
        socket.write(Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]));
      });
    });
  }

  close(): void {
    for (const socket of this.#udp.values()) socket.close();
    for (const pending of this.#pending.values()) pending.resolve(undefined);
  }
}

function questionKey(message: Message): string {
  const question = message.questions[0];
  return question ? `${question.name.toLowerCase()} ${question.type} ${question.class}` : "";
}
