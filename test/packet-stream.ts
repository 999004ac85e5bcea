// A process inside a namespace that sends datagrams from each of its addresses to each of the other side's, and notes what comes in.
//
//   arguments: {"own":["10.244.1.2"],"others":["10.244.2.2"],"port":7000,"burst":8,"gapMs":1}; it ends with its standard input, and prints
//   {"sent":[[from,to,ns],…],"received":[[from,to,sequence,ns],…]} with places in the lists and nanoseconds of CLOCK_MONOTONIC.
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";

interface Settings {
  readonly own: readonly string[];
  readonly others: readonly string[];
  readonly port: number;
  /** Packets that are sent at once. */
  readonly burst: number;
  /** Between two bursts, in milliseconds. */
  readonly gapMs: number;
}

const { own, others, port, burst, gapMs } = JSON.parse(process.argv[2] ?? "") as Settings;
const now = () => Number(process.hrtime.bigint());
const sent: [number, number, number][] = [];
const received: [number, number, number, number][] = [];
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
  sent.push([from, to, now()]);
  const done = new Promise((resolve) => senders[from]?.send(bytes, port, others[to], resolve));
  await done;
  if (pair % burst === burst - 1) await new Promise((resolve) => setTimeout(resolve, gapMs));
}
// What is still on its way.
await new Promise((resolve) => setTimeout(resolve, 400));
for (const socket of sockets) socket.close();
process.stdout.write(`${JSON.stringify({ sent, received })}\n`);
process.stdin.destroy();
