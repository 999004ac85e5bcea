// A process inside a namespace that sends datagrams from each of its addresses to each of the other side's, and notes what comes in.
//
//   arguments: {"own":["10.244.1.2"],"others":["10.244.2.2"],"port":7000,"burst":8,"gapMs":1}; it ends with its standard input, and prints
//   {"sent":[[from,to,ns,ns],…],"received":[[from,to,sequence,ns],…],"overflows":[[ns,ns],…]} with places in the lists and nanoseconds of
//   CLOCK_MONOTONIC: a packet went out between the two, and between two others something had no room in the buffers of this process.
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";

interface Settings {
  readonly own: readonly string[];
  readonly others: readonly string[];
  readonly port: number;
  /** Packets that are sent at once. */
  readonly burst: number;
  /** Between two bursts, in milliseconds. */
  readonly gapMs: number;
}

const LOOK_MS = 20;
/** What is on its way arrives within this time. */
const ARRIVES_MS = 400;
const { own, others, port, burst, gapMs } = JSON.parse(process.argv[2] ?? "") as Settings;
const now = () => Number(process.hrtime.bigint());
const sent: [number, number, number, number][] = [];
const received: [number, number, number, number][] = [];
const overflows: [number, number][] = [];
const sockets: Socket[] = [];
/** Of a port of their own: what the one side sends is no answer to what the other does. */
const senders: Socket[] = [];
async function open(address: string, at: number): Promise<Socket> {
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  socket.bind(at, address);
  await once(socket, "listening");
  sockets.push(socket);
  return socket;
}
for (const [index, address] of own.entries()) {
  const socket = await open(address, port);
  socket.on("message", (bytes, { address: from }) => {
    received.push([others.indexOf(from), index, bytes.readUInt32BE(0), now()]);
  });
  senders.push(await open(address, port + 1));
}

/** How often a datagram found no room in this namespace: when the process that is to read it stands still. */
function overflown(): number {
  const [names = [], values = []] = readFileSync("/proc/net/snmp", "utf8")
    .split("\n")
    .filter((line) => line.startsWith("Udp:"))
    .map((line) => line.split(" "));
  return Number(values[names.indexOf("RcvbufErrors")]);
}
let looked = { at: now(), overflown: overflown() };
const look = () => {
  const next = { at: now(), overflown: overflown() };
  if (next.overflown !== looked.overflown) overflows.push([looked.at, next.at]);
  looked = next;
};
const looking = setInterval(look, LOOK_MS);

process.stdout.write("ready\n");
let ended = false;
process.stdin.on("end", () => {
  ended = true;
});
process.stdin.resume();

const bytes = Buffer.alloc(4);
for (let pair = 0; !ended; pair++) {
  const from = pair % own.length;
  const to = Math.floor(pair / own.length) % others.length;
  bytes.writeUInt32BE(sent.length);
  const before = now();
  await new Promise((resolve) => senders[from]?.send(bytes, port, others[to], resolve));
  sent.push([from, to, before, now()]);
  if (pair % burst === burst - 1) await new Promise((resolve) => setTimeout(resolve, gapMs));
}
await new Promise((resolve) => setTimeout(resolve, ARRIVES_MS));
// What has arrived is read: immediates come after the sockets, timers before them.
for (let before = -1; before < received.length; ) {
  before = received.length;
  await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  await new Promise((resolve) => setImmediate(resolve));
}
clearInterval(looking);
look();
for (const socket of sockets) socket.close();
process.stdout.write(`${JSON.stringify({ sent, received, overflows })}\n`);
process.stdin.destroy();
