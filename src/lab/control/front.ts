// What persons' kubectl speaks to where the API server is elsewhere: it does not reach the lab's nodes, so logs of and streams into
// their pods are answered here, after the server has said that one may; everything else is passed on to it as it is.
//
//   kubectl ── TLS, the lab's own token ──▶ front ─┬─ pods/log, exec, attach, portforward of the lab's pods ──▶ PodHost
//                                                  └─ everything else, with the kubeconfig's credentials ──▶ the server
import { randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type Duplex, Readable } from "node:stream";
import { text } from "node:stream/consumers";
import type { ReadableStream } from "node:stream/web";
import {
  ApiError,
  isPodStream,
  kubeconfig,
  makeCertificatesAside,
  type PodHost,
  parsePath,
  refuseUpgrade,
  servePodLog,
  servePodStream,
  statusError,
  type Target,
} from "../../api/index.ts";
import { messageOf } from "../../base/index.ts";
import { type ApiAccess, type ReadableStore, transportTo } from "../../cluster/index.ts";
import type { Pod } from "../../resources/index.ts";
import { REFS } from "../refs.ts";

export interface FrontOptions {
  /** Descriptor of the listening socket. */
  readonly fd: number;
  readonly access: ApiAccess;
  readonly objects: ReadableStore;
  readonly pods: PodHost;
  /** Names of the lab's nodes. */
  readonly nodes: readonly string[];
}

export interface Front {
  readonly url: string;
  kubeconfig(name: string): string;
  close(): void;
}

/** Belongs to one connection, or is ours to say. */
const NOT_PASSED = new Set(["authorization", "connection", "host", "keep-alive", "transfer-encoding", "upgrade"]);

