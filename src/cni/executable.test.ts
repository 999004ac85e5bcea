// Both executables, native and Node, driven over environment and standard input as a runtime does.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { callCni } from "../../test/cni-call.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
execFileSync("sh", [join(ROOT, "scripts/build-native.sh")]);
const VARIABLES = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "c1",
  CNI_NETNS: "/run/netns/c1",
  CNI_NETNS_OVERRIDE: "1",
  CNI_IFNAME: "eth0",
  CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAME=web",
  CNI_PATH: "/opt/cni/bin",
};
const CONFIG = { cniVersion: "1.0.0", name: "net", type: "fairlead" };
const ENDED = "Fairlead's agent ended during the call: try again";

/** What stands in for the agent: gets the whole request, answers as it likes. */
type Stub = (socket: Socket, request: string) => void;

/** Both executables, installed with the file beside them that names the socket. */
function install(t: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-exec-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const socket = join(directory, "agent.sock");
  const native = join(directory, "native");
  const script = join(directory, "script");
  copyFileSync(join(ROOT, ".build/fairlead-cni"), native);
  writeFileSync(
    script,
    `#!/bin/sh\nexec "${process.execPath}" --disable-warning=ExperimentalWarning "${join(ROOT, "src/cni/fallback-main.ts")}" "$0"\n`,
  );
  for (const file of [native, script]) {
    chmodSync(file, 0o755);
    writeFileSync(`${file}.socket`, `${socket}\n`);
  }
  const listen = async (stub: Stub) => {
    const server = createServer({ allowHalfOpen: true }, (connection) => {
      let request = "";
      connection.setEncoding("utf8").on("error", () => {});
      connection.on("data", (chunk: string) => {
        request += chunk;
      });
      connection.on("end", () => stub(connection, request));
    });
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    t.after(() => server.close());
    return () => new Promise((resolve) => server.close(resolve));
  };
  return { socket, listen, executables: [native, script] };
}

test("the request holds every variable and the input as it was; the answer is printed as it was, with its status", async (t) => {
  const { executables, listen } = install(t);
  for (const executable of executables) {
    for (const [status, output] of [
      [0, '{"cniVersion":"1.0.0","ips":[]}\n'],
      [0, ""],
      [1, '{"code":7}\n'],
      [3, '{"code":11}\n'],
    ] as const) {
      let seen = "";
      const stop = await listen((socket, request) => {
        seen = request;
        socket.end(`${status}\n${output}`);
      });
      const stdin = '{"cniVersion":"1.0.0",\n\n"name":"naïve \u{1F980}"}';
      const answer = await callCni([executable], { ...VARIABLES, OTHER: "not ours" }, stdin);
      assert.deepEqual([answer.status, answer.text], [status, output], executable);
      const lines = Object.entries(VARIABLES).map(([name, value]) => `${name}=${value}`);
      const [head = "", ...body] = seen.split("\n\n");
      assert.deepEqual(head.split("\n").sort(), lines.sort());
      assert.equal(body.join("\n\n"), stdin);
      await stop();
    }
  }
});

test("the environment's socket goes before the file's; VERSION needs no agent", async (t) => {
  const { executables } = install(t);
  const supportedVersions = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];
  for (const executable of executables) {
    for (const [stdin, cniVersion] of [
      ['{"cniVersion":"0.4.0"}', "0.4.0"],
      ['{ "name" : "x", "cniVersion" : "1.1.0" }', "1.1.0"],
      ["", "1.1.0"],
      ["{}", "1.1.0"],
    ] as const) {
      const answer = await callCni([executable], { CNI_COMMAND: "VERSION" }, stdin);
      assert.deepEqual([answer.status, answer.json], [0, { cniVersion, supportedVersions }], `${executable} ${stdin}`);
    }
    const elsewhere = await callCni([executable], { ...VARIABLES, FAIRLEAD_CNI_SOCKET: "/nowhere/agent.sock" }, CONFIG);
    assert.equal(elsewhere.json.details, "/nowhere/agent.sock");
  }
});

