// The kernel's text of types: a small one, written here; a module's that goes on from it; and whatever bytes there are.
import assert from "node:assert/strict";
import { test } from "node:test";
import { chanceOf } from "../../../test/random.ts";
import { KernelError } from "../errors.ts";
import { readKernelTypes } from "./btf.ts";

/** struct btf_type with what follows it, as words; names by their text. */
type Words = readonly (number | string)[];

/** Writes a text of types. `base`: bytes of names in what it goes on from. */
function write(types: readonly Words[], base = 0): Buffer {
  let names = "\0";
  const placeOf = (name: string): number => {
    if (name === "") return 0;
    if (!names.includes(`\0${name}\0`)) names += `${name}\0`;
    return base + names.indexOf(`\0${name}\0`) + 1;
  };
  const body = Buffer.from(new Uint32Array(types.flat().map((word) => (typeof word === "string" ? placeOf(word) : word))).buffer);
  const header = Buffer.alloc(24);
  header.writeUInt16LE(0xeb9f, 0);
  header.writeUInt8(1, 2);
  for (const [index, value] of [24, 0, body.length, body.length, names.length].entries()) header.writeUInt32LE(value, 4 + 4 * index);
  return Buffer.concat([header, body, Buffer.from(names, "latin1")]);
}

const info = (kind: number, count = 0) => ((kind << 24) | count) >>> 0;
const INT: Words = ["int", info(1), 4, 32];
const ARRAY: Words = ["", info(3), 0, 1, 1, 8];
const STRUCT: Words = ["conn", info(4, 2), 24, "mark", 1, 64, "status", 1, 128];
const ENUM: Words = ["state", info(6, 2), 4, "NEW", 0, "OLD", 1];
const PROTO: Words = ["", info(13, 1), 1, "conn", 2];
const FUNCTION: Words = ["find", info(12, 1), 5];
const KERNEL = write([INT, ARRAY, STRUCT, ENUM, PROTO, FUNCTION, ["status", info(12), 5]]);

test("functions by number, members by place", () => {
  const types = readKernelTypes(KERNEL, ["find", "conn", "status", "none"]);
  assert.equal(types.functionId("find"), 6);
  assert.equal(types.functionId("status"), 7, "a name that is a member's, too");
  assert.equal(types.functionId("conn"), undefined, "no function");
  assert.equal(types.functionId("none"), undefined);
  assert.equal(types.memberOffset("conn", "status"), 16);
  assert.equal(types.memberOffset("conn", "none"), undefined);
  assert.equal(types.memberOffset("find", "status"), undefined);
});

test("a module's text goes on from the kernel's", () => {
  const kernel = readKernelTypes(KERNEL, ["find"]);
  const names = KERNEL.length - 24 - KERNEL.readUInt32LE(12);
  const module = write([STRUCT, ["release", info(12), 5]], names);
  const types = readKernelTypes(module, ["release", "conn"], kernel.end);
  assert.equal(types.functionId("release"), 9);
  assert.equal(types.memberOffset("conn", "status"), 16);
});

test("whatever the bytes are, there is an answer or a KernelError", () => {
  const { below: draw } = chanceOf(7);
  for (let round = 0; round < 5000; round++) {
    const bytes = Buffer.from(KERNEL);
    for (let i = 0; i < 1 + draw(6); i++) bytes[draw(bytes.length)] = draw(256);
    const cut = bytes.subarray(0, round % 3 === 0 ? draw(bytes.length) : bytes.length);
    try {
      const types = readKernelTypes(cut, ["find", "conn", "status"]);
      types.functionId("find");
      types.memberOffset("conn", "status");
    } catch (error) {
      assert.ok(error instanceof KernelError, String(error));
    }
  }
});
