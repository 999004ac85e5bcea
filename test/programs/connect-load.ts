// A process that connects to addresses without pause, one after the other at each, and notes every connection that was not made.
//
//   node connect-load.ts ADDRESS:PORT...     it ends with its standard input, and prints {"connections": 1234, "failures": ["…"]}
import { connect } from "node:net";
import { deadline } from "../../src/base/index.ts";

const PATIENCE_MS = 30_000;
/** Further ones are not told. */
const MOST_FAILURES = 100;
let connections = 0;
const failures: string[] = [];
let ended = false;
process.stdin.on("end", () => {
  ended = true;
});
process.stdin.resume();

/** Settles with why it failed, or nothing. */
function attempt(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const finish = (failure?: string) => {
      end();
      socket.resetAndDestroy();
      resolve(failure);
    };
    const end = deadline(PATIENCE_MS, () => finish(`not within ${PATIENCE_MS} ms`));
    socket.on("error", ({ message }) => finish(message));
    socket.on("connect", () => finish());
  });
}

async function load(target: string): Promise<void> {
  const colon = target.lastIndexOf(":");
  while (!ended) {
    const begun = performance.now();
    const failure = await attempt(target.slice(0, colon), Number(target.slice(colon + 1)));
    connections++;
    if (failure === undefined) continue;
    if (failures.length < MOST_FAILURES)
      failures.push(`${target}: ${failure}, from ${Math.round(begun)} to ${Math.round(performance.now())} ms`);
  }
}

process.stdout.write("ready\n");
await Promise.all(process.argv.slice(2).map(load));
process.stdout.write(`${JSON.stringify({ connections, failures })}\n`);