/** Resolves when it serves. */
export async function startFront({ fd, access, objects, pods, nodes }: FrontOptions): Promise<Front> {
  const token = randomBytes(32).toString("base64url");
  const certificates = await makeCertificatesAside({ names: ["127.0.0.1", "localhost"], now: Date.now() });
  const server = createServer({ cert: certificates.certificatePem, key: certificates.keyPem });
  const transport = transportTo(access);
  const streams = new Set<Duplex>();

  /** The request, if it is about a pod of the lab, and answered here. */
  function ownTarget(incoming: IncomingMessage): { readonly target: Target; readonly query: URLSearchParams } | undefined {
    const url = new URL(incoming.url ?? "/", "https://localhost");
    const target = url.pathname.startsWith("/api/") ? parsePath(url.pathname) : undefined;
    if (!target?.name || target.plural !== "pods" || target.group !== "") return undefined;
    const isLog = target.subresource === "log" && incoming.method === "GET";
    if (!isLog && !isPodStream(target.plural, target.subresource)) return undefined;
    const node = objects.get<Pod>(REFS.pods, target.namespace, target.name)?.spec.nodeName;
    return node !== undefined && nodes.includes(node) ? { target, query: url.searchParams } : undefined;
  }

  /** Asks the server whether who sends this may do it. @throws ApiError 403, and as the server says */
  async function permit({ headers, method }: IncomingMessage, { namespace, name, subresource }: Target): Promise<void> {
    // By the request's method, as the server itself asks: a WebSocket begins with a GET.
    const verb = method === "GET" ? "get" : "create";
    const resourceAttributes = { verb, resource: "pods", subresource, namespace, name };
    const body = JSON.stringify({ apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec: { resourceAttributes } });
    const impersonation = Object.fromEntries(Object.entries(headers).filter(([header]) => header.startsWith("impersonate-")));
    const asked = transport.request({
      method: "POST",
      path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
      headers: { ...impersonation, "content-type": "application/json", "content-length": Buffer.byteLength(body) },
    });
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      asked.on("response", resolve).on("error", (error) => reject(unavailable(error)));
      asked.end(body);
    });
    const { status, message } = JSON.parse(await text(answer)) as {
      readonly status?: { readonly allowed?: boolean; readonly reason?: string };
      readonly message?: string;
    };
    if (status?.allowed) return;
    throw new ApiError("Forbidden", message ?? `pods "${name}" is forbidden: you may not ${verb} pods/${subresource} in "${namespace}"`);
  }

  function admit({ headers }: IncomingMessage): void {
    const [given, expected] = [Buffer.from(headers.authorization ?? ""), Buffer.from(`Bearer ${token}`)];
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new ApiError("Unauthorized", "Unauthorized");
  }

  async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    admit(incoming);
    const own = ownTarget(incoming);
    if (!own) return pass(incoming, outgoing);
    await permit(incoming, own.target);
    const { namespace = "", name = "" } = own.target;
    const { body, headers } = servePodLog(pods, objects, { namespace, name, query: own.query });
    outgoing.writeHead(200, Object.fromEntries(headers));
    outgoing.flushHeaders();
    const lines = Readable.fromWeb(body as ReadableStream);
    outgoing.on("close", () => lines.destroy());
    lines.on("error", () => outgoing.destroy());
    lines.pipe(outgoing);
  }

  function pass(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const request = transport.request({
      method: incoming.method ?? "GET",
      path: incoming.url ?? "/",
      headers: passed(incoming.headers),
    });
    request.on("response", (found) => {
      outgoing.writeHead(found.statusCode ?? 502, passed(found.headers));
      outgoing.flushHeaders();
      found.on("error", () => outgoing.destroy());
      found.on("close", () => {
        if (!found.complete) outgoing.destroy();
      });
      found.pipe(outgoing);
    });
    request.on("error", (error) => refuse(outgoing, unavailable(error)));
    outgoing.on("close", () => request.destroy());
    incoming.pipe(request);
  }

  async function upgrade(incoming: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    admit(incoming);
    const own = ownTarget(incoming);
    if (!own) return passUpgrade(incoming, socket, head);
    await permit(incoming, own.target);
    const { namespace = "", name = "", subresource = "" } = own.target;
    await servePodStream(pods, objects, { subresource, namespace, name, query: own.query }, { incoming, socket, head });
  }

  function passUpgrade(incoming: IncomingMessage, socket: Duplex, head: Buffer): void {
    const headers = { ...passed(incoming.headers), connection: "upgrade", upgrade: incoming.headers.upgrade };
    const request = transport.request({ method: incoming.method ?? "GET", path: incoming.url ?? "/", headers });
    request.on("upgrade", (found, far, farHead) => {
      socket.write(headOf(found));
      if (farHead.length > 0) socket.write(farHead);
      if (head.length > 0) far.write(head);
      far.on("error", () => socket.destroy()).on("close", () => socket.destroy());
      socket.on("close", () => far.destroy());
      far.pipe(socket).pipe(far);
    });
    request.on("response", (found) => {
      socket.write(headOf(found));
      found.pipe(socket);
    });
    request.on("error", (error) => refuseUpgrade(socket, unavailable(error)));
    request.end();
  }

  server.on("request", (incoming: IncomingMessage, outgoing: ServerResponse) => {
    answer(incoming, outgoing).catch((error) => refuse(outgoing, error));
  });
  server.on("upgrade", (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
    streams.add(socket);
    socket.on("error", () => socket.destroy()).on("close", () => streams.delete(socket));
    upgrade(incoming, socket, head).catch((error) => refuseUpgrade(socket, statusError(error)));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ fd }, () => resolve());
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    kubeconfig: (name) => kubeconfig({ name, url, caPem: certificates.caPem, user: name, credentials: { token } }),
    close() {
      for (const socket of streams) socket.destroy();
      server.close();
      server.closeAllConnections();
      transport.close();
    },
  };
}

function passed(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !NOT_PASSED.has(name)));
}

/** Status line and headers of an answer, as they came. */
function headOf({ statusCode, statusMessage, rawHeaders }: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${statusCode} ${statusMessage}`];
  for (let index = 0; index < rawHeaders.length; index += 2) lines.push(`${rawHeaders[index]}: ${rawHeaders[index + 1]}`);
  return `${lines.join("\r\n")}\r\n\r\n`;
}

function unavailable(error: Error): ApiError {
  return new ApiError("ServiceUnavailable", `the API server behind this lab does not answer: ${messageOf(error)}`);
}

function refuse(outgoing: ServerResponse, thrown: unknown): void {
  if (outgoing.headersSent) return void outgoing.destroy();
  const error = statusError(thrown);
  outgoing.writeHead(error.httpCode, { "content-type": "application/json" }).end(JSON.stringify(error.toStatus()));
}
