// Asks the cluster's DNS from inside a namespace, with a real packet.
import { createSocket } from "node:dgram";
import { deadline } from "../base/index.ts";
import { decodeMessage, encodeMessage, type Message, queryMessage, TYPE } from "../dns/index.ts";
import type { NetworkNamespace } from "../kernel/index.ts";

/** The server's answer; undefined after the time-out. */
export function askDns(
  namespace: NetworkNamespace,
  server: string,
  name: string,
  type: number = TYPE.A,
  timeoutMs = 1000,
): Promise<Message | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(server.includes(":") ? "udp6" : "udp4");
    const done = (message?: Message) => {
      heard();
      clearInterval(again);
      socket.close();
      resolve(message);
    };
    const heard = deadline(timeoutMs, () => done());
    let again: NodeJS.Timeout | undefined;
    socket.once("error", () => done());
    socket.on("message", (bytes) => {
      try {
        done(decodeMessage(bytes));
      } catch {
        // Not an answer.
      }
    });
    const query = queryMessage({ name: name.endsWith(".") ? name : `${name}.`, type }, { id: Math.floor(Math.random() * 65_536) });
    socket.bind({ fd: namespace.bindSocket({ protocol: "udp", address: server.includes(":") ? "::" : "0.0.0.0", port: 0 }) }, () => {
      const send = () => socket.send(encodeMessage(query), 53, server, () => {});
      send();
      again = setInterval(send, Math.max(20, timeoutMs / 4));
    });
  });
}

/** The first address that a name stands for, following the resolver's search path; undefined if there is none. */
export async function resolveName(
  namespace: NetworkNamespace,
  server: string,
  name: string,
  searches: readonly string[],
): Promise<string | undefined> {
  const candidates = name.endsWith(".") ? [name] : [...searches.map((search) => `${name}.${search}.`), `${name}.`];
  for (const candidate of candidates) {
    for (const type of [TYPE.A, TYPE.AAAA]) {
      const answer = await askDns(namespace, server, candidate, type);
      const record = answer?.answers.find((each) => each.data.type === "A" || each.data.type === "AAAA");
      if (record && "address" in record.data) return record.data.address;
    }
  }
  return undefined;
}
