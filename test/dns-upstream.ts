// An upstream DNS server that does what a test tells it to.
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket as TcpSocket } from "node:net";
import { type Message, RCODE, type ResourceRecord, TYPE } from "../src/dns/message.ts";
import { decodeMessage, encodeMessage } from "../src/dns/wire/codec.ts";
import { framed } from "./dns-client.ts";

export interface TestUpstream {
  readonly port: number;
  /** What it was asked: "NAME TYPE udp|tcp". */
  readonly asked: string[];
  /** What it does with a query: an answer's bytes, nothing, or many. */
  behave: (query: Message, transport: "udp" | "tcp") => Message | Uint8Array | undefined | Promise<Message | Uint8Array | undefined>;
  /** From now on its port refuses questions by UDP, yet nobody else can have it; until it comes back. */
  leave(): Promise<void>;
  comeBack(): void;
  /** Resets the connections that it has by TCP, and takes new ones. */
  hangUp(): void;
  close(): Promise<void>;
}

/** Nobody asks from here (RFC 863). */
const DISCARD = 9;

/** The world outside of the test's cluster. */
export const OUTSIDE: readonly ResourceRecord[] = [
  { name: "db.example.org.", class: 1, ttl: 300, data: { type: "A", address: "203.0.113.10" } },
  { name: "db.example.org.", class: 1, ttl: 300, data: { type: "AAAA", address: "2001:db8::10" } },
  { name: "www.example.org.", class: 1, ttl: 60, data: { type: "CNAME", target: "web.example.org." } },
  { name: "web.example.org.", class: 1, ttl: 60, data: { type: "A", address: "203.0.113.80" } },
  { name: "short.example.org.", class: 1, ttl: 1, data: { type: "A", address: "203.0.113.1" } },
  {
    name: "big.example.org.",
    class: 1,
    ttl: 60,
    data: { type: "TXT", texts: Array.from({ length: 12 }, (_, index) => `${index} ${"x".repeat(200)}`) },
  },
];

const SOA: ResourceRecord = {
  name: "example.org.",
  class: 1,
  ttl: 60,
  data: { type: "SOA", primary: "ns.example.org.", mailbox: "root.example.org.", serial: 0, refresh: 1, retry: 1, expire: 1, minimum: 60 },
};

/** Answers from a table, aliases followed. */
export function fromTable(query: Message, records: readonly ResourceRecord[] = OUTSIDE): Message {
  const [question] = query.questions;
  const answers: ResourceRecord[] = [];
  let name = question?.name.toLowerCase() ?? "";
  let found = false;
  for (;;) {
    const named = records.filter((record) => record.name === name);
    found ||= named.length > 0;
    const alias = named.find(({ data }) => data.type === "CNAME");
    answers.push(...named.filter(({ data }) => data.type === "CNAME" || (data.type !== "other" && TYPE[data.type] === question?.type)));
    if (alias?.data.type !== "CNAME" || question?.type === TYPE.CNAME) break;
    name = alias.data.target;
  }
  const rcode = found ? RCODE.NOERROR : RCODE.NXDOMAIN;
  return {
    ...query,
    response: true,
    recursionAvailable: true,
    rcode,
    answers,
    authorities: answers.length > 0 ? [] : [SOA],
    additionals: [],
  };
}

/** Both transports on one port of 127.0.0.1. TCP's comes first: it may be in use by far more sockets than UDP's. */
async function bindBoth(tcp: Server): Promise<Socket> {
  for (let attempt = 0; ; attempt++) {
    await once(tcp.listen(0, "127.0.0.1"), "listening");
    const udp = createSocket("udp4");
    try {
      await once(udp.bind((tcp.address() as AddressInfo).port, "127.0.0.1"), "listening");
      return udp;
    } catch (error) {
      udp.close();
      await new Promise((resolve) => tcp.close(resolve));
      if (attempt > 20) throw error;
    }
  }
}

/** On a port of its own of 127.0.0.1, for both transports. */
export async function startUpstream(): Promise<TestUpstream> {
  const behave: TestUpstream["behave"] = (query) => fromTable(query);
  const upstream = { asked: [] as string[], behave };
  let closed = false;
  const answer = async (bytes: Uint8Array, transport: "udp" | "tcp") => {
    try {
      const given = await behaved(bytes, transport);
      return closed ? undefined : given;
    } catch (error) {
      // Nobody waits for it any more.
      if (!closed) throw error;
      return undefined;
    }
  };
  const behaved = async (bytes: Uint8Array, transport: "udp" | "tcp") => {
    const query = decodeMessage(bytes);
    const [question] = query.questions;
    upstream.asked.push(`${question?.name} ${Object.entries(TYPE).find(([, code]) => code === question?.type)?.[0]} ${transport}`);
    const given = await upstream.behave(query, transport);
    if (given === undefined || given instanceof Uint8Array) return given;
    return encodeMessage(given, transport === "udp" ? Math.max(512, query.edns?.udpSize ?? 512) : undefined);
  };
  const tcp = serveTcp((bytes) => answer(bytes, "tcp"));
  const udp = await bindBoth(tcp);
  udp.on("message", async (bytes, remote) => {
    const given = await answer(bytes, "udp");
    if (given) udp.send(given, remote.port, remote.address);
  });
  return Object.assign(upstream, {
    port: udp.address().port,
    leave: async () => {
      // A socket that is connected to a port takes nothing from others: they are told that there is nobody.
      udp.connect(DISCARD, "127.0.0.1");
      await once(udp, "connect");
    },
    comeBack: () => udp.disconnect(),
    hangUp: () => tcp.each((socket) => socket.resetAndDestroy()),
    close: () => {
      closed = true;
      return end(udp, tcp);
    },
  });
}

type TcpServer = Server & { each(act: (socket: TcpSocket) => void): void };

function serveTcp(answer: (bytes: Uint8Array) => Promise<Uint8Array | undefined>): TcpServer {
  const open = new Set<TcpSocket>();
  const server = createServer((socket) => {
    open.add(socket);
    let buffered: Buffer = Buffer.alloc(0);
    socket.on("error", () => {});
    socket.on("close", () => open.delete(socket));
    socket.on("data", async (chunk: Buffer) => {
      buffered = Buffer.concat([buffered, chunk]);
      while (buffered.length >= 2 && buffered.length >= 2 + buffered.readUInt16BE(0)) {
        const query = buffered.subarray(2, 2 + buffered.readUInt16BE(0));
        buffered = buffered.subarray(2 + query.length);
        const given = await answer(query);
        if (given) socket.write(framed(given));
      }
    });
  });
  return Object.assign(server, { each: (act: (socket: TcpSocket) => void) => open.forEach(act) });
}

async function end(udp: Socket, tcp: TcpServer): Promise<void> {
  tcp.each((socket) => socket.destroy());
  await Promise.all([
    new Promise<void>((resolve) => udp.close(() => resolve())),
    new Promise<void>((resolve) => tcp.close(() => resolve())),
  ]);
}
