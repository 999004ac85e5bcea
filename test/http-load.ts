// HTTP clients inside a namespace that ask without pause, and keep a book of every request.
import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import { Socket } from "node:net";
import { deadline } from "../src/base/index.ts";
import type { NetworkNamespace } from "../src/kernel/index.ts";

/** What clients of one target have seen. */
export class LoadBook {
  requests = 0;
  /** Connections that the server ended in order: it said so with its last answer. */
  endedInOrder = 0;
  /** Every request that did not get its whole answer, and why. */
  readonly failures: string[] = [];
  /** Who answered: the first word of each answer. */
  readonly answeredBy = new Set<string>();
}

export interface Target {
  readonly namespace: NetworkNamespace;
  readonly address: string;
  readonly port: number;
  readonly book: LoadBook;
  /** Who says what the answer says, from its body. */
  readonly whoOf: (body: string) => string;
  /** Milliseconds between two requests. */
  readonly pauseMs?: number;
}

/** A request whose answer has not come by then has failed. */
const PATIENCE_MS = 10_000;

/** Each request on a connection of its own, one after the other, until the signal. */
export async function askAnew(target: Target, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await ask(target);
    await pause(target);
  }
}

/** All requests on one connection, and on another only when the server has ended it in order. */
export async function askOnOne(target: Target, signal: AbortSignal): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  agent.createConnection = (() => connectionOf(target)) as never;
  while (!signal.aborted) {
    await ask(target, agent);
    await pause(target);
  }
  agent.destroy();
}

function pause({ pauseMs = 0 }: Target): Promise<void> {
  return pauseMs > 0 ? new Promise((resolve) => setTimeout(resolve, pauseMs)) : Promise.resolve();
}

function connectionOf({ namespace, address, port }: Target): Socket {
  const socket = new Socket({ fd: namespace.openSocket({ protocol: "tcp", family: 4 }), manualStart: true } as never);
  return socket.connect({ host: address, port });
}

/** One request. Settles whatever happens; what was not a whole answer is in the book. */
async function ask(target: Target, agent?: Agent): Promise<void> {
  const { address, port, book } = target;
  const begun = performance.now();
  book.requests++;
  let call: ClientRequest | undefined;
  const endWait = deadline(PATIENCE_MS, () => call?.destroy(new Error(`no answer within ${PATIENCE_MS} ms`)));
  try {
    // Without an agent, Node asks for the connection by itself, and says that it is the last request.
    const how = agent ? { agent } : { createConnection: () => connectionOf(target) };
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      call = request({ host: address, port, ...how }, resolve);
      call.on("error", reject);
      call.end();
    });
    let body = "";
    for await (const chunk of answer) body += chunk;
    if (answer.statusCode !== 200) throw new Error(`status ${answer.statusCode}`);
    book.answeredBy.add(target.whoOf(body));
    if (agent && answer.headers.connection === "close") book.endedInOrder++;
  } catch (error) {
    const { message } = error as Error;
    // The server ended the connection while it was idle, and the request crossed the end: to be asked again (RFC 9112, section 9.3.1).
    if (call?.reusedSocket && message === "socket hang up") {
      book.endedInOrder++;
      return ask(target, agent);
    }
    const when = new Date(performance.timeOrigin + begun).toISOString().slice(11, 23);
    book.failures.push(`${when} ${message} after ${Math.round(performance.now() - begun)} ms${agent ? ", kept" : ""}, ${target.address}`);
  } finally {
    endWait();
  }
}
