// One real attempt to reach an address from inside a namespace: what `probe`, `matrix` and readiness probes do.
import { createSocket } from "node:dgram";
import { Socket } from "node:net";
import { deadline, familyOf } from "../base/index.ts";
import type { NetworkNamespace } from "../kernel/index.ts";
import { type Identity, PROBE_LINE, parseIdentity } from "./workload/identity.ts";

export type Verdict = "connected" | "refused" | "timeout" | "unreachable" | "error";

export interface Attempt {
  readonly verdict: Verdict;
  /** Who answered, if it was a responder. */
  readonly identity?: Identity;
  /** Everything that came back, up to 64 KiB. */
  readonly answer: string;
  /** Errno name or other cause, when it did not connect. */
  readonly cause?: string;
  readonly ms: number;
}

export interface AttemptOptions {
  readonly address: string;
  readonly port: number;
  readonly protocol: "tcp" | "udp" | "http";
  /** Milliseconds until it counts as timeout. */
  readonly timeoutMs: number;
  /** HTTP: path and headers to ask with. */
  readonly path?: string;
  readonly host?: string;
}

const MAX_ANSWER = 65_536;

/** Connects (or sends a datagram) and reads the answer. Never rejects: whatever happens is a verdict. */
export function attempt(namespace: NetworkNamespace, options: AttemptOptions): Promise<Attempt> {
  return options.protocol === "udp" ? attemptUdp(namespace, options) : attemptTcp(namespace, options);
}

function attemptTcp(namespace: NetworkNamespace, options: AttemptOptions): Promise<Attempt> {
  return new Promise((resolve) => {
    const started = performance.now();
    let answer = "";
    let connectedAfter: number | undefined;
    const finish = (verdict: Verdict, cause?: string) => {
      heard();
      socket?.destroy();
      resolve(outcome(verdict, answer, connectedAfter ?? performance.now() - started, cause));
    };
    const heard = deadline(options.timeoutMs, () => finish(connectedAfter === undefined ? "timeout" : "connected"));
    let socket: Socket | undefined;
    try {
      // A connection made inside the namespace stays there; Node connects the descriptor it is given.
      socket = new Socket({ fd: namespace.openSocket({ protocol: "tcp", family: familyOf(options.address) }), manualStart: true } as never);
    } catch (error) {
      finish("error", causeOf(error));
      return;
    }
    const open = socket;
    open.on("error", (error: NodeJS.ErrnoException) =>
      finish(connectedAfter === undefined ? verdictOf(error.code) : "connected", error.code),
    );
    open.on("data", (chunk) => {
      answer = (answer + chunk.toString("utf8")).slice(0, MAX_ANSWER);
      if (parseIdentity(answer)) finish("connected");
    });
    open.on("end", () => finish("connected"));
    open.connect({ host: options.address, port: options.port }, () => {
      connectedAfter = performance.now() - started;
      if (options.protocol === "http") {
        const host = options.host ?? (options.address.includes(":") ? `[${options.address}]` : options.address);
        open.write(`GET ${options.path ?? "/"} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nUser-Agent: fairlead\r\n\r\n`);
      } else open.write(PROBE_LINE);
    });
  });
}

function attemptUdp(namespace: NetworkNamespace, options: AttemptOptions): Promise<Attempt> {
  return new Promise((resolve) => {
    const started = performance.now();
    const family = familyOf(options.address);
    const socket = createSocket(family === 6 ? "udp6" : "udp4");
    const finish = (verdict: Verdict, answer = "", cause?: string) => {
      heard();
      clearInterval(again);
      socket.close();
      resolve(outcome(verdict, answer, performance.now() - started, cause));
    };
    const heard = deadline(options.timeoutMs, () => finish("timeout"));
    let again: NodeJS.Timeout | undefined;
    socket.once("error", (error: NodeJS.ErrnoException) => finish(verdictOf(error.code), "", error.code));
    socket.once("message", (message) => finish("connected", message.toString("utf8")));
    try {
      socket.bind({ fd: namespace.bindSocket({ protocol: "udp", address: family === 6 ? "::" : "0.0.0.0", port: 0 }) }, () => {
        socket.connect(options.port, options.address, (error?: Error) => {
          if (error) return;
          const send = () => socket.send(PROBE_LINE, () => {});
          send();
          again = setInterval(send, Math.max(50, options.timeoutMs / 3));
        });
      });
    } catch (error) {
      finish("error", "", causeOf(error));
    }
  });
}

function outcome(verdict: Verdict, answer: string, ms: number, cause: string | undefined): Attempt {
  const identity = parseIdentity(answer);
  return { verdict, answer, ms: Math.round(ms * 100) / 100, ...(identity ? { identity } : {}), ...(cause ? { cause } : {}) };
}

function verdictOf(code: string | undefined): Verdict {
  if (code === "ECONNREFUSED" || code === "ECONNRESET") return "refused";
  if (code === "ETIMEDOUT") return "timeout";
  if (code === "EHOSTUNREACH" || code === "ENETUNREACH" || code === "EACCES" || code === "EPERM" || code === "EADDRNOTAVAIL")
    return "unreachable";
  return "error";
}

function causeOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
