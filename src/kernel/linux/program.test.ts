// Programs are run as a container runtime runs a plugin: environment and input in, status, output and errors out.
import assert from "node:assert/strict";
import { test } from "node:test";
import { runProgram } from "./program.ts";

const shell = (script: string, stdin = "", env: Readonly<Record<string, string>> = {}) =>
  runProgram({ path: "/bin/sh", args: ["-c", script], env, stdin });

test("a program gets its environment and its input, and gives status, output and errors", async () => {
  const stdin = `${"ä".repeat(70_000)}\n`;
  assert.deepEqual(await shell('cat; echo "$NAME"; echo no >&2; exit 3', stdin, { NAME: "a b=c" }), {
    status: 3,
    stdout: `${stdin}a b=c\n`,
    stderr: "no\n",
  });
});

test("it inherits neither the environment nor Node's way with signals", async () => {
  process.env.FAIRLEAD_TEST_SECRET = "1";
  assert.equal((await shell('echo "[$FAIRLEAD_TEST_SECRET]"; grep SigIgn /proc/self/status')).stdout, "[]\nSigIgn:\t0000000000000000\n");
});

test("a signal that ends it is told as a shell tells it", async () => {
  assert.equal((await shell("kill -KILL $$")).status, 137);
});

test("many run at once, and none is left", async () => {
  const ends = await Promise.all(Array.from({ length: 50 }, (_, index) => shell(`exit ${index}`)));
  assert.deepEqual(
    ends.map((end) => end.status),
    ends.map((_, index) => index),
  );
});

test("what can't be started is an error with its path", async () => {
  assert.throws(() => runProgram({ path: "/nowhere", args: [], env: {}, stdin: "" }), { message: /\/nowhere.*ENOENT/ });
});
