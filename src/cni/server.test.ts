// The agent's socket: who may use it, in which order calls are carried out, and clients that misbehave.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { CniError, type CniHandler, serveCni } from "./index.ts";

const IDLE: CniHandler = { add: () => ({}), delete() {}, check() {}, collectGarbage() {}, status() {} };

async function serve(t: TestContext, handler: Partial<CniHandler> = {}) {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-socket-"));
  const path = join(directory, "run/cni.sock");
  const log: string[] = [];
  const server = await serveCni({ socketPath: path, handler: { ...IDLE, ...handler }, log: (line) => log.push(line) });
  t.after(async () => {
    await server.close();
    rmSync(directory, { recursive: true });
  });
  return { path, log, server };
}

function wire(command: string, id = "c1", more: object = {}): string {
  const variables = `CNI_COMMAND=${command}\nCNI_CONTAINERID=${id}\nCNI_NETNS=/n\nCNI_IFNAME=eth0\n`;
  return `${variables}\n${JSON.stringify({ cniVersion: "1.1.0", name: "net", ...more })}`;
}

async function read(socket: Socket): Promise<string> {
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  socket.on("error", () => {});
  await once(socket, "close");
  return text;
}

function send(path: string, text: string): Promise<string> {
  const socket = connect({ path, allowHalfOpen: true });
  socket.end(text);
  return read(socket);
}

test("the socket is the owner's alone, and goes with the server", async (t) => {
  const { path, server } = await serve(t);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(join(path, "..")).mode & 0o777, 0o700);
  await server.close();
  assert.equal(existsSync(path), false);
});

test("a socket that a killed agent left is replaced; one that another agent serves is not", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-socket-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "cni.sock");
  const script = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  spawnSync(process.execPath, ["-e", script]);
  assert.ok(existsSync(path), "what the killed one left");
  const options = { socketPath: path, handler: IDLE, log: () => {} };
  const server = await serveCni(options);
  assert.equal(await send(path, wire("DEL")), "0\n");
  await assert.rejects(serveCni(options), (error) => error instanceof CniError && /another agent serves/.test(error.message));
  assert.equal(await send(path, wire("DEL")), "0\n");
  await server.close();
});

test("answers: each verb's, an error's with its code, an unexpected one's logged", async (t) => {
  const { path, log } = await serve(t, {
    add: (request) => ({ ips: [{ address: "10.0.0.2/24" }], dns: {}, interfaces: [{ name: request.ifname }] }),
    check() {
      throw new CniError(100, "broken", "this and that");
    },
    status() {
      throw new TypeError("a mistake of ours");
    },
  });
  const table: readonly [string, string][] = [
    [wire("ADD"), '0\n{"cniVersion":"1.1.0","interfaces":[{"name":"eth0"}],"ips":[{"address":"10.0.0.2/24"}]}\n'],
    [wire("DEL"), "0\n"],
    [wire("GC", "", { "cni.dev/valid-attachments": [] }), "0\n"],
    [wire("VERSION"), '0\n{"cniVersion":"1.1.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]}\n'],
    ['CNI_COMMAND=VERSION\n\n{"cniVersion":"0.9.9"}', '0\n{"cniVersion":"0.9.9","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]}\n'],
    [wire("CHECK", "c1", { prevResult: {} }), '1\n{"cniVersion":"1.1.0","code":100,"msg":"broken","details":"this and that"}\n'],
    [wire("STATUS"), '1\n{"cniVersion":"1.1.0","code":5,"msg":"a mistake of ours"}\n'],
  ];
  for (const [text, answer] of table) assert.equal(await send(path, text), answer, text);
  assert.deepEqual(log, ["CNI STATUS c1: a mistake of ours"]);
  assert.match(await send(path, ""), /^1\n.*"code":4/);
  assert.match(await send(path, wire("ADD").slice(0, -5)), /^1\n.*"code":6/, "a client that was killed while it wrote");
});

test("calls for one container are carried out in order, those for others and without one meanwhile", async (t) => {
  const order: string[] = [];
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const { path } = await serve(t, {
    async add({ containerId }) {
      order.push(`add ${containerId}`);
      begun.resolve();
      await gate.promise;
      order.push(`added ${containerId}`);
      throw new CniError(11, "later");
    },
    delete: ({ containerId }) => void order.push(`delete ${containerId}`),
    collectGarbage: () => void order.push("gc"),
  });
  const add = send(path, wire("ADD", "c1"));
  await begun.promise;
  const late = send(path, wire("DEL", "c1"));
  await send(path, wire("DEL", "c2"));
  await send(path, wire("GC", "", { "cni.dev/valid-attachments": [] }));
  gate.resolve();
  assert.match(await add, /^1\n/);
  assert.equal(await late, "0\n", "a failure before does not stop it");
  assert.deepEqual(order, ["add c1", "delete c2", "gc", "added c1", "delete c1"]);
});

test("too much is refused in words; silent, hanging and vanished clients disturb nobody and do not hold up the end", async (t) => {
  const { path, server } = await serve(t);
  assert.match(await send(path, wire("ADD", "c1", { big: "x".repeat(2 << 20) })), /^1\n.*"code":6,"msg":"the call is larger than 1 MiB"/);
  const silent = connect(path);
  const halfway = connect(path);
  halfway.write("CNI_COMMAND=ADD\n");
  const cut = [read(silent), read(halfway)];
  const vanished = connect(path);
  vanished.on("error", () => {});
  vanished.write(wire("ADD"), () => vanished.destroy());
  assert.equal(await send(path, wire("DEL")), "0\n");
  await server.close();
  assert.deepEqual(await Promise.all(cut), ["", ""]);
});

test("a call that is under way at the end is still answered", async (t) => {
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const { path, server } = await serve(t, {
    async delete() {
      begun.resolve();
      await gate.promise;
    },
  });
  const answer = send(path, wire("DEL"));
  await begun.promise;
  const closed = server.close();
  gate.resolve();
  assert.equal(await answer, "0\n");
  await closed;
  await assert.rejects(once(connect(path), "connect"));
});

test("a path that can't be listened on is an error, not a hang", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-socket-"));
  t.after(() => rmSync(directory, { recursive: true }));
  await assert.rejects(serveCni({ socketPath: join(directory, "x".repeat(200)), handler: IDLE, log: () => {} }));
});
