// Clients by TCP that pipeline, trickle, stall, flood and stay.

import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { framed } from "../../../test/dns-client.ts";
import { until } from "../../../test/patience.ts";
import { TYPE } from "../message.ts";
import { decodeMessage, encodeMessage, queryMessage } from "../wire/codec.ts";
import { TCP_LIMITS, type TcpLimits, TcpService } from "./tcp.ts";

/** Clients of the test with many; 10,000 need `ulimit -n` above 20,000. */
const CLIENTS = Number(process.env.FAIRLEAD_TCP_CLIENTS ?? 500);

type Answer = ConstructorParameters<typeof TcpService>[1];

async function serve(t: TestContext, limits: Partial<TcpLimits> = {}, answer: Answer = (bytes) => Uint8Array.from(bytes)) {
  const service = new TcpService("dns://:53", answer, { ...TCP_LIMITS, ...limits });
  await new Promise<void>((resolve) => service.server.listen(0, "127.0.0.1", 4096, resolve));
  const { port } = service.server.address() as { port: number };
  const sockets: Socket[] = [];
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    service.close();
  });
  const client = async () => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    sockets.push(socket);
    await new Promise((resolve) => socket.once("connect", resolve));
    return readerOf(socket);
  };
  return { service, client };
}

interface Client {
  readonly socket: Socket;
  /** Whole messages, in the order in which they came. */
  readonly messages: Buffer[];
  readonly closed: () => boolean;
  take(count: number): Promise<Buffer[]>;
}

function readerOf(socket: Socket): Client {
  let buffered: Buffer = Buffer.alloc(0);
  let closed = false;
  const messages: Buffer[] = [];
  socket.on("error", () => {});
  socket.on("close", () => {
    closed = true;
  });
  socket.on("end", () => {
    closed = true;
  });
  socket.on("data", (chunk: Buffer) => {
    buffered = Buffer.concat([buffered, chunk]);
    while (buffered.length >= 2 && buffered.length >= 2 + buffered.readUInt16BE(0)) {
      messages.push(buffered.subarray(2, 2 + buffered.readUInt16BE(0)));
      buffered = buffered.subarray(2 + buffered.readUInt16BE(0));
    }
  });
  return {
    socket,
    messages,
    closed: () => closed,
    take: (count) => until(() => messages.length >= count).then(() => messages.splice(0, count)),
  };
}

const query = (text: string) => Buffer.from(text);

test("many queries in one segment, and one in many segments", async (t) => {
  const { client } = await serve(t);
  const one = await client();
  one.socket.write(Buffer.concat(["a", "bb", "ccc"].map((text) => framed(query(text)))));
  assert.deepEqual((await one.take(3)).map(String), ["a", "bb", "ccc"]);
  for (const byte of framed(query("trickle"))) {
    one.socket.write(Buffer.from([byte]));
    await new Promise(setImmediate);
  }
  assert.deepEqual((await one.take(1)).map(String), ["trickle"]);
});

test("a message of 65,535 bytes, and one of none", async (t) => {
  const { client, service } = await serve(t);
  const one = await client();
  const large = Buffer.alloc(65_535, 7);
  one.socket.write(framed(large));
  assert.ok((await one.take(1))[0]?.equals(large));
  one.socket.write(framed(Buffer.alloc(0)));
  one.socket.write(framed(query("x")));
  assert.deepEqual((await one.take(2)).map(String), ["", "x"]);
  assert.equal(service.unfinished, 0);
});

test("late answers come as they are ready, and not more than a limit is at work", async (t) => {
  const waiting: (() => void)[] = [];
  const { client } = await serve(t, { pipelined: 4 }, (bytes) =>
    bytes[0] === 0x73 ? new Promise((resolve) => waiting.push(() => resolve(Uint8Array.from(bytes)))) : Uint8Array.from(bytes),
  );
  const one = await client();
  one.socket.write(Buffer.concat(["s1", "f1", "s2", "s3", "s4", "s5", "f2"].map((text) => framed(query(text)))));
  assert.deepEqual((await one.take(1)).map(String), ["f1"]);
  await until(() => waiting.length === 4);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(waiting.length, 4, "the fifth waits for a place");
  waiting[1]?.();
  await until(() => waiting.length === 5);
  for (const each of waiting) each();
  const rest = (await one.take(6)).map(String);
  assert.equal(rest[0], "s2");
  assert.deepEqual([...rest].sort(), ["f2", "s1", "s2", "s3", "s4", "s5"]);
});

