// The ports at which a node tells load balancers and operators how its Services are: healthCheckNodePorts, /healthz and /livez on 10256, /metrics and /status on 10249.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { messageOf } from "../base/index.ts";
import type { NetworkNamespace } from "../kernel/index.ts";
import type { HealthCheck } from "../services/index.ts";

/** kube-proxy's ports. */
const HEALTHZ_PORT = 10_256;
const METRICS_PORT = 10_249;

export interface HealthPortsOptions {
  readonly namespace: NetworkNamespace;
  /** Why Services are not as they should be on this node; undefined if they are. */
  readonly impaired: () => string | undefined;
  /** Whether load balancers may send here: not while the node is being taken away. */
  readonly eligible: () => boolean;
  /** What /status tells, on loopback alone. */
  readonly status: () => object;
  /** The text for /metrics, on loopback alone. */
  readonly metrics: () => Promise<{ readonly type: string; readonly text: string }>;
  /** Answers what else is asked of the port for operators, on loopback alone; false: there is no such page. */
  readonly page: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Somebody asked for /healthz, and was told this. */
  readonly asked: (code: number) => void;
  readonly log: (message: string) => void;
}

export interface HealthPorts {
  /** From now on these are served, and no others. */
  follow(checks: readonly HealthCheck[]): void;
  close(): void;
}

/** Serves at once on 10256 and 10249; Services' own ports as they come. A port that is taken is logged, and everything else goes on. */
export function createHealthPorts(options: HealthPortsOptions): HealthPorts {
  const servers = new Map<number, Server>();
  let checks = new Map<number, HealthCheck>();
  let newest: readonly HealthCheck[] | undefined;
  let updated = new Date();

  function open(port: number, address: string, answer: (request: IncomingMessage, response: ServerResponse) => void): void {
    try {
      const fd = options.namespace.bindSocket({ protocol: "tcp", address, port, reuseAddress: true, backlog: 64 });
      const server = createServer({ requestTimeout: 10_000 }, answer);
      server.on("error", (error) => options.log(`port ${port}: ${messageOf(error)}`));
      server.listen({ fd });
      server.unref();
      servers.set(port, server);
    } catch (error) {
      options.log(`health check port ${port}: ${messageOf(error)}`);
    }
  }

  function shut(port: number): void {
    const server = servers.get(port);
    server?.close();
    server?.closeAllConnections();
    servers.delete(port);
  }

  const healthz = (request: IncomingMessage, response: ServerResponse) => {
    const live = request.url === "/livez";
    if (!live && request.url !== "/healthz") return void response.writeHead(404).end();
    const impaired = options.impaired();
    const eligible = options.eligible();
    const body = {
      lastUpdated: updated.toISOString(),
      currentTime: new Date().toISOString(),
      ...(live ? {} : { nodeEligible: eligible }),
      ...(impaired === undefined ? {} : { reason: impaired }),
    };
    const code = impaired === undefined && (live || eligible) ? 200 : 503;
    if (!live) options.asked(code);
    send(response, code, body);
  };

  const metrics = (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === "/status") return send(response, 200, options.status());
    if (request.url !== "/metrics") {
      if (!options.page(request, response)) response.writeHead(404).end();
      return;
    }
    options.metrics().then(
      ({ type, text }) => response.writeHead(200, { "content-type": type }).end(text),
      (error) => response.writeHead(500).end(messageOf(error)),
    );
  };

  const check = (port: number) => (_request: IncomingMessage, response: ServerResponse) => {
    const asked = checks.get(port);
    if (!asked) return void response.writeHead(404).end();
    const { namespace, name, localEndpoints } = asked;
    const healthy = options.impaired() === undefined;
    response.setHeader("x-load-balancing-endpoint-weight", String(localEndpoints));
    send(response, localEndpoints > 0 && healthy ? 200 : 503, {
      service: { namespace, name },
      localEndpoints,
      serviceProxyHealthy: healthy,
    });
  };

  const own = new Set([HEALTHZ_PORT, METRICS_PORT]);
  open(HEALTHZ_PORT, "::", healthz);
  open(METRICS_PORT, "127.0.0.1", metrics);
  return {
    follow(next) {
      updated = new Date();
      if (next === newest) return;
      newest = next;
      checks = new Map(next.map((each) => [each.port, each]));
      for (const port of servers.keys()) if (!own.has(port) && !checks.has(port)) shut(port);
      for (const port of checks.keys()) if (!servers.has(port)) open(port, "::", check(port));
    },
    close() {
      for (const port of [...servers.keys()]) shut(port);
    },
  };
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json", "x-content-type-options": "nosniff" }).end(JSON.stringify(body));
}
