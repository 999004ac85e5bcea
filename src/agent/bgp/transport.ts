// The speaker's sockets and BFD's in a node's namespace: TCP with MD5 signatures and TTL security, UDP that takes only what the link itself sent.
import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { createServer, type Server, Socket } from "node:net";
import { type Family, familyOf, messageOf, parsePrefix, prefixContains, tryParseAddress } from "../../base/index.ts";
import type { BfdTransport, Expected, Transport } from "../../bgp/index.ts";
import { type NetworkNamespace, requireFullTtl, setTcpSignature, setTtlSecurity } from "../../kernel/index.ts";

const FAMILIES = [4, 6] as const;
const BFD_PORT = 3784;
/** RFC 5881 §4: source ports of BFD begin here. */
const FIRST_BFD_SOURCE = 49_152;
const BFD_SOURCES = 16_384;
/** A port that somebody else has is asked for again after so many milliseconds. */
const AGAIN_MS = 5000;

export interface TransportOptions {
  readonly port?: number;
  readonly log?: (message: string) => void;
}

/** The speaker's transport in a namespace. */
export function bgpTransport(namespace: NetworkNamespace, { port = 179, log = () => {} }: TransportOptions = {}): Transport {
  return {
    connect({ address, port: to, localAddress, password, minimumTtl }) {
      const [plain = address] = address.split("%");
      const family = familyOf(plain);
      const fd = namespace.openSocket({ protocol: "tcp", family });
      const socket = new Socket({ fd, manualStart: true } as never);
      try {
        if (password !== undefined) setTcpSignature(fd, `${plain}/${family === 4 ? 32 : 128}`, password);
        if (minimumTtl !== undefined) setTtlSecurity(fd, family, minimumTtl);
        socket.connect({ host: address, port: to, ...(localAddress === undefined ? {} : { localAddress }) });
      } catch (error) {
        socket.destroy();
        throw error;
      }
      return socket;
    },
    listen(accept) {
      const listeners = FAMILIES.map((family) => listen(namespace, { family, port, accept, log }));
      return {
        expect(neighbours) {
          for (const each of listeners) each.expect(neighbours);
        },
        close() {
          for (const each of listeners) each.close();
        },
      };
    },
  };
}

interface ListenOptions {
  readonly family: Family;
  readonly port: number;
  readonly accept: (socket: Socket) => void;
  readonly log: (message: string) => void;
}

/** Listens in one family; a port that is taken is tried again and again. */
function listen(namespace: NetworkNamespace, { family, port, accept, log }: ListenOptions) {
  let expected: readonly Expected[] = [];
  let open: { readonly fd: number; readonly server: Server; readonly keys: Map<string, string> } | undefined;
  let again: NodeJS.Timeout | undefined;
  let said = "";

  function start(): void {
    again = undefined;
    try {
      const fd = namespace.bindSocket({ protocol: "tcp", address: family === 4 ? "0.0.0.0" : "::", port, v6only: true });
      const server = createServer({ noDelay: true }, accepted).listen({ fd });
      server.on("error", (error) => log(`BGP port ${port}: ${messageOf(error)}`));
      open = { fd, server, keys: new Map() };
      said = "";
      sign();
    } catch (error) {
      const why = `BGP: nobody can connect over IPv${family}: ${messageOf(error)}`;
      if (why !== said) log(why);
      said = why;
      again = setTimeout(start, AGAIN_MS).unref();
    }
  }

  function accepted(socket: Socket): void {
    const from = tryParseAddress((socket.remoteAddress ?? "").split("%")[0] ?? "");
    const known = expected.find((each) => from && prefixContains(parsePrefix(each.from), from));
    const { fd } = (socket as unknown as { readonly _handle: { readonly fd: number } })._handle;
    if (known?.minimumTtl !== undefined) setTtlSecurity(fd, family, known.minimumTtl);
    accept(socket);
  }

  /** Tells the listening socket whose segments must be signed. */
  function sign(): void {
    if (!open) return;
    const { fd, keys } = open;
    const wanted = new Map(
      expected.flatMap(({ from, password }) => (password !== undefined && familyOf(from) === family ? [[from, password]] : [])),
    );
    try {
      for (const [from] of keys) {
        if (wanted.has(from)) continue;
        setTcpSignature(fd, from, "");
        keys.delete(from);
      }
      for (const [from, password] of wanted) {
        if (keys.get(from) === password) continue;
        setTcpSignature(fd, from, password);
        keys.set(from, password);
      }
      if (expected.some(({ minimumTtl }) => minimumTtl !== undefined)) setTtlSecurity(fd, family);
    } catch (error) {
      log(`BGP: passwords: ${messageOf(error)}`);
    }
  }

  start();
  return {
    expect(neighbours: readonly Expected[]) {
      expected = neighbours.map((each) => ({ ...each, from: each.from.replace(/%[^/]*/, "") }));
      sign();
    },
    close() {
      clearTimeout(again);
      open?.server.close();
    },
  };
}

/** BFD's transport in a namespace: one socket that listens and one that sends, for each family. */
export function bfdTransport(namespace: NetworkNamespace, log: (message: string) => void): BfdTransport {
  return {
    open(received) {
      const sockets: DatagramSocket[] = [];
      const senders = new Map<Family, DatagramSocket>();
      for (const family of FAMILIES) {
        try {
          const listening = bound(namespace, family, BFD_PORT, log);
          listening.on("message", (bytes, { address }) => received(bytes, address.split("%")[0] ?? address));
          const sending = bound(namespace, family, FIRST_BFD_SOURCE + Math.floor(Math.random() * BFD_SOURCES), log);
          senders.set(family, sending);
          sockets.push(listening, sending);
        } catch (error) {
          log(`BFD: no sessions over IPv${family}: ${messageOf(error)}`);
        }
      }
      return {
        send(bytes, to) {
          // What can't be sent is as good as lost: the detection time tells.
          senders.get(familyOf(to))?.send(bytes, BFD_PORT, to, () => {});
        },
        close() {
          // Last words are on their way only after this turn.
          setImmediate(() => {
            for (const socket of sockets) socket.close();
          });
        },
      };
    },
  };
}

function bound(namespace: NetworkNamespace, family: Family, port: number, log: (message: string) => void): DatagramSocket {
  const fd = namespace.bindSocket({ protocol: "udp", address: family === 4 ? "0.0.0.0" : "::", port, v6only: true });
  requireFullTtl(fd, family);
  const socket = createSocket(family === 4 ? "udp4" : "udp6");
  socket.on("error", (error) => log(`BFD: ${messageOf(error)}`));
  socket.bind({ fd });
  return socket;
}