test("without an agent: try again (11), and for STATUS not available (50)", async (t) => {
  const { executables, socket } = install(t);
  for (const executable of executables) {
    for (const [command, code] of [
      ["ADD", 11],
      ["DEL", 11],
      ["CHECK", 11],
      ["GC", 11],
      ["STATUS", 50],
    ] as const) {
      const answer = await callCni([executable], { ...VARIABLES, CNI_COMMAND: command }, CONFIG);
      const msg = "Fairlead's agent does not answer: start it, then try again";
      assert.deepEqual([answer.status, answer.json], [1, { cniVersion: "1.0.0", code, msg, details: socket }], executable);
    }
  }
});

test("an agent that ends during the call, before, within or instead of its answer", async (t) => {
  const { executables, listen } = install(t);
  const stubs: readonly Stub[] = [
    (socket) => socket.destroy(),
    (socket) => socket.end(),
    (socket) => socket.end("0"),
    (socket) => socket.end('0\n{"cniVersion":"1.0.0","ips":[{"addr'),
  ];
  for (const executable of executables) {
    for (const [index, stub] of stubs.entries()) {
      const stop = await listen(stub);
      for (const [command, code] of [
        ["ADD", 11],
        ["STATUS", 50],
      ] as const) {
        const answer = await callCni([executable], { ...VARIABLES, CNI_COMMAND: command }, CONFIG);
        assert.deepEqual([answer.status, answer.json?.code, answer.json?.msg], [1, code, ENDED], `${executable} ${index}`);
      }
      await stop();
    }
  }
});

test("a slow agent is waited for, an answer in pieces put together", async (t) => {
  const { executables, listen } = install(t);
  const big = JSON.stringify({ filler: "y".repeat(300_000) });
  const stop = await listen((socket) => {
    setTimeout(() => {
      socket.write("0");
      setTimeout(() => socket.end(`\n${big}\n`), 100);
    }, 200);
  });
  for (const executable of executables) {
    const answer = await callCni([executable], VARIABLES, CONFIG);
    assert.deepEqual([answer.status, answer.text], [0, `${big}\n`], executable);
  }
  await stop();
});

test("big input goes through whole; too big is refused here; so is a variable that would break the request", async (t) => {
  const { executables, listen } = install(t);
  let length = 0;
  const stop = await listen((socket, request) => {
    length = request.length - request.indexOf("\n\n") - 2;
    socket.end("0\n");
  });
  const empty = JSON.stringify({ ...CONFIG, filler: "" }).length;
  const sized = (bytes: number) => JSON.stringify({ ...CONFIG, filler: "z".repeat(bytes - empty) });
  for (const executable of executables) {
    for (const bytes of [100_000, 1 << 20]) {
      assert.equal((await callCni([executable], VARIABLES, sized(bytes))).status, 0, executable);
      assert.equal(length, bytes, executable);
    }
    const over = await callCni([executable], VARIABLES, sized((1 << 20) + 1));
    assert.deepEqual([over.status, over.json.code, over.json.msg], [1, 6, "the network configuration is larger than 1 MiB"], executable);
    const broken = await callCni([executable], { ...VARIABLES, CNI_ARGS: "A=1\nCNI_COMMAND=DEL" }, CONFIG);
    assert.deepEqual([broken.status, broken.json.code, broken.json.details], [1, 4, "CNI_ARGS"], executable);
  }
  await stop();
});

test("an agent that refuses before it has read everything is heard", async (t) => {
  const { executables, socket } = install(t);
  const server = createServer({ allowHalfOpen: true }, (connection) => {
    connection.on("error", () => {});
    connection.once("data", () => {
      connection.end('1\n{"cniVersion":"1.0.0","code":6,"msg":"too much"}\n');
      connection.resume();
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  for (const executable of executables) {
    const answer = await callCni([executable], VARIABLES, { ...CONFIG, filler: "z".repeat(900_000) });
    assert.deepEqual([answer.status, answer.json?.msg], [1, "too much"], executable);
  }
  await new Promise((resolve) => server.close(resolve));
});
