// What the agent of a lab's node tells on its port for operators, asked from within the node's namespace.
import { type IncomingMessage, request } from "node:http";
import { Socket } from "node:net";
import { FairleadError } from "../base/index.ts";
import type { NetworkNamespace } from "../kernel/index.ts";

const PORT = 10_249;
const TIMEOUT_MS = 10_000;

/** The answer of a page. @throws FairleadError `no-agent`, `node-page` */
export async function askNode<T>(namespace: NetworkNamespace, path: string): Promise<T> {
  const response = await open(namespace, path);
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += String(chunk);
  const answer = JSON.parse(text) as T & { readonly error?: string };
  if (response.statusCode !== 200) throw new FairleadError("node-page", answer.error ?? `status ${response.statusCode}`, { where: path });
  return answer;
}

/** The lines of a page that goes on, until the signal. @throws FairleadError `no-agent`, `node-page` */
export async function followNode(
  namespace: NetworkNamespace,
  path: string,
  line: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const response = await open(namespace, path, signal);
  let rest = "";
  try {
    for await (const chunk of response.setEncoding("utf8")) {
      rest += String(chunk);
      if (response.statusCode !== 200) continue;
      for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
        line(rest.slice(0, end));
        rest = rest.slice(end + 1);
      }
    }
  } catch (cause) {
    if (!signal.aborted) throw new FairleadError("no-agent", "the agent went away", { where: path, cause });
    return;
  }
  if (response.statusCode !== 200)
    throw new FairleadError("node-page", (JSON.parse(rest) as { error?: string }).error ?? `status ${response.statusCode}`, {
      where: path,
    });
}

function open(namespace: NetworkNamespace, path: string, signal?: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const createConnection = () => {
      const socket = new Socket({ fd: namespace.openSocket({ protocol: "tcp", family: 4 }), manualStart: true } as never);
      return socket.connect({ host: "127.0.0.1", port: PORT });
    };
    const outgoing = request({ path, createConnection, ...(signal ? { signal } : { timeout: TIMEOUT_MS }) }, resolve);
    outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
    outgoing.on("error", (cause) =>
      reject(
        new FairleadError("no-agent", `the node's agent does not answer: ${cause.message}`, {
          where: `127.0.0.1:${PORT}${path}`,
          remedy: "is it stopped? see: fairlead lab status",
          cause,
        }),
      ),
    );
    outgoing.end();
  });
}
