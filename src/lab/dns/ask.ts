// One question on the wire from inside a namespace, by UDP or TCP, and which server really answered it.
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { Socket } from "node:net";
import { deadline, familyOf } from "../../base/index.ts";
import { DnsFormatError, decodeMessage, encodeMessage, type Message, queryMessage } from "../../dns/index.ts";
import type { NetworkNamespace } from "../../kernel/index.ts";

export interface WireQuestion {
  readonly server: string;
  readonly name: string;
  readonly type: number;
  readonly transport: "udp" | "tcp";
  readonly waitMs: number;
}

export interface WireAnswer {
  readonly message: Message;
  readonly milliseconds: number;
  /** The port that was asked from: conntrack knows by it who answered. */
  readonly port: number;
}

/** The answer; undefined after the time, or where nobody listens. */
export function askWire(namespace: NetworkNamespace, question: WireQuestion): Promise<WireAnswer | undefined> {
  return question.transport === "udp" ? askUdp(namespace, question) : askTcp(namespace, question);
}

function askUdp(namespace: NetworkNamespace, { server, name, type, waitMs }: WireQuestion): Promise<WireAnswer | undefined> {
  return new Promise((resolve) => {
    const family = familyOf(server);
    const query = queryMessage({ name, type }, { id: randomInt(65_536) });
    const socket = createSocket(family === 6 ? "udp6" : "udp4");
    let started = 0;
    const done = (message?: Message) => {
      heard();
      const { port } = socket.address();
      socket.close();
      resolve(message ? { message, milliseconds: performance.now() - started, port } : undefined);
    };
    const heard = deadline(waitMs, () => done());
    socket.on("error", () => {});
    socket.on("message", (bytes) => {
      const message = read(bytes, query);
      if (message) done(message);
    });
    const fd = namespace.bindSocket({ protocol: "udp", address: family === 6 ? "::" : "0.0.0.0", port: 0 });
    socket.bind({ fd }, () => {
      started = performance.now();
      socket.send(encodeMessage(query), 53, server, () => {});
    });
  });
}

function askTcp(namespace: NetworkNamespace, { server, name, type, waitMs }: WireQuestion): Promise<WireAnswer | undefined> {
  return new Promise((resolve) => {
    const query = queryMessage({ name, type }, { id: randomInt(65_536) });
    const started = performance.now();
    // A descriptor that is not connected yet must not be read from before it is: manualStart.
    const socket = new Socket({ fd: namespace.openSocket({ protocol: "tcp", family: familyOf(server) }), manualStart: true } as never);
    let buffered: Buffer = Buffer.alloc(0);
    const done = (message?: Message) => {
      heard();
      const port = socket.localPort ?? 0;
      socket.destroy();
      resolve(message ? { message, milliseconds: performance.now() - started, port } : undefined);
    };
    const heard = deadline(waitMs, () => done());
    socket.on("error", () => done());
    socket.on("end", () => done());
    socket.on("data", (chunk: Buffer) => {
      buffered = Buffer.concat([buffered, chunk]);
      if (buffered.length >= 2 && buffered.length >= 2 + buffered.readUInt16BE(0))
        done(read(buffered.subarray(2, 2 + buffered.readUInt16BE(0)), query));
    });
    socket.connect({ host: server, port: 53 }, () => {
      const bytes = encodeMessage(query);
      socket.write(Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]));
    });
  });
}

/** The message, if it answers the query. */
function read(bytes: Uint8Array, query: Message): Message | undefined {
  try {
    const message = decodeMessage(bytes);
    return message.response && message.id === query.id ? message : undefined;
  } catch (error) {
    if (error instanceof DnsFormatError) return undefined;
    throw error;
  }
}
