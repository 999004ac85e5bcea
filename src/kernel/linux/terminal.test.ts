// A program before a pseudo-terminal: it sees a terminal of the given size, reads what is typed, and its end is noticed.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { test } from "node:test";
import { openTerminal } from "./terminal.ts";

test("a program has a terminal", async () => {
  const terminal = openTerminal();
  terminal.resize({ width: 91, height: 33 });
  const child = spawn("setsid", ["--ctty", "--", "sh", "-c", 'stty size; tty; read line; echo "got $line"; exit 7'], {
    stdio: [terminal.programFd, terminal.programFd, terminal.programFd],
  });
  closeSync(terminal.programFd);
  const exited = new Promise<number | null>((resolve) => child.on("exit", resolve));
  terminal.stream.write("hello\n");
  let text = "";
  for await (const chunk of terminal.stream) text += String(chunk);
  assert.match(text, /33 91/);
  assert.match(text, /\/dev\/pts\/\d+/);
  assert.match(text, /got hello/);
  assert.equal(await exited, 7);
});
