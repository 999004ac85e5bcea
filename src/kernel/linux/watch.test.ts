// The wait for descriptors that Node can't watch.
import assert from "node:assert/strict";
import { closeSync, readSync, writeSync } from "node:fs";
import { test } from "node:test";
import { C, call } from "./libc.ts";
import { eventLoop } from "./watch.ts";

const eventFile = (value = 0) => call("eventfd", [value, C.EFD_CLOEXEC | C.EFD_NONBLOCK]);
const take = (fd: number) => void readSync(fd, Buffer.alloc(8));
const give = (fd: number) => void writeSync(fd, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]));

test("an event of a descriptor that was closed is not heard by the one that got its number", async () => {
  const loop = eventLoop();
  const [first, second] = [eventFile(), eventFile()];
  let heard = 0;
  let tell = () => {};
  const heir = await new Promise<number>((resolve) => {
    // Whichever is told first closes the other, of which an event is known already, and opens another in its place.
    const succeed = (own: number, other: number) => () => {
      take(own);
      loop.remove(other);
      closeSync(other);
      const next = eventFile();
      assert.equal(next, other, "the number is used again");
      loop.add(next, () => {
        heard++;
        take(next);
        tell();
      });
      loop.remove(own);
      resolve(next);
    };
    loop.add(first, succeed(first, second));
    loop.add(second, succeed(second, first));
    give(first);
    give(second);
  });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(heard, 0, "nothing happened to it");
  await new Promise<void>((resolve) => {
    tell = resolve;
    give(heir);
  });
  loop.remove(heir);
  for (const fd of [heir, heir === first ? second : first]) closeSync(fd);
});
