// A connection that talks all the time, to see for how long it is silent: `node stream.ts serve`, `node stream.ts talk ADDRESS SECONDS`.
import { connect, createServer, type Socket } from "node:net";

const PORT = 7777;
const EVERY_MS = 5;
/** A server that is not up yet is asked again this often. */
const AGAIN_MS = 200;
const TRIES = 50;
const [what, address = "", seconds] = process.argv.slice(2);

if (what === "serve") {
  createServer((socket) => {
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.pipe(socket);
  }).listen({ host: "::", port: PORT });
} else {
  let answers = 0;
  let longest = 0;
  /** How late this process's own timers were: a busy machine is no silent network. */
  let lag = 0;
  let asked = Number.NaN;
  const end = (error?: Error) => {
    const longestMs = Math.max(longest, Number.isNaN(asked) ? 0 : performance.now() - asked);
    process.stdout.write(`${JSON.stringify({ answers, longestMs, lagMs: lag, error: error?.message ?? null })}\n`);
    process.exit(0);
  };
  const talk = (socket: Socket) => {
    const ask = () => {
      asked = performance.now();
      socket.write("x");
    };
    socket.on("data", () => {
      answers++;
      longest = Math.max(longest, performance.now() - asked);
      const due = performance.now() + EVERY_MS;
      setTimeout(() => {
        lag = Math.max(lag, performance.now() - due);
        ask();
      }, EVERY_MS);
    });
    socket.on("error", end);
    socket.on("close", () => end(new Error("closed")));
    setTimeout(end, Number(seconds) * 1000);
    ask();
  };
  const attempt = (left: number) => {
    const socket = connect({ host: address, port: PORT, noDelay: true });
    const fail = (error: Error) => (left > 0 ? setTimeout(() => attempt(left - 1), AGAIN_MS) : end(error));
    socket.once("error", fail);
    socket.once("connect", () => {
      socket.off("error", fail);
      talk(socket);
    });
  };
  attempt(TRIES);
}
