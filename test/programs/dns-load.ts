// Asks a DNS server at a steady rate, each question from a port of its own, and once more after two seconds, as the C library's
// resolver does in the guide's pod (timeout:2 attempts:2).
//
//   node dns-load.ts SERVER NAME RATE SECONDS      prints {"sent","answered","again","failed","wrong","p99"} as JSON
import { createSocket } from "node:dgram";

const [server = "", name = "", rateText = "", secondsText = ""] = process.argv.slice(2);
const rate = Number(rateText);
const seconds = Number(secondsText);
const WAIT_MS = 2000;
const TICK_MS = 5;

const labels = name.split(".").filter((label) => label !== "");
const question = Buffer.concat([
  ...labels.map((label) => Buffer.from([label.length, ...Buffer.from(label, "latin1")])),
  Buffer.from([0, 0, 1, 0, 1]),
]);
const counts = { sent: 0, answered: 0, again: 0, failed: 0, wrong: 0 };
const times: number[] = [];
const lookup = (host: string, _options: unknown, done: (error: null, address: string, family: number) => void) => done(null, host, 4);

/** One question: answered at the first or second attempt, or failed. */
function ask(): void {
  const socket = createSocket({ type: "udp4", lookup: lookup as never });
  const id = Math.floor(Math.random() * 65_536);
  const started = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const end = (outcome: "answered" | "failed" | "wrong") => {
    clearTimeout(timer);
    counts[outcome]++;
    socket.close();
  };
  counts.sent++;
  const query = Buffer.concat([Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), question]);
  timer = setTimeout(() => {
    counts.again++;
    socket.send(query, 53, server);
    timer = setTimeout(() => end("failed"), WAIT_MS);
  }, WAIT_MS);
  socket.on("error", () => {});
  socket.on("message", (bytes) => {
    times.push(performance.now() - started);
    // An answer to this question, without an error, with at least one record.
    const good = bytes.length > 12 && bytes.readUInt16BE(0) === id && ((bytes[3] ?? 0) & 15) === 0 && bytes.readUInt16BE(6) > 0;
    end(good ? "answered" : "wrong");
  });
  socket.send(query, 53, server);
}

const started = performance.now();
await new Promise<void>((resolve) => {
  const timer = setInterval(() => {
    const elapsed = Math.min(seconds, (performance.now() - started) / 1000);
    // A late tick makes up for what it missed, but not in one burst that no network would see.
    for (let due = Math.min(Math.floor(elapsed * rate) - counts.sent, Math.ceil(rate / 20)); due > 0; due--) ask();
    if (elapsed < seconds) return;
    clearInterval(timer);
    resolve();
  }, TICK_MS);
});
while (counts.answered + counts.failed + counts.wrong < counts.sent) await new Promise((resolve) => setTimeout(resolve, 20));
times.sort((a, b) => a - b);
process.stdout.write(`${JSON.stringify({ ...counts, p99: Math.round((times[Math.floor(times.length * 0.99)] ?? 0) * 100) / 100 })}\n`);
