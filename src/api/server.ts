// The API server: TLS, bearer token, and routes to discovery, objects and streams.
import { randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { createAdaptorServer, type HttpBindings } from "@hono/node-server";
import { type Context, Hono } from "hono";
import { parse as parseYaml } from "yaml";
import { messageOf } from "../base/index.ts";
import { makeCertificatesAside } from "./certificates.ts";
import { ApiError, badRequest } from "./errors.ts";
import { aggregated, apiGroup, apiGroupList, groupVersions, openApiDocument, openApiIndex, resourceList } from "./http/discovery.ts";
import { handle } from "./http/handlers.ts";
import { decodeProtobuf } from "./http/protobuf.ts";
import type { SqliteStore } from "./sqlite-store.ts";
import type { PodHost } from "./stream/pod-host.ts";
import { isPodStream, servePodLog, servePodStream, type Upgrade } from "./stream/pod-streams.ts";
import { serveProxy } from "./stream/proxy.ts";

export interface ApiServerOptions {
  readonly store: SqliteStore;
  readonly listen: { readonly fd: number } | { readonly host: string; readonly port: number };
  /** Further listening sockets, such as the one behind the cluster's Service "kubernetes". */
  readonly alsoListen?: readonly { readonly fd: number }[];
  /** More names and addresses for the certificate. */
  readonly names?: readonly string[];
  /** Who runs the pods: without one there are no commands, logs and connections into them. */
  readonly pods?: PodHost;
}

export interface ApiServer {
  readonly url: string;
  readonly caPem: string;
  readonly token: string;
  kubeconfig(name: string): string;
  close(): Promise<void>;
}

const bodyLimit = 3 * 1024 * 1024;
const version = {
  major: "1",
  minor: "35",
  gitVersion: "v1.35.0-fairlead",
  gitCommit: "",
  gitTreeState: "clean",
  buildDate: "1970-01-01T00:00:00Z",
  goVersion: "",
  compiler: "",
  platform: "linux/amd64",
};

type Ctx = Context<{ Bindings: HttpBindings }>;

interface Target {
  readonly group: string;
  readonly version: string;
  readonly namespace: string | undefined;
  readonly plural: string;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  /** What follows the subresource: the path that a proxy is asked for. */
  readonly rest: readonly string[];
  readonly watch: boolean;
}

/** Reads /api/v1/… and /apis/GROUP/VERSION/…; undefined if it names no resource. */
function parsePath(path: string): Target | undefined {
  let parts: string[];
  try {
    parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    throw badRequest("the path is not well encoded");
  }
  const root = parts.shift();
  const group = root === "apis" ? (parts.shift() ?? "") : "";
  const version = parts.shift() ?? "";
  const watch = parts[0] === "watch";
  if (watch) parts.shift();
  // /namespaces/NAME and its status and finalize are the Namespace itself; deeper paths lie inside it.
  const inside = parts[0] === "namespaces" && parts.length >= 3 && !["status", "finalize"].includes(parts[2] ?? "");
  const namespace = inside ? parts[1] : undefined;
  const [plural, name, subresource, ...rest] = inside ? parts.slice(2) : parts;
  if (plural === undefined || (rest.length > 0 && subresource !== "proxy")) return undefined;
  return { group, version, namespace, plural, name, subresource, rest, watch };
}

async function bodyOf(context: Ctx): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of context.req.raw.body ?? []) {
    size += chunk.length;
    if (size > bodyLimit) throw new ApiError("RequestEntityTooLarge", `the request is larger than ${bodyLimit} bytes`);
    chunks.push(chunk);
  }
  if (size === 0) return undefined;
  const type = context.req.header("content-type") ?? "";
  if (type.includes("protobuf")) return decodeProtobuf(Buffer.concat(chunks));
  const text = Buffer.concat(chunks).toString("utf8");
  try {
    return type.includes("yaml") ? parseYaml(text, { maxAliasCount: 100 }) : JSON.parse(text);
  } catch (cause) {
    throw badRequest(`the body cannot be read: ${messageOf(cause)}`, cause);
  }
}

