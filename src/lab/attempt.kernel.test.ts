// A machine that stands still while an answer is on its way: what was asked for is heard all the same.
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { after, test } from "node:test";
import { createLinuxKernel } from "../kernel/index.ts";
import { attempt } from "./attempt.ts";
import { askWire } from "./dns/ask.ts";
import { askDns } from "./resolve.ts";

const SERVER = "127.0.0.1";
const namespace = createLinuxKernel().createNamespace();
after(() => namespace.close());
const bind = (protocol: "tcp" | "udp") => ({ fd: namespace.bindSocket({ protocol, address: SERVER, port: 53 }) });

/** The question as an answer: its header begins here. */
function answerTo(question: Buffer, header: number): Buffer {
  const answer = Buffer.from(question);
  answer[header + 2] = (question[header + 2] ?? 0) | 0x80;
  return answer;
}

test("an answer that comes while the process stands still is no timeout", async (t) => {
  const udp = createSocket("udp4").on("message", (bytes, { port, address }) => udp.send(answerTo(bytes, 0), port, address));
  const tcp = createServer((socket) => socket.on("error", () => {}).on("data", (bytes: Buffer) => socket.end(answerTo(bytes, 2))));
  await new Promise<void>((resolve) => udp.bind(bind("udp"), resolve));
  await new Promise<void>((resolve) => tcp.listen(bind("tcp"), resolve));
  t.after(() => {
    udp.close();
    tcp.close();
  });
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const standingStill = <T>(asked: Promise<T>): Promise<T> => {
    t.mock.timers.tick(5000);
    return asked;
  };
  for (const protocol of ["tcp", "http", "udp"] as const) {
    const { verdict } = await standingStill(attempt(namespace, { address: SERVER, port: 53, protocol, timeoutMs: 1000 }));
    assert.equal(verdict, "connected", protocol);
  }
  assert.ok(await standingStill(askDns(namespace, SERVER, "example.com")), "askDns");
  for (const transport of ["udp", "tcp"] as const)
    assert.ok(
      await standingStill(askWire(namespace, { server: SERVER, name: "example.com.", type: 1, transport, waitMs: 1000 })),
      transport,
    );
});
