// SPDY/3.1: frames and headers both ways, a session as clients of Kubernetes use it, and any bytes.
import assert from "node:assert/strict";
import type { AddressInfo } from "node:net";
import { connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { constants, createDeflate } from "node:zlib";
import fc from "fast-check";
import { DICTIONARY } from "./dictionary.ts";
import { type Frame, readFrame, readHeaders, writeFrame, writeHeaders } from "./frame.ts";
import { type SpdyStream, serveSpdy } from "./session.ts";

const FRAMES: readonly (readonly [string, Exclude<Frame, { readonly type: "other" }>])[] = [
  ["0000000101000003616263", { type: "data", stream: 1, fin: true, data: Buffer.from("abc") }],
  ["800300010000000c0000000300000000000061 62".replaceAll(" ", ""), { type: "open", stream: 3, fin: false, headers: Buffer.from("ab") }],
  ["8003000201000005000000037a", { type: "reply", stream: 3, fin: true, headers: Buffer.from("z") }],
  ["80030003000000080000000500000005", { type: "reset", stream: 5, status: 5 }],
  ["800300060000000400000009", { type: "ping", id: 9 }],
  ["80030007000000080000000700000001", { type: "goaway", last: 7, status: 1 }],
];

test("frames both ways", () => {
  assert.equal(DICTIONARY.length, 1423);
  for (const [hex, frame] of FRAMES) {
    const bytes = Buffer.from(hex, "hex");
    assert.deepEqual(writeFrame(frame), bytes, frame.type);
    assert.deepEqual(readFrame(bytes, 0), { frame, next: bytes.length }, frame.type);
    for (let cut = 0; cut < bytes.length; cut++) assert.equal(readFrame(bytes.subarray(0, cut), 0), undefined);
  }
  const headers = { streamtype: "data", port: "80", empty: "" };
  assert.deepEqual(readHeaders(writeHeaders(headers)), headers);
});

test("any bytes give a frame, nothing yet, or an error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (noise) => {
      for (const read of [() => readFrame(Buffer.from(noise), 0), () => readHeaders(Buffer.from(noise))]) {
        try {
          read();
        } catch (error) {
          assert.ok(error instanceof RangeError, String(error));
        }
      }
    }),
    { numRuns: 5000 },
  );
});

interface Pair {
  readonly client: Socket;
  readonly streams: SpdyStream[];
  close(): void;
}

async function pair(onStream: (stream: SpdyStream) => void = () => {}): Promise<Pair> {
  const streams: SpdyStream[] = [];
  const server = createServer((socket) =>
    serveSpdy(socket, (stream) => {
      streams.push(stream);
      onStream(stream);
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
  client.on("error", () => {});
  return {
    client,
    streams,
    close() {
      client.destroy();
      server.close();
    },
  };
}

test("streams carry both ways, with headers of one compression context", async () => {
  const deflate = createDeflate({ dictionary: DICTIONARY, flush: constants.Z_SYNC_FLUSH });
  const packed: Buffer[] = [];
  deflate.on("data", (chunk: Buffer) => packed.push(chunk));
  const pack = async (headers: Record<string, string>) => {
    packed.length = 0;
    await new Promise<void>((resolve) => deflate.write(writeHeaders(headers), () => setImmediate(resolve)));
    return Buffer.concat(packed);
  };
  const { client, streams, close } = await pair((stream) => {
    stream.on("data", (chunk: Buffer) => stream.write(`echo ${chunk.toString()}`));
    stream.on("end", () => stream.end());
  });
  let received: Buffer = Buffer.alloc(0);
  client.on("data", (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
  });
  for (const stream of [1, 3, 5]) {
    client.write(writeFrame({ type: "open", stream, fin: false, headers: await pack({ StreamType: "data", port: String(stream) }) }));
    client.write(writeFrame({ type: "data", stream, fin: false, data: Buffer.from(`hello ${stream}`) }));
    client.write(writeFrame({ type: "data", stream, fin: true, data: Buffer.alloc(0) }));
  }
  client.write(writeFrame({ type: "ping", id: 1 }));
  const frames: Frame[] = [];
  const finished = () => frames.filter((frame) => frame.type === "data" && frame.fin).length;
  for (let tries = 0; tries < 200 && finished() < 3; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    frames.length = 0;
    for (let at = 0, read = readFrame(received, at); read; read = readFrame(received, at)) {
      frames.push(read.frame);
      at = read.next;
    }
  }
  assert.deepEqual(
    streams.map(({ headers }) => headers),
    [1, 3, 5].map((port) => ({ streamtype: "data", port: String(port) })),
  );
  for (const stream of [1, 3, 5]) {
    const said = frames.flatMap((frame) => (frame.type === "data" && frame.stream === stream ? [frame.data] : []));
    assert.equal(Buffer.concat(said).toString(), `echo hello ${stream}`);
  }
  assert.ok(frames.some((frame) => frame.type === "ping" && frame.id === 1));
  close();
});

test("a connection that does not speak SPDY is ended, and nothing else", async () => {
  for (const bytes of [
    "GET / HTTP/1.1\r\n\r\n",
    "\x80\x02\x00\x01\x00\x00\x00\x00",
    `\x80\x03\x00\x01\x00\x00\x00\x0c${"\x00".repeat(12)}`,
  ]) {
    const { client, streams, close } = await pair();
    const ended = new Promise((resolve) => client.once("close", resolve));
    client.resume();
    client.write(Buffer.from(bytes, "latin1"));
    client.end();
    await ended;
    assert.equal(streams.length, 0);
    close();
  }
});
