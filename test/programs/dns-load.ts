// Asks a DNS server at a steady rate, each question from a port of its own (as a C library's resolver does) and only once.
//
//   node dns-load.ts SERVER NAME RATE SECONDS      prints {"sent","answered","lost","wrong","p99"} as JSON
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
const counts = { sent: 0, answered: 0, lost: 0, wrong: 0 };
const times: number[] = [];
const lookup = (host: string, _options: unknown, done: (error: null, address: string, family: number) => void) => done(null, host, 4);

/** One question: answered, or lost after a while. */
function ask(): void {
  const socket = createSocket({ type: "udp4", lookup: lookup as never });
  const id = Math.floor(Math.random() * 65_536);
  const started = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const end = (outcome: "answered" | "lost" | "wrong") => {
    clearTimeout(timer);
    counts[outcome]++;
    socket.close();
  };
  counts.sent++;
  timer = setTimeout(() => end("lost"), WAIT_MS);
  socket.on("error", () => {});
  socket.on("message", (bytes) => {
    times.push(performance.now() - started);
    // An answer to this question, without an error, with at least one record.
    const good = bytes.length > 12 && bytes.readUInt16BE(0) === id && ((bytes[3] ?? 0) & 15) === 0 && bytes.readUInt16BE(6) > 0;
    end(good ? "answered" : "wrong");
  });
  socket.send(Buffer.concat([Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), question]), 53, server);
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
while (counts.answered + counts.lost + counts.wrong < counts.sent) await new Promise((resolve) => setTimeout(resolve, 20));
times.sort((a, b) => a - b);
process.stdout.write(`${JSON.stringify({ ...counts, p99: Math.round((times[Math.floor(times.length * 0.99)] ?? 0) * 100) / 100 })}\n`);
