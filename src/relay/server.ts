// A relay: watches the cluster once, and tells any number of agents what their nodes need, over one stream each.
import { timingSafeEqual } from "node:crypto";
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { TLSSocket } from "node:tls";
import { FairleadError, messageOf } from "../base/index.ts";
import type { ClusterSource } from "../cluster/index.ts";
import { policyNeeds } from "../policy/index.ts";
import { Fanout, type Member } from "./fanout.ts";
import { ALIVE, MOVE } from "./lines.ts";
import { Needs } from "./needs.ts";

export interface RelayOptions {
  readonly source: ClusterSource;
  readonly listen: { readonly host?: string; readonly port: number };
  /** Without it, connections are plain: for tests, and behind something that encrypts. */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer; readonly clientCa?: Buffer };
  /** Agents show this, or a certificate of `clientCa`; asked for each connection, since a token in a file is renewed. */
  readonly token?: () => string | undefined;
  readonly log?: (message: string) => void;
  /** Milliseconds after which an agent that takes nothing is let go. */
  readonly patience?: number;
}

export interface Relay {
  readonly port: number;
  readonly status: RelayStatus;
  /** Sends the agents to other replicas, and stops. */
  close(): Promise<void>;
}

export interface RelayStatus {
  readonly synced: boolean;
  readonly agents: number;
  readonly objects: number;
  /** Keys that wait for agents that are slow, of all together. */
  readonly waiting: number;
  /** Agents that were let go because they took nothing. */
  readonly dropped: number;
}

const ALIVE_MS = 5000;
const PATIENCE_MS = 60_000;

/** Starts a relay; resolves when it listens. @throws Error as the socket says */
export async function startRelay(options: RelayOptions): Promise<Relay> {
  const relay = new RunningRelay(options);
  await relay.listen();
  return relay;
}

class RunningRelay implements Relay {
  readonly #options: RelayOptions;
  readonly #fanout = new Fanout(new Needs(policyNeeds));
  readonly #server: Server;
  readonly #agents = new Map<ServerResponse, Member>();
  readonly #stops: (() => void)[] = [];
  readonly #patience: number;
  readonly #beatMs: number;
  #filled = false;
  #closing = false;
  #dropped = 0;
  #lastBeat = performance.now();

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#patience = options.patience ?? PATIENCE_MS;
    this.#beatMs = Math.min(ALIVE_MS, this.#patience);
    const { tls } = options;
    const answer = (request: IncomingMessage, response: ServerResponse) => this.#answer(request, response);
    this.#server = tls
      ? createHttpsServer(
          // A client without a certificate may still have the token.
          { cert: tls.cert, key: tls.key, ...(tls.clientCa ? { ca: tls.clientCa, requestCert: true, rejectUnauthorized: false } : {}) },
          answer,
        )
      : createHttpServer(answer);
    this.#follow();
    const beat = setInterval(() => this.#beat(), this.#beatMs);
    beat.unref();
    this.#stops.push(() => clearInterval(beat));
  }

