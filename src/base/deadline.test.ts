import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { test } from "node:test";
import { deadline } from "./index.ts";

/** As a machine that does something else. */
function standStill(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

test("it comes once, and not before its time", async () => {
  const begun = performance.now();
  let times = 0;
  await new Promise<void>((resolve) => {
    deadline(40, () => {
      times++;
      resolve();
    });
  });
  // Timers count whole milliseconds.
  assert.ok(performance.now() - begun >= 36);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(times, 1);
});

test("ended, it never comes; also in the moment before it would", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const end = deadline(40, () => assert.fail("it came"));
  for (let part = 0; part < 4; part++) t.mock.timers.tick(10);
  end();
  end();
  await new Promise((resolve) => setImmediate(resolve));
});

test("an answer that was there before the end of a standstill is heard first", async (t) => {
  const server = createServer((socket) => socket.end("there"));
  await once(server.listen(0, "127.0.0.1"), "listening");
  t.after(() => server.close());
  for (let round = 0; round < 5; round++) {
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    await once(socket, "connect");
    const first = await new Promise<string>((resolve) => {
      deadline(40, () => resolve("deadline"));
      socket.on("data", () => resolve("data"));
      standStill(200);
    });
    assert.equal(first, "data");
    socket.destroy();
  }
});
