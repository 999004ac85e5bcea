// How the command line talks to a lab's daemon: JSON lines over a Unix socket, one request a connection.
//
//   → {"method":"probe","params":{…}}
//   ← {"progress":"…"} …            while it works
//   ← {"item":…} …                  pieces of a long answer
//   ← {"result":…} or {"error":{code,message}}
import { chmodSync, rmSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { createInterface, type Interface } from "node:readline";
import { FairleadError, messageOf } from "../base/index.ts";

export interface Call {
  progress(text: string): void;
  item(value: unknown): void;
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
}

export type Methods = Readonly<Record<string, (params: never, call: Call) => unknown>>;

/** Serves the methods on a socket that only its owner may use. */
export async function serveRpc(path: string, methods: Methods): Promise<Server> {
  rmSync(path, { force: true });
  const server = createServer((connection) => {
    const gone = new AbortController();
    const send = (value: object) => {
      if (connection.writable) connection.write(`${JSON.stringify(value)}\n`);
    };
    connection.on("close", () => gone.abort());
    connection.on("error", () => gone.abort());
    linesOf(connection).once("line", async (line) => {
      try {
        const { method, params } = JSON.parse(line) as { method: string; params: never };
        const handler = Object.hasOwn(methods, method) ? methods[method] : undefined;
        if (!handler)
          throw new FairleadError("unknown-method", `the daemon has no method "${method}"`, {
            remedy: "it may be of another version: fairlead lab down, then up",
          });
        const result = await handler(params, {
          progress: (text) => send({ progress: text }),
          item: (value) => send({ item: value }),
          signal: gone.signal,
        });
        send({ result: result ?? null });
      } catch (error) {
        send({ error: { code: error instanceof FairleadError ? error.code : "internal", message: messageOf(error) } });
      }
      connection.end();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o600);
  return server;
}

export interface CallOptions {
  readonly onProgress?: (text: string) => void;
  readonly onItem?: (item: unknown) => void;
  readonly signal?: AbortSignal;
}

/** Calls a method of a daemon. @throws FairleadError with the daemon's code, or `no-daemon` */
export function callRpc<T>(path: string, method: string, params: unknown, options: CallOptions = {}): Promise<T> {
  return new Promise((resolve, reject) => {
    const connection = createConnection(path);
    options.signal?.addEventListener("abort", () => connection.destroy());
    connection.on("error", (cause) =>
      reject(new FairleadError("no-daemon", "no lab's daemon answers", { where: path, remedy: "fairlead lab up", cause })),
    );
    connection.on("close", () =>
      reject(
        new FairleadError("daemon-gone", "the lab's daemon went away during the call", {
          where: path,
          remedy: "see its log with: fairlead lab status",
        }),
      ),
    );
    connection.write(`${JSON.stringify({ method, params })}\n`);
    linesOf(connection).on("line", (line) => {
      const message = JSON.parse(line) as { progress?: string; item?: unknown; result?: T; error?: { code: string; message: string } };
      if (message.progress !== undefined) options.onProgress?.(message.progress);
      else if ("item" in message) options.onItem?.(message.item);
      else if (message.error) reject(new FairleadError(message.error.code, message.error.message));
      else resolve(message.result as T);
    });
  });
}

/** The lines of a connection; its errors are the connection's own business. */
function linesOf(connection: Socket): Interface {
  return createInterface({ input: connection }).on("error", () => {});
}
