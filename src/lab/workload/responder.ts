// One port's responder: answers HTTP/1.1, HTTP/2 with gRPC health, plain TCP and UDP, and tells who it is.
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { createServer as createHttp } from "node:http";
import { type IncomingHttpHeaders, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { createServer, type Server, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { type Identity, plainAddress } from "./identity.ts";

/** Who answers. */
export interface Who {
  readonly pod: string;
  readonly node: string;
}

export interface Responder {
  /** Ends in order: what is asked within `drainMs` is answered, and its client told to come back on another connection; others are let go. */
  close(drainMs: number): Promise<void>;
}

/** How often an ending responder looks whether its clients have left, in milliseconds. */
const DRAIN_STEP_MS = 10;

const HTTP2_PREFACE = "PRI * HTTP/2.0";
const HTTP_METHOD = /^[A-Z]{3,16} \S* ?/;
/** grpc.health.v1.HealthCheckResponse { status: SERVING }, in its length-prefixed frame. */
const GRPC_SERVING = Buffer.from([0, 0, 0, 0, 2, 0x08, 1]);

/** Answers on a listening TCP socket. The first bytes of a connection decide how it is spoken to. */
export function respondTcp(fd: number, port: number, who: Who): Responder {
  const identity = (socket: Socket): Identity => ({
    ...who,
    port,
    protocol: "TCP",
    source: plainAddress(socket.remoteAddress),
    sourcePort: socket.remotePort ?? 0,
  });
  let draining = false;
  const http = createHttp((request, response) => {
    request.resume();
    if (draining) response.setHeader("connection", "close");
    const body = `${JSON.stringify(identity(request.socket))}\n`;
    response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body), "x-fairlead-pod": who.pod });
    response.end(request.method === "HEAD" ? undefined : body);
  });

  const open = new Set<Socket>();
  /** Those of clients that may ask again: by HTTP. */
  const asking = new Set<Socket>();
  const sessions = new Set<ServerHttp2Session>();
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    open.add(socket);
    socket.on("close", () => {
      open.delete(socket);
      asking.delete(socket);
    });
    socket.on("error", () => socket.destroy());
    const sayWho = () => socket.end(`${JSON.stringify(identity(socket))}\n`);
    socket.once("end", sayWho);
    socket.once("data", (first: Buffer) => {
      socket.off("end", sayWho);
      const start = first.toString("latin1", 0, 24);
      if (start.startsWith(HTTP2_PREFACE)) {
        const session = serveHttp2(socket, first, () => identity(socket));
        asking.add(socket);
        sessions.add(session.once("close", () => sessions.delete(session)));
      } else if (HTTP_METHOD.test(start)) {
        asking.add(socket);
        hand(socket, first, http);
      } else sayWho();
    });
  });
  server.listen({ fd });
  return {
    async close(drainMs) {
      draining = true;
      for (const session of sessions) session.close();
      // It listens meanwhile: a connection that the kernel has made already is not refused.
      if (drainMs > 0) await untilNone(asking, drainMs);
      // Who has not asked since hears that there will be no answer any more, and not that what it may just be sending was lost.
      for (const socket of asking) socket.end();
      if (asking.size > 0 && drainMs > 0) await untilNone(asking, drainMs);
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

/** Resolves when the set is empty, looked at after a step at the earliest; or when the time is over. */
async function untilNone(sockets: ReadonlySet<Socket>, milliseconds: number): Promise<void> {
  const end = performance.now() + milliseconds;
  do await new Promise((resolve) => setTimeout(resolve, DRAIN_STEP_MS));
  while (sockets.size > 0 && performance.now() < end);
}

function hand(socket: Socket, first: Buffer, server: { emit(event: "connection", socket: Socket): boolean }): void {
  socket.pause();
  socket.unshift(first);
  server.emit("connection", socket);
  socket.resume();
}

function serveHttp2(socket: Socket, first: Buffer, identity: () => Identity): ServerHttp2Session {
  const session = performServerHandshake(replay(socket, first));
  session.on("error", () => socket.destroy());
  session.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    answerHttp2(stream, headers, identity);
  });
  return session;
}

/** The connection from its first byte on: HTTP/2 reads from a socket's descriptor, past what was read before and put back. */
function replay(socket: Socket, first: Buffer): Duplex {
  const stream = new Duplex({
    read: () => void socket.resume(),
    write: (chunk, _encoding, done) => void socket.write(chunk, done),
    final: (done) => void socket.end(done),
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  stream.on("error", () => {});
  stream.push(first);
  socket.on("data", (chunk) => {
    if (!stream.push(chunk)) socket.pause();
  });
  socket.on("end", () => stream.push(null));
  socket.on("close", () => stream.destroy());
  return stream;
}

function answerHttp2(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, identity: () => Identity): void {
  const isGrpc = (headers["content-type"] ?? "").startsWith("application/grpc");
  if (!isGrpc) {
    stream.respond({ ":status": 200, "content-type": "application/json" });
    stream.end(`${JSON.stringify(identity())}\n`);
    return;
  }
  const healthy = headers[":path"] === "/grpc.health.v1.Health/Check";
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () =>
    stream.sendTrailers(
      healthy
        ? { "grpc-status": "0" }
        : { "grpc-status": "12", "grpc-message": encodeURIComponent(`${identity().pod} is a responder; it serves health only`) },
    ),
  );
  stream.end(healthy ? GRPC_SERVING : undefined);
}

/** Answers each datagram on a bound UDP socket with one that tells who answers. */
export function respondUdp(fd: number, port: number, who: Who, family: 4 | 6): Responder {
  const socket: UdpSocket = createSocket(family === 6 ? "udp6" : "udp4");
  socket.on("error", () => {});
  socket.on("message", (_message, remote) => {
    const identity: Identity = { ...who, port, protocol: "UDP", source: plainAddress(remote.address), sourcePort: remote.port };
    socket.send(`${JSON.stringify(identity)}\n`, remote.port, remote.address, () => {});
  });
  socket.bind({ fd });
  return { close: async () => void socket.close() };
}
