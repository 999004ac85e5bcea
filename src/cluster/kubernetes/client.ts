// Requests to a Kubernetes API server: one answer, or a stream of JSON lines.
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { StringDecoder } from "node:string_decoder";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import { hostOfUrl, messageOf } from "../../base/index.ts";
import { KubernetesApiError } from "../errors.ts";
import type { ApiAccess } from "./kubeconfig.ts";

interface ApiRequest {
  readonly method?: "GET" | "PATCH" | "POST" | "PUT" | "DELETE";
  /** Below the server's URL, with its query: "/api/v1/nodes?limit=500". */
  readonly path: string;
  readonly contentType?: string;
  readonly body?: string;
  readonly signal?: AbortSignal;
  /** Milliseconds without a byte after which the connection counts as dead. */
  readonly idleMilliseconds?: number;
}

export interface ApiClient {
  /** The answer's document. @throws KubernetesApiError */
  fetch(request: ApiRequest): Promise<unknown>;
  /** The documents of a stream, line by line, until it ends. @throws KubernetesApiError, also where a line is no JSON */
  lines(request: ApiRequest): AsyncGenerator<unknown, void, void>;
  close(): void;
}

const IDLE = 30_000;
/** One object is at most 1.5 MiB in etcd; an event is one object and some. */
const MAX_LINE = 16 * 1024 * 1024;
/** So many bytes of an answer that is no success are read for its message. */
const MAX_ERROR = 64 * 1024;

/** Requests to a server, over connections that are kept. */
export interface Transport {
  /** `path`: below the server's URL. The Authorization header is the access's own. @throws where the credentials can't be read */
  request(options: {
    readonly method: string;
    readonly path: string;
    readonly headers: OutgoingHttpHeaders;
    readonly signal?: AbortSignal;
  }): ClientRequest;
  close(): void;
}

export function transportTo(access: ApiAccess): Transport {
  const secure = access.server.protocol === "https:";
  const agent = secure ? new HttpsAgent({ keepAlive: true, ...tlsOf(access) }) : new HttpAgent({ keepAlive: true });
  const prefix = access.server.pathname.replace(/\/$/, "");
  const { port } = access.server;
  const host = hostOfUrl(access.server);
  return {
    request({ method, path, headers, signal }) {
      const authorization = access.authorization();
      const options = {
        agent,
        method,
        host,
        path: `${prefix}${path}`,
        headers: { ...headers, ...(authorization ? { authorization } : {}) },
        ...(port ? { port } : {}),
        ...(signal ? { signal } : {}),
      };
      return secure ? httpsRequest(options) : httpRequest(options);
    },
    close: () => agent.destroy(),
  };
}

/** A client that keeps its connections open between requests. */
export function createApiClient(access: ApiAccess): ApiClient {
  const transport = transportTo(access);
  const prefix = access.server.pathname.replace(/\/$/, "");

  function send({ method = "GET", path, body, contentType, signal, idleMilliseconds = IDLE }: ApiRequest): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      let outgoing: ClientRequest;
      const where = `${method} ${access.server.origin}${prefix}${path.split("?")[0]}`;
      const fail = (cause: unknown) => reject(new KubernetesApiError(0, messageOf(cause), { where, cause }));
      try {
        const headers = {
          accept: "application/json",
          "user-agent": "fairlead",
          ...(body === undefined ? {} : { "content-type": contentType ?? "application/json", "content-length": Buffer.byteLength(body) }),
        };
        outgoing = transport.request({ method, path, headers, ...(signal ? { signal } : {}) });
      } catch (cause) {
        fail(cause);
        return;
      }
      outgoing.setTimeout(idleMilliseconds, () => outgoing.destroy(new Error(`no answer within ${idleMilliseconds / 1000} s`)));
      // A peer that vanished without a word is noticed.
      outgoing.on("socket", (socket) => socket.setKeepAlive(true, IDLE));
      outgoing.on("error", fail);
      outgoing.on("response", (incoming) => {
        if ((incoming.statusCode ?? 0) < 300) resolve(incoming);
        else refuse(incoming, where).catch(reject);
      });
      outgoing.end(body);
    });
  }

  return {
    async fetch(request) {
      const chunks: Buffer[] = [];
      try {
        for await (const chunk of await send(request)) chunks.push(chunk as Buffer);
        return JSON.parse(Buffer.concat(chunks).toString("utf8")) as unknown;
      } catch (cause) {
        throw cause instanceof KubernetesApiError ? cause : new KubernetesApiError(0, messageOf(cause), { where: request.path, cause });
      }
    },
    async *lines(request) {
      const incoming = await send(request);
      try {
        yield* jsonLines(incoming);
      } catch (cause) {
        throw cause instanceof KubernetesApiError ? cause : new KubernetesApiError(0, messageOf(cause), { where: request.path, cause });
      } finally {
        incoming.destroy();
      }
    },
    close: () => transport.close(),
  };
}

/** A name that is an address is not told to the server (RFC 6066, section 3); its certificate must have it all the same. */
function tlsOf({ tls: { servername, ...tls } }: ApiAccess) {
  if (servername === undefined) return tls;
  if (isIP(servername) === 0) return { ...tls, servername };
  return { ...tls, checkServerIdentity: (_host: string, certificate: PeerCertificate) => checkServerIdentity(servername, certificate) };
}

async function refuse(incoming: IncomingMessage, where: string): Promise<never> {
  let text = "";
  for await (const chunk of incoming.setEncoding("utf8")) {
    text += String(chunk);
    if (text.length > MAX_ERROR) break;
  }
  const status = incoming.statusCode ?? 0;
  let message = `${status} ${incoming.statusMessage ?? ""}`.trim();
  try {
    const said: unknown = (JSON.parse(text) as { message?: unknown } | null)?.message;
    if (typeof said === "string" && said !== "") message = said;
  } catch {
    // Not a Status: a proxy's page, perhaps. The HTTP status says enough.
  }
  throw new KubernetesApiError(status, message, { where });
}

/** JSON documents, one a line, from bytes that are split anywhere, within a character too. @throws SyntaxError, RangeError */
export async function* jsonLines(chunks: AsyncIterable<unknown>): AsyncGenerator<unknown, void, void> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  for await (const chunk of chunks) {
    const text = typeof chunk === "string" ? chunk : decoder.write(chunk as Buffer);
    let from = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", from)) {
      const line = rest + text.slice(from, end);
      rest = "";
      from = end + 1;
      if (line.trim() !== "") yield JSON.parse(line) as unknown;
    }
    rest += text.slice(from);
    if (rest.length > MAX_LINE) throw new RangeError(`a line of the stream is longer than ${MAX_LINE} characters`);
  }
  rest += decoder.end();
  if (rest.trim() !== "") yield JSON.parse(rest) as unknown;
}
