// Asks a DNS server as clients do, with real packets.
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { deadline } from "../src/base/index.ts";
import { type Edns, type Message, TYPE } from "../src/dns/message.ts";
import { formatRecord } from "../src/dns/text/format.ts";
import { decodeMessage, encodeMessage, queryMessage } from "../src/dns/wire/codec.ts";

export interface AskOptions {
  readonly port: number;
  readonly tcp?: boolean;
  readonly edns?: Edns;
  readonly class?: number;
  readonly id?: number;
  /** Default: PATIENCE_MS. */
  readonly timeoutMs?: number;
  readonly address?: string;
}

/** An answer comes soon or never; only who waits in vain waits so long. */
const PATIENCE_MS = 30_000;

/** The server's answer to one question. */
export async function ask(name: string, type: keyof typeof TYPE, options: AskOptions): Promise<Message> {
  const query = queryMessage(
    { name, type: TYPE[type], class: options.class ?? 1 },
    { id: options.id ?? 4242, ...(options.edns ? { edns: options.edns } : {}) },
  );
  return decodeMessage(await (options.tcp ? askTcp : askUdp)(encodeMessage(query), options));
}

/** Bytes there and back by UDP. */
export function askUdp(bytes: Uint8Array, { port, timeoutMs = PATIENCE_MS, address = "127.0.0.1" }: AskOptions): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    const endWait = deadline(timeoutMs, () => done(new Error("no answer")));
    const done = (result: Uint8Array | Error) => {
      endWait();
      socket.close();
      result instanceof Error ? reject(result) : resolve(result);
    };
    socket.on("message", done);
    socket.on("error", done);
    socket.send(bytes, port, address);
  });
}

/** Bytes there and back by a TCP connection of its own. */
export function askTcp(bytes: Uint8Array, { port, timeoutMs = PATIENCE_MS, address = "127.0.0.1" }: AskOptions): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, address, () => socket.write(framed(bytes)));
    let buffered: Buffer = Buffer.alloc(0);
    const endWait = deadline(timeoutMs, () => done(new Error("no answer")));
    const done = (result: Uint8Array | Error) => {
      endWait();
      socket.destroy();
      result instanceof Error ? reject(result) : resolve(result);
    };
    socket.on("error", done);
    socket.on("close", () => done(new Error("closed without an answer")));
    socket.on("data", (chunk: Buffer) => {
      buffered = Buffer.concat([buffered, chunk]);
      if (buffered.length >= 2 && buffered.length >= 2 + buffered.readUInt16BE(0)) done(buffered.subarray(2, 2 + buffered.readUInt16BE(0)));
    });
  });
}

/** A message with its length in front. */
export function framed(bytes: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
}

/** An answer as lines of text: flags and rcode, then each section, sorted. Serial numbers are shown as 0. */
export function printed(message: Message): string[] {
  const flags = [message.authoritative ? "aa" : "", message.truncated ? "tc" : "", message.recursionAvailable ? "ra" : ""].filter(
    (flag) => flag !== "",
  );
  const section = (name: string, records: Message["answers"]) =>
    records
      .map((record) => `${name} ${formatRecord(record.data.type === "SOA" ? { ...record, data: { ...record.data, serial: 0 } } : record)}`)
      .sort();
  return [
    [message.rcode, ...flags].join(" "),
    ...section("answer", message.answers),
    ...section("authority", message.authorities),
    ...section("additional", message.additionals),
  ];
}