function routes(options: ApiServerOptions, isKnown: (header: string | undefined) => boolean) {
  const { store } = options;
  const table = store.resources;
  const app = new Hono<{ Bindings: HttpBindings }>();
  const fail = (error: unknown) => {
    const known = statusError(error);
    return new Response(JSON.stringify(known.toStatus()), { status: known.httpCode, headers: { "content-type": "application/json" } });
  };
  app.onError(fail);
  app.notFound(() => fail(new ApiError("NotFound", "the server could not find the requested resource")));
  for (const path of ["/healthz", "/livez", "/readyz"]) app.get(path, (context) => context.text("ok"));
  app.use(async (context, next) => {
    if (!isKnown(context.req.header("authorization"))) return fail(new ApiError("Unauthorized", "Unauthorized"));
    return next();
  });
  const v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
  const discover = (context: Ctx, core: boolean, plain: () => object) => {
    const wanted = /g=apidiscovery\.k8s\.io;v=v2;|v=v2;g=apidiscovery\.k8s\.io/.test(context.req.header("accept") ?? "");
    if (!wanted) return context.json(plain());
    return new Response(JSON.stringify(aggregated(table, core)), { headers: { "content-type": v2, vary: "Accept" } });
  };
  app.get("/version", (context) => context.json(version));
  app.get("/api", (context) => discover(context, true, () => ({ kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] })));
  app.get("/apis", (context) => discover(context, false, () => apiGroupList(table)));
  app.get("/openapi/v3", (context) => context.json(openApiIndex(table)));
  app.get("/openapi/v3/*", (context) => {
    const [, , , root, group = "", version = ""] = context.req.path.split("/");
    const resources = root === "api" ? groupVersions(table).get("")?.get(group) : groupVersions(table).get(group)?.get(version);
    return resources ? context.json(openApiDocument(resources)) : context.notFound();
  });
  app.get("/openapi/v2", (context) => {
    if (!(context.req.header("accept") ?? "").includes("protobuf")) {
      return context.json({ swagger: "2.0", info: { title: "Kubernetes", version: version.gitVersion }, paths: {}, definitions: {} });
    }
    // A document with nothing but `swagger: "2.0"` (field 1); kubectl then falls back on what it knows of the kinds.
    return new Response(new Uint8Array([0x0a, 0x03, 0x32, 0x2e, 0x30]), {
      headers: { "content-type": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf" },
    });
  });
  const objects = async (context: Ctx): Promise<Response> => {
    const parts = context.req.path.split("/").filter(Boolean);
    const group = parts[0] === "apis" ? parts[1] : "";
    const at = parts[0] === "apis" ? parts[2] : parts[1];
    const versions = groupVersions(table).get(group ?? "");
    if (versions && group !== undefined && context.req.method === "GET") {
      if (parts[0] === "apis" && parts.length === 2) return context.json(apiGroup(group, versions.keys()));
      const resources = versions.get(at ?? "");
      if (resources && parts.length === (group ? 3 : 2))
        return context.json(resourceList(group ? `${group}/${at}` : (at ?? ""), resources));
    }
    const target = parsePath(context.req.path);
    const resource = target && table.find(target.group, target.version, target.plural);
    if (!target || !resource) return context.notFound() as Response;
    const query = new URL(context.req.url).searchParams;
    if (target.watch) query.set("watch", "true");
    if (resource.namespaced && target.namespace === undefined && (target.name !== undefined || context.req.method === "POST")) {
      throw badRequest(`${resource.plural} live in a namespace: the path must name it`);
    }
    const streamed = await podRequest(options, target, query, context);
    if (streamed) return streamed;
    return handle({
      store,
      resource,
      namespace: target.namespace,
      name: target.name,
      subresource: target.subresource,
      method: context.req.method,
      query,
      accept: context.req.header("accept") ?? "",
      contentType: (context.req.header("content-type") ?? "").split(";")[0]?.trim() ?? "",
      userAgent: context.req.header("user-agent") ?? "",
      body: () => bodyOf(context),
    });
  };
  app.all("/api/*", objects);
  app.all("/apis/*", objects);
  return app;
}

