// The server's routes: discovery, OpenAPI, objects; each behind its question of who asks and whether they may.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import { messageOf } from "../../base/index.ts";
import { type Access, authenticate } from "../access/authenticate.ts";
import { type Identity, sayForbidden } from "../access/identity.ts";
import { whyAllowed } from "../access/rbac.ts";
import { ApiError, badRequest } from "../errors.ts";
import { openApiDocument } from "../schema/openapi.ts";
import { encodeOpenApiV2, OPENAPI_V2_PROTOBUF, openApiV2 } from "../schema/openapi-v2.ts";
import type { SqliteStore } from "../sqlite-store.ts";
import type { PodHost } from "../stream/pod-host.ts";
import { servePodLog } from "../stream/pod-streams.ts";
import { serveProxy } from "../stream/proxy.ts";
import { aggregated, apiGroup, apiGroupList, groupVersions, openApiIndex, resourceList } from "./discovery.ts";
import { handle } from "./handlers.ts";
import { answeredItself } from "./json-answer.ts";
import { attributesOf, bodyOf, type Ctx, parsePath, type Target } from "./request.ts";

export interface RouteOptions {
  readonly store: SqliteStore;
  /** Who runs the pods: without one there are no commands, logs and connections into them. */
  readonly pods?: PodHost;
}

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

const MAX_WARNINGS = 20;

/** The application. */
export function routes(options: RouteOptions, access: Access) {
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
  const identities = new WeakMap<object, Identity>();
  app.use(async (context, next) => {
    identities.set(context.env.incoming, permit(access, context.env.incoming as IncomingMessage));
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
    const document = openApiV2(table.all());
    if (!(context.req.header("accept") ?? "").includes("proto-openapi.spec.v2")) return context.json(document);
    return new Response(new Uint8Array(encodeOpenApiV2(document)), { headers: { "content-type": OPENAPI_V2_PROTOBUF, vary: "Accept" } });
  });
  const objects = async (context: Ctx): Promise<Response> => {
    const parts = context.req.path.split("/").filter(Boolean);
    const group = parts[0] === "apis" ? parts[1] : "";
    const at = parts[0] === "apis" ? parts[2] : parts[1];
    const versions = parts.length <= 3 ? groupVersions(table).get(group ?? "") : undefined;
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
    const warnings: string[] = [];
    const incoming = context.env.incoming as IncomingMessage;
    const answered = await handle({
      store,
      resource,
      namespace: target.namespace,
      name: target.name,
      subresource: target.subresource,
      method: context.req.method,
      query,
      accept: context.req.header("accept") ?? "",
      contentType: (context.req.header("content-type") ?? "").split(";")[0]?.trim() ?? "",
      userAgent: incoming.headers["user-agent"] ?? "",
      identity: identities.get(incoming) as Identity,
      access,
      warnings,
      body: () => bodyOf(incoming),
      incoming,
      outgoing: context.env.outgoing as ServerResponse,
    });
    for (const warning of warnings.slice(0, MAX_WARNINGS)) answered.headers.append("warning", `299 - ${JSON.stringify(warning)}`);
    return answered;
  };
  app.all("/api/*", objects);
  app.all("/apis/*", objects);
  return app;
}

/** Who asks, once they may. @throws ApiError 401, 403 */
export function permit(access: Access, incoming: IncomingMessage): Identity {
  const identity = authenticate(access, incoming);
  if (!identity) throw new ApiError("Unauthorized", "Unauthorized");
  const url = new URL(incoming.url ?? "/", "https://localhost");
  const target = /^\/apis?\//.test(url.pathname) ? parsePath(url.pathname) : undefined;
  const asked = attributesOf(incoming.method ?? "GET", url.pathname, target, url.searchParams);
  if (whyAllowed(access.store, identity, asked) !== undefined) return identity;
  const details =
    "path" in asked
      ? undefined
      : { ...(asked.name ? { name: asked.name } : {}), ...(asked.group ? { group: asked.group } : {}), kind: asked.resource };
  throw new ApiError("Forbidden", sayForbidden(identity, asked), details ?? {});
}

export function statusError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError("InternalError", messageOf(error), undefined, error);
}

/** What is answered by who runs the pods: logs and proxies. Undefined if it is none of that. */
async function podRequest(
  { pods, store }: RouteOptions,
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
  return answeredItself();
}