test("a client that closes its side still gets its answers", async (t) => {
  const { client } = await serve(t, {}, (bytes) => new Promise((resolve) => setTimeout(() => resolve(Uint8Array.from(bytes)), 30)));
  const one = await client();
  one.socket.end(framed(query("last")));
  assert.deepEqual((await one.take(1)).map(String), ["last"]);
  await until(one.closed);
});

test("who completes no query is closed, whatever trickles in; who asks stays", async (t) => {
  const { client, service } = await serve(t, { idle: 200 });
  const [silent, half, trickling, asking] = await Promise.all([client(), client(), client(), client()]);
  half.socket.write(Buffer.from([0xff]));
  trickling.socket.write(Buffer.from([0xff, 0xff]));
  const drip = setInterval(() => trickling.socket.write(Buffer.from([1])), 20);
  asking.socket.write(framed(query("x")));
  const ask = setInterval(() => asking.socket.write(framed(query("x"))), 50);
  t.after(() => {
    clearInterval(drip);
    clearInterval(ask);
  });
  await until(() => silent.closed() && half.closed() && trickling.closed());
  assert.equal(asking.closed(), false);
  clearInterval(drip);
  clearInterval(ask);
  await until(asking.closed);
  await until(() => service.connections === 0);
  assert.equal(service.unfinished, 0);
});

test("a query that came while the server stood still is answered, however long that was", async (t) => {
  const { client } = await serve(t, { idle: 100 });
  const one = await client();
  one.socket.write(framed(query("x")));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
  assert.deepEqual((await one.take(1)).map(String), ["x"]);
});

test("unfinished queries of all clients have one limit", async (t) => {
  const { client, service } = await serve(t, { unfinished: 100_000 });
  const clients = await Promise.all(Array.from({ length: 8 }, client));
  for (const { socket } of clients) socket.write(Buffer.concat([Buffer.from([0xff, 0xff]), Buffer.alloc(40_000)]));
  await until(() => clients.filter((each) => each.closed()).length >= 5);
  assert.ok(service.unfinished <= 100_000, `${service.unfinished}`);
  const asking = await client();
  asking.socket.write(framed(query("x")));
  assert.equal((await asking.take(1)).length, 1);
});

test("a client that takes no answers is not answered into memory", async (t) => {
  let answered = 0;
  const { client } = await serve(t, {}, () => {
    answered++;
    return new Uint8Array(60_000);
  });
  const one = await client();
  one.socket.pause();
  for (let i = 0; i < 2000; i++) one.socket.write(framed(query("give me much")));
  for (let [before, looks] = [0, 0]; looks < 20; looks = answered > 0 && answered === before ? looks + 1 : 0) {
    before = answered;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  // What the kernel's buffers take, and little more.
  assert.ok(answered < 1500, `${answered}`);
  one.socket.resume();
  await until(() => answered === 2000);
});

test(`${CLIENTS} clients at once, and a limit on them: the one that is idle longest goes`, async (t) => {
  const { client, service } = await serve(t, { connections: CLIENTS });
  const clients: Client[] = [];
  for (let i = 0; i < CLIENTS; i += 100) clients.push(...(await Promise.all(Array.from({ length: Math.min(100, CLIENTS - i) }, client))));
  await until(() => service.connections === CLIENTS);
  const bytes = encodeMessage(queryMessage({ name: "x.", type: TYPE.A }, { id: 7 }));
  // The second is answered before all others, so it has been idle longest then.
  clients[1]?.socket.write(framed(bytes));
  await clients[1]?.take(1);
  const others = clients.filter((_, number) => number !== 1);
  for (const each of others) each.socket.write(framed(bytes));
  for (const each of others) assert.equal(decodeMessage((await each.take(1))[0] ?? Buffer.alloc(0)).id, 7);
  const more = await client();
  more.socket.write(framed(bytes));
  await more.take(1);
  await until(() => clients[1]?.closed() ?? false);
  assert.equal(clients[0]?.closed(), false);
  await until(() => service.connections <= CLIENTS);
});
