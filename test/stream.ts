// A connection that talks all the time, to see for how long it is silent: `node stream.ts serve`, `node stream.ts talk ADDRESS SECONDS`.
import { connect, createServer } from "node:net";

const PORT = 7777;
const EVERY_MS = 5;
const [what, address, seconds] = process.argv.slice(2);

if (what === "serve") {
  createServer((socket) => {
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.pipe(socket);
  }).listen({ host: "::", port: PORT });
} else {
  const socket = connect({ host: address ?? "", port: PORT });
  let answers = 0;
  let longest = 0;
  let asked = performance.now();
  const ask = () => {
    asked = performance.now();
    socket.write("x");
  };
  socket.setNoDelay(true);
  socket.on("connect", ask);
  socket.on("data", () => {
    answers++;
    longest = Math.max(longest, performance.now() - asked);
    setTimeout(ask, EVERY_MS);
  });
  const end = (error?: Error) => {
    process.stdout.write(
      `${JSON.stringify({ answers, longestMs: Math.max(longest, performance.now() - asked), error: error?.message ?? null })}\n`,
    );
    process.exit(0);
  };
  socket.on("error", end);
  socket.on("close", () => end(new Error("closed")));
  setTimeout(end, Number(seconds) * 1000);
}
