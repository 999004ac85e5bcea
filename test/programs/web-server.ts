// A web server as one is written for Kubernetes: it takes a while to start, tells who answers, and on SIGTERM finishes what it was asked,
// telling each client to come back on another connection.
//
//   node web-server.ts PORT START_MS
import { createServer } from "node:http";
import type { Socket } from "node:net";
import { hostname } from "node:os";

const [port = "", startMs = ""] = process.argv.slice(2);
/** How long clients of open connections have to hear of the end. */
const DRAIN_MS = 500;
let draining = false;

const server = createServer((_request, response) => {
  if (draining) response.setHeader("connection", "close");
  response.end(`${hostname()}\n`);
});
const open = new Set<Socket>();
server.on("connection", (socket) => {
  open.add(socket);
  socket.on("close", () => open.delete(socket));
});
setTimeout(() => server.listen(Number(port), () => process.stdout.write("listening\n")), Number(startMs));
process.on("SIGTERM", () => {
  draining = true;
  setTimeout(() => {
    // Who has not asked since is told that no answer comes any more; the process ends with the last connection.
    server.close();
    for (const socket of open) socket.end();
    setTimeout(() => process.exit(0), DRAIN_MS).unref();
  }, DRAIN_MS);
});
