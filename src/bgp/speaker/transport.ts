// What the speaker needs of the world: connections and time. Both are given from outside, so it runs in any namespace and any test.
import { createServer, Socket } from "node:net";
import { deadline } from "../../base/index.ts";

/** How to connect to a neighbour. */
export interface ConnectRequest {
  readonly address: string;
  readonly port: number;
  readonly localAddress: string | undefined;
  /** TCP MD5 signature (RFC 2385). */
  readonly password: string | undefined;
  /** TTL security (RFC 5082): the least TTL that is taken; what is sent has 255. */
  readonly minimumTtl: number | undefined;
}

/** A neighbour that may connect to us; the listening socket must know its password beforehand. */
export interface Expected {
  /** Address, or prefix for dynamic neighbours. */
  readonly from: string;
  readonly password: string | undefined;
  readonly minimumTtl: number | undefined;
}

export interface Transport {
  /** A socket that is connecting; it emits `connect`, or `error` and `close`. */
  connect(request: ConnectRequest): Socket;
  /** Listens; `expect` is called with all who may connect whenever they change. */
  listen(accept: (socket: Socket) => void): { expect(neighbours: readonly Expected[]): void; close(): void };
}

/** Time. A test may have its own. */
export interface Clock {
  now(): number;
  after(milliseconds: number, action: () => void): { cancel(): void };
  /** As `after`, for the end of a neighbour's silence: what came while this process stood still is heard first. */
  silence(milliseconds: number, action: () => void): { cancel(): void };
}

export const systemClock: Clock = {
  now: () => performance.now(),
  after(milliseconds, action) {
    const timer = setTimeout(action, milliseconds);
    return { cancel: () => clearTimeout(timer) };
  },
  silence: (milliseconds, action) => ({ cancel: deadline(milliseconds, action) }),
};

/** Plain sockets of this process's own namespace, without MD5 and TTL security. */
export function plainTransport(
  options: { readonly listen?: readonly { readonly address: string; readonly port: number }[] } = {},
): Transport {
  return {
    connect({ address, port, localAddress }) {
      const socket = new Socket();
      socket.connect({ host: address, port, ...(localAddress === undefined ? {} : { localAddress }) });
      return socket;
    },
    listen(accept) {
      const servers = (options.listen ?? []).map(({ address, port }) =>
        createServer({ noDelay: true }, accept).listen({ host: address, port }),
      );
      return {
        expect: () => undefined,
        close: () => {
          for (const server of servers) server.close();
        },
      };
    },
  };
}
