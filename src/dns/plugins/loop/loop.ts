// Finds out whether what is forwarded comes back: asks for a name that nobody else would, and counts how often it comes by.
import { CLASS, RCODE, TYPE } from "../../message.ts";
import type { Installed, Site } from "../../plugin.ts";
import { type Handler, type Query, reply } from "../../query.ts";

/** Once is the own question; a client of the forwarder may repeat it; more is a circle. */
const MOST = 2;
const FIRST = 100;
const AGAIN = 2000;
/** Milliseconds after which nothing is looked for any more. */
const PERIOD = 30_000;

export function createLoop({ zones, server, host }: Site): Installed {
  const zone = zones[0] ?? ".";
  const number = () => String(Math.floor(host.random() * 2 ** 52));
  const name = `${number()}.${number()}.${zone === "." ? "" : zone}`;
  const state = { seen: 0, over: false, failed: false };
  let timer: NodeJS.Timeout | undefined;

  const handler = (next: Handler): Handler => ({
    name: "loop",
    serve: (query) => {
      if (state.over || query.type !== TYPE.HINFO || query.name !== name) return next.serve(query);
      state.seen++;
      if (state.seen <= MOST) return next.serve(query);
      if (!state.failed) {
        state.failed = true;
        host.fail(
          `Loop (${query.origin.address}:${query.origin.port} -> ${server}) detected for zone "${zone}": what is forwarded comes back. ` +
            "Forward to a server that does not ask this one: if TO is /etc/resolv.conf, name the real upstream instead.",
        );
      }
      return reply("loop", { rcode: RCODE.SERVFAIL });
    },
  });

  const probe = async (end: number): Promise<void> => {
    const query: Query = {
      id: 0,
      recursionDesired: true,
      authenticData: false,
      checkingDisabled: false,
      name,
      type: TYPE.HINFO,
      class: CLASS.IN,
      zone,
      udpSize: 512,
      origin: { transport: "udp", address: "127.0.0.1", port: 0, server },
      size: 0,
      spelled: name,
    };
    const answer = await host.resolve(query);
    // Without any answer it is not known; the upstream may not be up yet.
    if (answer.rcode === RCODE.SERVFAIL && !state.failed && host.now() < end) {
      state.seen = 0;
      timer = setTimeout(() => void probe(end), AGAIN).unref();
    }
  };

  return {
    handler,
    start: () => {
      const end = host.now() + PERIOD;
      timer = setTimeout(() => void probe(end), FIRST).unref();
      setTimeout(() => {
        state.over = true;
      }, PERIOD).unref();
    },
    stop: () => {
      state.over = true;
      clearTimeout(timer);
    },
  };
}
