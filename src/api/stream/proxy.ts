// The proxies of the API server: pods/NAME/proxy, services/NAME/proxy and nodes/NAME/proxy pass HTTP requests on.
import { request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { createConnection } from "node:net";
import type { Duplex } from "node:stream";
import { messageOf } from "../../base/index.ts";
import type { EndpointSlice, Node, Pod, Service } from "../../resources/index.ts";
import { ApiError, badRequest, notFound } from "../errors.ts";
import type { ObjectStore } from "../store.ts";
import type { PodHost } from "./pod-host.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });
const SLICES = { group: "discovery.k8s.io", version: "v1", plural: "endpointslices" } as const;

export interface ProxyRequest {
  readonly plural: string;
  readonly namespace: string | undefined;
  /** "web", "web:80", "web:http", "http:web:80" */
  readonly name: string;
  /** Behind `proxy`, with its query. */
  readonly path: string;
}

/** Passes the request on and the answer back. @throws ApiError before anything was answered */
export async function serveProxy(
  host: PodHost,
  store: Pick<ObjectStore, "get" | "list">,
  request: ProxyRequest,
  raw: { readonly incoming: IncomingMessage; readonly outgoing: ServerResponse },
): Promise<void> {
  const connection = await connect(host, store, request);
  const { incoming, outgoing } = raw;
  const { authorization: _, host: __, connection: ___, upgrade: ____, ...headers } = incoming.headers;
  await new Promise<void>((resolve, reject) => {
    const outer = httpRequest(
      {
        method: incoming.method,
        path: request.path,
        headers: { ...headers, host: request.name, connection: "close" },
        createConnection: () => connection,
      },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(outgoing);
        answer.on("end", resolve);
      },
    );
    outer.on("error", (cause) => reject(unreachable(request.name, cause)));
    outgoing.on("close", () => {
      outer.destroy();
      resolve();
    });
    incoming.pipe(outer);
  });
}

function unreachable(name: string, cause: unknown): ApiError {
  return new ApiError("ServiceUnavailable", `error trying to reach "${name}": ${messageOf(cause)}`, undefined, cause);
}

async function connect(host: PodHost, store: Pick<ObjectStore, "get" | "list">, request: ProxyRequest): Promise<Duplex> {
  const { name, port } = partsOf(request.name);
  const { namespace } = request;
  try {
    if (request.plural === "pods") {
      const pod = store.get<Pod>(core("pods"), namespace, name);
      if (!pod) throw notFound(core("pods"), name);
      return await host.connect(pod, port === undefined ? (firstPort(pod) ?? 80) : numberOf(port));
    }
    if (request.plural === "services") return await connectService(host, store, namespace, name, port);
    const node = store.get<Node>(core("nodes"), undefined, name);
    if (!node) throw notFound(core("nodes"), name);
    const address = node.status?.addresses?.find(({ type }) => type === "InternalIP")?.address;
    return await open(address ?? name, port === undefined ? 10_250 : numberOf(port));
  } catch (cause) {
    throw cause instanceof ApiError ? cause : unreachable(request.name, cause);
  }
}

function open(host: string, port: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host, port, timeout: 10_000 });
    socket.once("connect", () => resolve(socket.setTimeout(0)));
    socket.once("timeout", () => socket.destroy(new Error("no answer within 10 s")));
    socket.once("error", reject);
  });
}

async function connectService(
  host: PodHost,
  store: Pick<ObjectStore, "get" | "list">,
  namespace: string | undefined,
  name: string,
  port: string | undefined,
): Promise<Duplex> {
  const service = store.get<Service>(core("services"), namespace, name);
  if (!service) throw notFound(core("services"), name);
  const ports = service.spec.ports ?? [];
  const chosen = port === undefined ? ports[0] : ports.find((each) => each.name === port || String(each.port) === port);
  if (!chosen) throw badRequest(`service "${name}" has no port "${port ?? ""}"`);
  const selector = `kubernetes.io/service-name=${name}`;
  const { items } = store.list<EndpointSlice>(SLICES, { ...(namespace === undefined ? {} : { namespace }), labelSelector: selector });
  for (const slice of items) {
    const number = slice.ports?.find((each) => (each.name ?? "") === (chosen.name ?? ""))?.port;
    for (const endpoint of slice.endpoints ?? []) {
      if (number === undefined || endpoint.conditions?.ready === false || endpoint.targetRef?.kind !== "Pod") continue;
      const pod = store.get<Pod>(core("pods"), namespace, endpoint.targetRef.name ?? "");
      if (pod) return host.connect(pod, number);
    }
  }
  throw new ApiError("ServiceUnavailable", `no endpoints available for service "${name}"`);
}

/** "scheme:name:port", "name:port", "name". */
function partsOf(text: string): { readonly name: string; readonly port: string | undefined } {
  const parts = text.split(":");
  if (parts.length === 3) return { name: parts[1] ?? "", port: parts[2] || undefined };
  return { name: parts[0] ?? "", port: parts[1] || undefined };
}

function numberOf(port: string): number {
  const number = Number(port);
  if (!Number.isInteger(number) || number < 1 || number > 65_535) throw badRequest(`port "${port}" is no number from 1 to 65535`);
  return number;
}

function firstPort(pod: Pod): number | undefined {
  return pod.spec.containers.flatMap(({ ports = [] }) => ports)[0]?.containerPort;
}
