// A connection that talks all the time, to see for how long it is silent: `node stream.ts serve`, `node stream.ts talk ADDRESS`.
//
// Whoever talks prints how it stands, a line of JSON each time, and ends with its standard input. A process that stands still is no silent
// network: both ends measure how long they were not there, and what one of them slept is no part of the silence that it slept in.
import { connect, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";

/** What one who talks has seen. */
export interface Talk {
  readonly answers: number;
  /** The longest that it was without an answer, and for how long it is now, in milliseconds in which both ends were awake. */
  readonly longestMs: number;
  readonly silentMs: number;
  /** How long either end stood still, in all. */
  readonly stoodStillMs: number;
  /** Why the connection ended; null while it lasts, and when it was told to end. */
  readonly error: string | null;
}

const PORT = 7777;
const EVERY_MS = 5;
/** A server that is not up yet is asked again this often. */
const AGAIN_MS = 200;
const TELL_MS = 200;
/** A timer of this period tells what a process slept; that it comes as late as that is usual. */
const METER_MS = 20;

/** How long this process has stood still until now: timers that are due come before what the sockets have. */
function makeSleepMeter(): () => number {
  let slept = 0;
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    slept += Math.max(0, now - last - 2 * METER_MS);
    last = now;
  }, METER_MS);
  return () => slept;
}

function serve(slept: () => number): void {
  createServer((socket) => {
    socket.setNoDelay(true);
    socket.on("error", () => {});
    // It greets, and answers every question, with what this end has slept so far.
    const say = () => socket.write(`${Math.round(slept())}\n`);
    socket.on("data", say);
    say();
  }).listen({ host: "::", port: PORT });
}

function talk(address: string, slept: () => number): void {
  let [answers, longestMs] = [0, 0];
  /** What the other end had slept when it last said so. */
  let theirs = 0;
  /** The question that waits for its answer: when it was put, and what this end had slept by then. */
  let asked: { readonly at: number; readonly slept: number } | undefined;
  const silence = () => (asked ? performance.now() - asked.at - (slept() - asked.slept) : 0);
  const tell = (error: string | null = null) => {
    const silentMs = silence();
    const told: Talk = { answers, longestMs: Math.max(longestMs, silentMs), silentMs, stoodStillMs: slept() + theirs, error };
    process.stdout.write(`${JSON.stringify(told)}\n`);
  };
  const end = (error?: Error) => {
    tell(error?.message);
    process.exit(0);
  };
  const hear = (line: string) => {
    if (asked) {
      answers++;
      longestMs = Math.max(longestMs, silence() - (Number(line) - theirs));
    }
    theirs = Number(line);
    asked = undefined;
  };
  const begin = (socket: Socket) => {
    const ask = () => {
      asked = { at: performance.now(), slept: slept() };
      socket.write("x");
    };
    createInterface({ input: socket })
      .on("line", (line) => {
        hear(line);
        setTimeout(ask, EVERY_MS);
      })
      .on("error", () => {});
    socket.on("error", end);
    socket.on("close", () => end(new Error("closed")));
  };
  const attempt = () => {
    const socket = connect({ host: address, port: PORT, noDelay: true });
    const again = () => setTimeout(attempt, AGAIN_MS);
    socket.once("error", again);
    socket.once("connect", () => {
      socket.off("error", again);
      begin(socket);
    });
  };
  process.stdin.on("end", () => end()).resume();
  setInterval(tell, TELL_MS);
  attempt();
}

const [what, address = ""] = process.argv.slice(2);
if (what === "serve") serve(makeSleepMeter());
else talk(address, makeSleepMeter());
