// The lab's upstream DNS server: a small world outside the cluster, answered from a table.
import { createSocket } from "node:dgram";
import { CLASS, type Message, RCODE, type ResourceRecord, TYPE } from "./message.ts";
import { decodeMessage, encodeMessage } from "./wire/codec.ts";

/** Serves `records` (lower-case names with a final dot) on a bound IPv4 UDP descriptor; every other name does not exist. */
export function serveUpstream(fd: number, records: readonly ResourceRecord[]): { close(): void } {
  const socket = createSocket("udp4");
  socket.on("error", () => {});
  socket.on("message", (bytes, remote) => {
    let query: Message;
    try {
      query = decodeMessage(bytes);
    } catch {
      return;
    }
    const question = query.questions[0];
    if (query.response || !question) return;
    const named = records.filter((record) => record.name === question.name.toLowerCase());
    const answers = named.filter(
      (record) => question.type === TYPE.ANY || (record.data.type !== "other" && TYPE[record.data.type] === question.type),
    );
    const response: Message = {
      ...query,
      response: true,
      recursionAvailable: true,
      rcode: named.length > 0 ? RCODE.NOERROR : RCODE.NXDOMAIN,
      answers: answers.map((record) => ({ ...record, name: question.name, class: CLASS.IN })),
      authorities: [],
      additionals: [],
    };
    socket.send(encodeMessage(response, 1232), remote.port, remote.address, () => {});
  });
  socket.bind({ fd });
  return { close: () => socket.close() };
}
