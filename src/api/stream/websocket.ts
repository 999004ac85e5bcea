// WebSocket upgrades (RFC 6455) of the API server, and a WebSocket as a plain stream of bytes.
import type { IncomingMessage } from "node:http";
import { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";

const servers = new Map<string, WebSocketServer>();

/** Completes the handshake with the first of `protocols` that the client offers; undefined if it offers none of them. */
export function acceptWebSocket(
  raw: { readonly incoming: IncomingMessage; readonly socket: Duplex; readonly head: Buffer },
  protocols: readonly string[],
): Promise<WebSocket> | undefined {
  const offered = (raw.incoming.headers["sec-websocket-protocol"] ?? "").split(",").map((each) => each.trim());
  const chosen = protocols.find((protocol) => offered.includes(protocol));
  if (chosen === undefined) return undefined;
  let server = servers.get(chosen);
  if (!server) {
    server = new WebSocketServer({ noServer: true, handleProtocols: () => chosen, maxPayload: 8 * 1024 * 1024, perMessageDeflate: false });
    servers.set(chosen, server);
  }
  const accepting = server;
  return new Promise((resolve) => accepting.handleUpgrade(raw.incoming, raw.socket, raw.head, resolve));
}

/** The bytes of a WebSocket's messages, one behind the other, as tunnels use it. */
export function webSocketBytes(socket: WebSocket): Duplex {
  const stream = new Duplex({
    allowHalfOpen: false,
    read: () => socket.resume(),
    write: (chunk: Buffer, _encoding, done) => socket.send(chunk, { binary: true }, (error) => done(error)),
    final: (done) => {
      socket.close(1000);
      done();
    },
    destroy: (error, done) => {
      socket.terminate();
      done(error);
    },
  });
  socket.on("message", (data: Buffer) => {
    if (!stream.push(data)) socket.pause();
  });
  socket.on("close", () => stream.push(null));
  socket.on("error", (error) => stream.destroy(error));
  return stream;
}
