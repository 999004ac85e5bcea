// Health check ports in a real namespace: what a load balancer and an operator are told.
import assert from "node:assert/strict";
import { Socket } from "node:net";
import { test } from "node:test";
import { createLinuxKernel, type NetworkNamespace } from "../kernel/index.ts";
import { createHealthPorts } from "./health-ports.ts";

/** Status and body of GET; undefined if nobody listens. */
function get(
  namespace: NetworkNamespace,
  port: number,
  path = "/",
): Promise<{ status: number; body: Record<string, unknown> } | undefined> {
  return new Promise((resolve) => {
    const socket = new Socket({ fd: namespace.openSocket({ protocol: "tcp", family: 4 }), manualStart: true } as never);
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString();
    });
    socket.on("error", () => resolve(undefined));
    socket.on("end", () => {
      const [head = "", body = ""] = text.split("\r\n\r\n");
      resolve({ status: Number(head.split(" ")[1]), body: JSON.parse(/\{.*\}/s.exec(body)?.[0] ?? "{}") as Record<string, unknown> });
    });
    socket.connect({ host: "127.0.0.1", port }, () => socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`));
  });
}

test("health check ports come, answer and go; /healthz and /livez tell apart a node that is going from one that is broken", {
  skip: process.getuid?.() === 0 ? false : "NOT RUN: it needs root, or root of a user namespace",
}, async () => {
  const kernel = createLinuxKernel();
  const namespace = kernel.createNamespace();
  namespace.apply({ op: "set", link: { name: "lo", up: true } });
  let impaired: string | undefined;
  let eligible = true;
  const log: string[] = [];
  const codes: number[] = [];
  const ports = createHealthPorts({
    namespace,
    impaired: () => impaired,
    eligible: () => eligible,
    status: () => ({ ready: true }),
    page: () => false,
    metrics: async () => ({ type: "application/json", text: JSON.stringify({ codes }) }),
    asked: (code) => codes.push(code),
    log: (text) => log.push(text),
  });
  try {
    const check = (localEndpoints: number) => ({ port: 32_000, namespace: "shop", name: "web", localEndpoints });
    assert.equal(await get(namespace, 32_000), undefined);
    ports.follow([check(2)]);
    assert.deepEqual(await get(namespace, 32_000), {
      status: 200,
      body: { service: { namespace: "shop", name: "web" }, localEndpoints: 2, serviceProxyHealthy: true },
    });
    ports.follow([check(0)]);
    assert.equal((await get(namespace, 32_000))?.status, 503);
    assert.equal((await get(namespace, 10_256, "/healthz"))?.status, 200);
    eligible = false;
    assert.equal((await get(namespace, 10_256, "/healthz"))?.status, 503);
    assert.equal((await get(namespace, 10_256, "/livez"))?.status, 200);
    impaired = "the kernel is not as it should be";
    assert.equal((await get(namespace, 10_256, "/livez"))?.status, 503);
    ports.follow([check(3)]);
    assert.equal((await get(namespace, 32_000))?.status, 503, "end points do not help where rules are missing");
    ports.follow([{ port: 10_256, namespace: "shop", name: "thief", localEndpoints: 1 }]);
    assert.equal((await get(namespace, 10_256, "/nowhere"))?.status, 404, "nobody takes over the healthz port");
    assert.equal(await get(namespace, 32_000), undefined);
    assert.deepEqual(log, []);
  } finally {
    ports.close();
    namespace.close();
  }
});
