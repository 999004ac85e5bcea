// The server's open sockets. A new configuration keeps those that it needs too, so no query is lost at a reload.
import type { Server as HttpServer, IncomingMessage, ServerResponse } from "node:http";
import { messageOf } from "../../base/index.ts";
import type { DnsNetwork, UdpPort } from "../network.ts";
import type { HttpRoute } from "../plugin.ts";
import type { Configuration, Listening } from "./configuration.ts";
import { DnsServeError } from "./errors.ts";
import { type Counts, Responder, type ResponderOptions } from "./responder.ts";
import { TcpService } from "./tcp.ts";
import { serveUdp } from "./udp.ts";

/** One address and port for DNS: both transports, and the responder of the configuration in force. */
interface DnsListener {
  readonly name: string;
  responder: Responder;
  readonly udp: UdpPort;
  readonly tcp: TcpService;
  readonly port: number;
}

interface HttpListener {
  routes: ReadonlyMap<string, HttpRoute>;
  readonly server: HttpServer;
}

export interface ListenerStatus {
  readonly address: string;
  readonly port: number;
  readonly zones: readonly string[];
  readonly connections: number;
}

/** What `prepare` opened: to be taken into force, or closed again. */
export interface Prepared {
  commit(): void;
  abandon(): void;
}

const ATTEMPTS = 20;

export class Listeners {
  readonly #network: DnsNetwork;
  readonly #counts: Counts;
  readonly #options: ResponderOptions;
  readonly #dns = new Map<string, DnsListener>();
  readonly #http = new Map<string, HttpListener>();

  constructor(network: DnsNetwork, counts: Counts, options: ResponderOptions) {
    this.#network = network;
    this.#counts = counts;
    this.#options = options;
  }

  /** Opens what the configuration needs and is not open yet. What is in force stays so until `commit`. @throws DnsServeError `dns-listen` */
  async prepare(configuration: Configuration): Promise<Prepared> {
    const dns = new Map(configuration.listening.map((each) => [keyOf(each.address, each.port), each]));
    const http = routesByListener(configuration.http);
    const openedDns = new Map<string, DnsListener>();
    const openedHttp = new Map<string, HttpListener>();
    const abandon = () => {
      for (const listener of openedDns.values()) closeDns(listener);
      for (const { server } of openedHttp.values()) closeHttp(server);
    };
    try {
      for (const [key, each] of dns) if (!this.#dns.has(key)) openedDns.set(key, await this.#openDns(each));
      for (const [key, { address, port, routes }] of http)
        if (!this.#http.has(key)) openedHttp.set(key, await this.#openHttp(address, port, routes));
    } catch (error) {
      abandon();
      throw error;
    }
    const commit = () => {
      for (const [key, each] of openedDns) this.#dns.set(key, each);
      for (const [key, each] of openedHttp) this.#http.set(key, each);
      for (const [key, listener] of this.#dns) {
        const wanted = dns.get(key);
        if (wanted) listener.responder = this.#responder(wanted);
        else {
          closeDns(listener);
          this.#dns.delete(key);
        }
      }
      for (const [key, listener] of this.#http) {
        const wanted = http.get(key);
        if (wanted) listener.routes = wanted.routes;
        else {
          closeHttp(listener.server);
          this.#http.delete(key);
        }
      }
    };
    return { commit, abandon };
  }

  #responder(listening: Listening): Responder {
    return new Responder(listening, this.#counts, this.#options);
  }

  async #openDns(listening: Listening): Promise<DnsListener> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#openBoth(listening);
      } catch (error) {
        // Port 0 is any port, but the same for both transports: one that is free for both.
        if (listening.port !== 0 || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /** Both transports on one port. @throws DnsServeError `dns-listen` */
  async #openBoth({ address, port: wanted, ...listening }: Listening): Promise<DnsListener> {
    const where = `${address === "" ? "every address" : address}, port ${wanted}`;
    let udp: UdpPort;
    try {
      udp = await this.#network.bindUdp(address, wanted);
    } catch (error) {
      throw cannotListen(`UDP on ${where}`, error);
    }
    const name = `dns://${address}:${wanted}`;
    const listener: DnsListener = {
      name,
      responder: this.#responder({ address, port: wanted, ...listening }),
      udp,
      port: udp.port,
      tcp: new TcpService(name, (bytes, origin) => listener.responder.answer(bytes, origin)),
    };
    try {
      await this.#network.listenTcp(listener.tcp.server, address, udp.port);
    } catch (error) {
      udp.close();
      throw cannotListen(`TCP on ${where}`, error);
    }
    serveUdp(udp, name, (bytes, origin) => listener.responder.answer(bytes, origin));
    return listener;
  }

  async #openHttp(address: string, port: number, routes: ReadonlyMap<string, HttpRoute>): Promise<HttpListener> {
    // Loaded only where a Corefile asks for it.
    const { createServer } = await import("node:http");
    const server = createServer((request, response) => void respond(listener.routes, request, response));
    const listener: HttpListener = { routes, server };
    try {
      await this.#network.listenTcp(server, address, port);
    } catch (error) {
      throw cannotListen(`HTTP on ${address === "" ? "every address" : address}, port ${port}`, error);
    }
    return listener;
  }

  get status(): ListenerStatus[] {
    return [...this.#dns.values()].map(({ responder, port, tcp }) => ({
      address: responder.listening.address,
      port,
      zones: [...responder.listening.zones.keys()],
      connections: tcp.connections,
    }));
  }

  /** The responder of the listener with that name, to which a question of the server's own goes; else the first. */
  responder(name: string): Responder | undefined {
    for (const listener of this.#dns.values()) if (listener.name === name) return listener.responder;
    return this.#dns.values().next().value?.responder;
  }

  close(): void {
    for (const listener of this.#dns.values()) closeDns(listener);
    for (const { server } of this.#http.values()) closeHttp(server);
    this.#dns.clear();
    this.#http.clear();
  }
}

function keyOf(address: string, port: number): string {
  return `${address} ${port}`;
}

function routesByListener(routes: readonly HttpRoute[]) {
  const listeners = new Map<string, { address: string; port: number; routes: Map<string, HttpRoute> }>();
  for (const route of routes) {
    const key = keyOf(route.address, route.port);
    const listener = listeners.get(key) ?? { address: route.address, port: route.port, routes: new Map() };
    listeners.set(key, listener);
    listener.routes.set(route.path, route);
  }
  return listeners;
}

async function respond(routes: ReadonlyMap<string, HttpRoute>, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const route = routes.get((request.url ?? "/").replace(/\?.*/, ""));
  try {
    const answer = route ? await route.respond() : { status: 404, body: "404 page not found\n" };
    response.writeHead(answer.status, { "content-type": answer.contentType ?? "text/plain; charset=utf-8" });
    response.end(answer.body);
  } catch (error) {
    response.writeHead(500).end(`${messageOf(error)}\n`);
  }
}

function closeDns({ udp, tcp }: DnsListener): void {
  udp.close();
  tcp.close();
}

function closeHttp(server: HttpServer): void {
  server.close();
  server.closeAllConnections();
}

function cannotListen(what: string, cause: unknown): DnsServeError {
  const { code } = cause as { code?: string };
  const remedy =
    code === "EADDRINUSE"
      ? "end what listens there, or choose another port or address (bind)"
      : code === "EACCES"
        ? "ports below 1024 need root or CAP_NET_BIND_SERVICE"
        : undefined;
  return new DnsServeError("dns-listen", `cannot serve ${what}: ${messageOf(cause)}`, { cause, remedy });
}