  listen(): Promise<void> {
    const { host, port } = this.#options.listen;
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
        this.#server.off("error", reject);
        this.#server.on("error", (error) => this.#options.log?.(`relay: ${messageOf(error)}`));
        resolve();
      });
    });
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address ? address.port : this.#options.listen.port;
  }

  get status(): RelayStatus {
    let waiting = 0;
    for (const member of this.#agents.values()) waiting += member.waiting;
    return { synced: this.#filled, agents: this.#agents.size, objects: this.#fanout.size, waiting, dropped: this.#dropped };
  }

  async close(): Promise<void> {
    this.#closing = true;
    for (const stop of this.#stops) stop();
    for (const [response, member] of this.#agents) {
      member.leave();
      response.end(MOVE);
    }
    this.#agents.clear();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    setTimeout(() => this.#server.closeAllConnections(), 1000).unref();
    await closed;
  }

  #follow(): void {
    const { source } = this.#options;
    this.#stops.push(
      source.follow((changes) => {
        this.#filled = true;
        this.#fanout.apply(changes, source.snapshot);
      }),
      // An empty cluster has no changes to tell.
      source.subscribe(() => {
        this.#filled = true;
      }),
    );
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://relay");
    const node = url.searchParams.get("node");
    // Who comes to a replica that is going would be told what it knew last, and forget what it knows better.
    const unread = this.#closing
      ? "this replica is going: ask another\n"
      : this.#filled
        ? undefined
        : "the cluster's objects have not been read yet\n";
    if (url.pathname === "/healthz") say(response, 200, "ok\n");
    else if (url.pathname === "/readyz") say(response, unread ? 503 : 200, unread ?? "ok\n");
    else if (!this.#mayRead(request)) say(response, 401, "show the token, or a certificate that is trusted here\n");
    else if (url.pathname === "/metrics") say(response, 200, metricsOf(this.status));
    else if (url.pathname !== "/stream") say(response, 404, "there are /stream, /healthz, /readyz and /metrics\n");
    else if (!node) say(response, 400, "name the node: /stream?node=NAME\n");
    else if (unread) say(response, 503, unread);
    else this.#stream(node, response);
  }

  #mayRead(request: IncomingMessage): boolean {
    const { tls, token } = this.#options;
    if (!tls?.clientCa && !token) return true;
    if (tls?.clientCa && (request.socket as TLSSocket).authorized) return true;
    const wanted = token?.();
    const given = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    if (wanted === undefined || given === undefined) return false;
    const [a, b] = [Buffer.from(wanted), Buffer.from(given)];
    return a.length === b.length && timingSafeEqual(a, b);
  }

  #stream(node: string, response: ServerResponse): void {
    response.writeHead(200, { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" });
    response.socket?.setNoDelay(true);
    const member = this.#fanout.join(node, { write: (text) => response.write(text) });
    this.#agents.set(response, member);
    response.on("drain", () => member.drained());
    response.on("close", () => this.#leave(response));
    response.on("error", () => this.#leave(response));
  }

  #leave(response: ServerResponse): void {
    this.#agents.get(response)?.leave();
    this.#agents.delete(response);
  }

  /** Tells agents that it is there, and lets go of those that take nothing. */
  #beat(): void {
    const now = performance.now();
    // A relay that stood still itself has not heard yet who took what meanwhile.
    const stoodStill = now - this.#lastBeat > 1.5 * this.#beatMs;
    this.#lastBeat = now;
    for (const [response, member] of this.#agents) {
      const blocked = member.blockedFor();
      if (blocked > this.#patience && !stoodStill) {
        this.#dropped++;
        // Now, and not when its socket has closed: whoever reads the status sees it as one that has gone.
        this.#leave(response);
        response.destroy();
      } else if (blocked === 0) response.write(ALIVE);
    }
  }
}

function say(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(text);
}

function metricsOf(status: RelayStatus): string {
  const lines = [
    ["fairlead_relay_synced", "1 once the cluster's objects have been read", status.synced ? 1 : 0],
    ["fairlead_relay_agents", "Agents that follow this replica", status.agents],
    ["fairlead_relay_objects", "Objects that are passed on", status.objects],
    ["fairlead_relay_waiting_keys", "Objects that wait for agents that are slow", status.waiting],
    ["fairlead_relay_dropped_total", "Agents that were let go because they took nothing", status.dropped],
  ] as const;
  return lines
    .map(
      ([name, help, value]) =>
        `# HELP ${name} ${help}\n# TYPE ${name} ${name.endsWith("_total") ? "counter" : "gauge"}\n${name} ${value}\n`,
    )
    .join("");
}

/** What a relay must be given to be safe. @throws FairleadError `open-relay` */
export function checkRelay({ tls, token }: Pick<RelayOptions, "tls" | "token">): void {
  if (tls && (tls.clientCa || token)) return;
  throw new FairleadError("open-relay", "whoever reaches this relay could read the cluster's objects", {
    remedy: "give --tls-cert and --tls-key, and --client-ca or --token-file; or say --insecure where nobody else can reach it",
  });
}
