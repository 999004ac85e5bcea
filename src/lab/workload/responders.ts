// The daemon's side of the responder process: starts it, asks it to serve pods' ports, starts it anew if it dies.
import { type ChildProcess, fork } from "node:child_process";
import type { ResponderReply, ResponderRequest, ServeRequest, StopRequest } from "./responder-process.ts";

export interface Responders {
  /** Serves ports in a pod's namespace. Resolves once they listen, with those that could not. */
  serve(group: Omit<ServeRequest, "op" | "id">): Promise<ResponderReply["failed"]>;
  /** Ends a pod's responders. Resolves when no client is left, or `drainMs` have passed. */
  stop(key: string, drainMs: number): Promise<void>;
  readonly pid: number | undefined;
  /** Resolves when the process has ended. */
  close(): Promise<void>;
}

/** How long the process may take to end, in milliseconds. */
const END_WAIT_MS = 1000;

/** Starts the responder process. `onRestart` is called after it died and was started again: serve everything anew. */
export function startResponders(onRestart: () => void): Responders {
  let closed = false;
  let nextId = 1;
  const waiting = new Map<number, (reply: ResponderReply) => void>();
  let child = start();

  function start(): ChildProcess {
    const started = fork(new URL("./responder-process.ts", import.meta.url), {
      serialization: "json",
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    started.on("message", (reply: ResponderReply) => {
      waiting.get(reply.id)?.(reply);
      waiting.delete(reply.id);
    });
    started.on("exit", () => {
      for (const [id, resolve] of waiting) resolve({ id, failed: [] });
      waiting.clear();
      if (closed) return;
      child = start();
      onRestart();
    });
    return started;
  }

  function ask(request: ServeRequest | StopRequest): Promise<ResponderReply> {
    return new Promise((resolve) => {
      waiting.set(request.id, resolve);
      child.send(request satisfies ResponderRequest);
    });
  }

  return {
    serve: async (group) => (await ask({ ...group, op: "serve", id: nextId++ })).failed,
    stop: async (key, drainMs) => void (await ask({ op: "stop", key, drainMs, id: nextId++ })),
    get pid() {
      return child.pid;
    },
    async close() {
      closed = true;
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
      if (child.connected) child.disconnect();
      const impatience = setTimeout(() => child.kill("SIGKILL"), END_WAIT_MS);
      await ended;
      clearTimeout(impatience);
    },
  };
}
