// The agent's end of the CNI executable: one call a connection over a Unix socket, calls for one container in order.
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import {
  CNI_CODE,
  type CniCall,
  CniError,
  type CniRequest,
  type CniResult,
  encodeError,
  encodeResult,
  parseCall,
  SUPPORTED_VERSIONS,
  versionOf,
} from "./protocol.ts";

/** What the agent does for each verb. */
export interface CniHandler {
  add(request: CniRequest): Promise<CniResult> | CniResult;
  delete(request: CniRequest): Promise<void> | void;
  check(request: CniRequest): Promise<void> | void;
  collectGarbage(request: CniRequest): Promise<void> | void;
  status(request: CniRequest): Promise<void> | void;
}

export interface CniServerOptions {
  readonly socketPath: string;
  readonly handler: CniHandler;
  readonly log: (message: string) => void;
}

const MAX_REQUEST = (1 << 20) + 65_536;
const READ_TIMEOUT_MS = 10_000;

/** Serves the socket (mode 0600); one that a killed agent left is replaced. @throws CniError if another agent serves it */
export async function serveCni(options: CniServerOptions): Promise<{ close(): Promise<void> }> {
  mkdirSync(dirname(options.socketPath), { recursive: true, mode: 0o700 });
  if (await isServed(options.socketPath))
    throw new CniError(CNI_CODE.unavailable, `another agent serves ${options.socketPath}`, "stop it first: a node has one agent");
  rmSync(options.socketPath, { force: true });
  const inOrder = new Map<string, Promise<unknown>>();
  const unread = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    unread.add(socket);
    receive(socket, (text) => {
      unread.delete(socket);
      return answer(text, options, inOrder);
    });
    socket.once("close", () => unread.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.socketPath, resolve);
  });
  chmodSync(options.socketPath, 0o600);
  return {
    /** Calls that are under way are carried out and answered; those not yet read to their end are cut off. */
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of unread) socket.destroy();
      }),
  };
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

interface Answer {
  readonly status: number;
  readonly output: string;
}

function receive(socket: Socket, respond: (text: string) => Promise<Answer>): void {
  const chunks: Buffer[] = [];
  let length = 0;
  let refused = false;
  socket.setTimeout(READ_TIMEOUT_MS, () => socket.destroy());
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length <= MAX_REQUEST) chunks.push(chunk);
    else if (!refused) {
      refused = true;
      chunks.length = 0;
      const { status, output } = failed("1.1.0", new CniError(CNI_CODE.decodingFailure, "the call is larger than 1 MiB"));
      socket.end(`${status}\n${output}`);
    }
  });
  socket.on("end", async () => {
    socket.setTimeout(0);
    if (refused) return;
    const { status, output } = await respond(Buffer.concat(chunks).toString("utf8"));
    socket.end(`${status}\n${output}`);
  });
}

/** "NAME=VALUE" lines, an empty line, then standard input. */
export function parseWire(text: string): CniCall {
  const environment: Record<string, string> = {};
  let at = 0;
  for (;;) {
    const end = text.indexOf("\n", at);
    if (end < 0) return { environment, stdin: "" };
    const line = text.slice(at, end);
    at = end + 1;
    if (line === "") return { environment, stdin: text.slice(at) };
    const equals = line.indexOf("=");
    if (equals > 0) environment[line.slice(0, equals)] = line.slice(equals + 1);
  }
}

async function answer(text: string, options: CniServerOptions, inOrder: Map<string, Promise<unknown>>): Promise<Answer> {
  const call = parseWire(text);
  const version = versionOf(call.stdin);
  try {
    if (call.environment.CNI_COMMAND === "VERSION") return printed({ cniVersion: version, supportedVersions: SUPPORTED_VERSIONS });
    const request = parseCall(call);
    const result = await inTurn(request, options.handler, inOrder);
    return result === undefined ? { status: 0, output: "" } : printed(result);
  } catch (error) {
    const known = SUPPORTED_VERSIONS.some((each) => each === version) ? version : "1.1.0";
    if (!(error instanceof CniError))
      options.log(
        `CNI ${call.environment.CNI_COMMAND} ${call.environment.CNI_CONTAINERID}: ${error instanceof Error ? error.message : error}`,
      );
    return failed(known, error);
  }
}

/** Carries out a call after those for the same container; one that names no container (GC, STATUS) waits for none. */
function inTurn(request: CniRequest, handler: CniHandler, inOrder: Map<string, Promise<unknown>>): Promise<object | undefined> {
  const { containerId } = request;
  if (containerId === "") return carryOut(request, handler);
  const before = inOrder.get(containerId) ?? Promise.resolve();
  const work = before.then(() => carryOut(request, handler));
  const settled = work.catch(() => undefined);
  inOrder.set(containerId, settled);
  void settled.then(() => {
    if (inOrder.get(containerId) === settled) inOrder.delete(containerId);
  });
  return work;
}

function printed(value: object): Answer {
  return { status: 0, output: `${JSON.stringify(value)}\n` };
}

function failed(version: string, error: unknown): Answer {
  return { status: 1, output: `${JSON.stringify(encodeError(version, error))}\n` };
}

async function carryOut(request: CniRequest, handler: CniHandler): Promise<object | undefined> {
  switch (request.command) {
    case "ADD":
      return encodeResult(request.version, await handler.add(request));
    case "DEL":
      await handler.delete(request);
      return undefined;
    case "CHECK":
      await handler.check(request);
      return undefined;
    case "GC":
      await handler.collectGarbage(request);
      return undefined;
    case "STATUS":
      await handler.status(request);
      return undefined;
    case "VERSION":
      throw new CniError(CNI_CODE.invalidEnvironment, "VERSION is answered before");
  }
}
