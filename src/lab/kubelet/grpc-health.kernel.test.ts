import assert from "node:assert/strict";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import { createServer as createPlain, type Server } from "node:net";
import { after, test } from "node:test";
import { createLinuxKernel } from "../../kernel/index.ts";
import { respondTcp } from "../workload/responder.ts";
import { askGrpcHealth } from "./grpc-health.ts";

const namespace = createLinuxKernel().createNamespace();
const closers: (() => unknown)[] = [];
after(() => {
  for (const close of closers) close();
  namespace.close();
});

let port = 5000;
function listen(): { fd: number; port: number } {
  port++;
  return { fd: namespace.bindSocket({ protocol: "tcp", address: "127.0.0.1", port, backlog: 16 }), port };
}

/** A server that answers a health check with these bytes and status. */
function answering(frame: Buffer, status: string): Http2Server {
  return createServer().on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => {});
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": status }));
    stream.end(frame);
  });
}

const frame = (...body: number[]) => Buffer.from([0, 0, 0, 0, body.length, ...body]);

test("gRPC health: serving or not, and whatever is no gRPC at all", async () => {
  const rows: readonly (readonly [string, Server | Http2Server | "responder" | "nobody", boolean, RegExp])[] = [
    ["a responder", "responder", true, /serving status 1/],
    ["SERVING", answering(frame(0x08, 1), "0"), true, /serving status 1/],
    ["NOT_SERVING", answering(frame(0x08, 2), "0"), false, /serving status 2/],
    ["UNKNOWN, which is not written", answering(frame(), "0"), false, /serving status 0/],
    ["an unknown service", answering(Buffer.alloc(0), "5"), false, /status 5/],
    [
      "a server that only says hello",
      createPlain((socket) => socket.on("error", () => {}).end("hello\n")),
      false,
      /gRPC 127\.0\.0\.1:\d+: \S/,
    ],
    ["a server that says nothing", createPlain((socket) => socket.on("error", () => {})), false, /timeout/],
    ["nobody", "nobody", false, /ECONNREFUSED/],
  ];
  for (const [what, server, success, message] of rows) {
    const at = server === "nobody" ? { fd: -1, port: 4999 } : listen();
    if (server === "responder") {
      const responder = respondTcp(at.fd, at.port, { pod: "a/b", node: "n" });
      closers.push(() => responder.close(0));
    } else if (server !== "nobody") {
      server.listen({ fd: at.fd });
      closers.push(() => server.close());
    }
    const timeoutMs = what === "a server that says nothing" ? 400 : 30_000;
    const result = await askGrpcHealth(namespace, { address: "127.0.0.1", port: at.port, service: "some.Service", timeoutMs });
    assert.equal(result.success, success, `${what}: ${result.message}`);
    assert.match(result.message, message, what);
  }
});