/** What is answered by who runs the pods: logs and proxies. Undefined if it is none of that. */
async function podRequest(
  { pods, store }: ApiServerOptions,
  target: Target,
  query: URLSearchParams,
  context: Ctx,
): Promise<Response | undefined> {
  const { plural, name, namespace, subresource, rest } = target;
  if (!pods || name === undefined || target.group !== "") return undefined;
  if (plural === "pods" && subresource === "log" && context.req.method === "GET")
    return servePodLog(pods, store, { namespace: namespace ?? "", name, query });
  if (subresource !== "proxy" || !["pods", "services", "nodes"].includes(plural)) return undefined;
  const { incoming, outgoing } = context.env;
  const asked = query.size > 0 ? `?${query}` : "";
  const raw = { incoming: incoming as IncomingMessage, outgoing: outgoing as ServerResponse };
  await serveProxy(pods, store, { plural, namespace, name, path: `/${rest.map(encodeURIComponent).join("/")}${asked}` }, raw);
  return new Response(null, { headers: { "x-hono-already-sent": "true" } });
}

/** Answers a request for a stream both ways. @throws ApiError before anything was answered */
async function upgrade({ pods, store }: ApiServerOptions, isKnown: (header: string | undefined) => boolean, raw: Upgrade): Promise<void> {
  if (!isKnown(raw.incoming.headers.authorization)) throw new ApiError("Unauthorized", "Unauthorized");
  const url = new URL(raw.incoming.url ?? "/", "https://localhost");
  const target = parsePath(url.pathname);
  if (!pods || !target?.name || target.subresource === undefined || !isPodStream(target.plural, target.subresource))
    throw new ApiError("NotFound", "the server could not find the requested resource");
  const { subresource, namespace = "", name } = target;
  await servePodStream(pods, store, { subresource, namespace, name, query: url.searchParams }, raw);
}

function refuseUpgrade(socket: Duplex, error: ApiError): void {
  const body = JSON.stringify(error.toStatus());
  socket.end(
    `HTTP/1.1 ${error.httpCode} ${error.reason}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function statusError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError("InternalError", messageOf(error), undefined, error);
}

/** Starts serving. The authority, certificate and token are new with each start. */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const token = randomBytes(32).toString("base64url");
  const expected = Buffer.from(`Bearer ${token}`);
  const isKnown = (header: string | undefined) => {
    const given = Buffer.from(header ?? "");
    return given.length === expected.length && timingSafeEqual(given, expected);
  };
  const names = ["127.0.0.1", "::1", "localhost", "kubernetes", "kubernetes.default.svc", "10.96.0.1", ...(options.names ?? [])];
  const { caPem, certificatePem, keyPem } = await makeCertificatesAside([...new Set(names)], Date.now());
  const app = routes(options, isKnown);
  const listenAt = async (where: ApiServerOptions["listen"]) => {
    const server = createAdaptorServer({ fetch: app.fetch, createServer, serverOptions: { key: keyPem, cert: certificatePem } });
    server.on("upgrade", (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on("error", () => socket.destroy());
      upgrade(options, isKnown, { incoming, socket, head }).catch((error) => refuseUpgrade(socket, statusError(error)));
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(where, () => resolve());
    });
    return server;
  };
  const server = await listenAt(options.listen);
  const servers = [server, ...(await Promise.all((options.alsoListen ?? []).map(listenAt)))];
  const address = server.address() as AddressInfo;
  const host = ["0.0.0.0", "::"].includes(address.address) ? "127.0.0.1" : address.address;
  const url = `https://${host.includes(":") ? `[${host}]` : host}:${address.port}`;
  return {
    url,
    caPem,
    token,
    kubeconfig: (name) => kubeconfig({ name, url, caPem, token }),
    async close() {
      const closing = servers.map(
        (each) =>
          new Promise<void>((resolve) => {
            each.close(() => resolve());
            if ("closeAllConnections" in each) each.closeAllConnections();
          }),
      );
      await Promise.all(closing);
    },
  };
}

/** JSON is YAML, so kubectl reads this. */
function kubeconfig(of: { readonly name: string; readonly url: string; readonly caPem: string; readonly token: string }): string {
  const { name, url, caPem, token } = of;
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": name,
    clusters: [{ name, cluster: { server: url, "certificate-authority-data": Buffer.from(caPem).toString("base64") } }],
    users: [{ name, user: { token } }],
    contexts: [{ name, context: { cluster: name, user: name, namespace: "default" } }],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
