// A request as far as its path and method go: which object, what for, and its body.
import type { IncomingMessage } from "node:http";
import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import { parse as parseYaml } from "yaml";
import { messageOf } from "../../base/index.ts";
import type { Attributes } from "../access/identity.ts";
import { ApiError, badRequest } from "../errors.ts";
import { decodeProtobuf } from "./protobuf.ts";

export type Ctx = Context<{ Bindings: HttpBindings }>;

const bodyLimit = 3 * 1024 * 1024;

export interface Target {
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
export function parsePath(path: string): Target | undefined {
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

/** A request's document; undefined where there is none. @throws ApiError 400, 413 */
export async function bodyOf(incoming: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  // What is left unread of a body that is too large does not end the connection before the answer is told.
  for await (const chunk of incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > bodyLimit) throw new ApiError("RequestEntityTooLarge", `the request is larger than ${bodyLimit} bytes`);
    chunks.push(chunk);
  }
  if (size === 0) return undefined;
  const type = incoming.headers["content-type"] ?? "";
  if (type.includes("protobuf")) return decodeProtobuf(Buffer.concat(chunks));
  const text = Buffer.concat(chunks).toString("utf8");
  try {
    return type.includes("yaml") ? parseYaml(text, { maxAliasCount: 100 }) : JSON.parse(text);
  } catch (cause) {
    throw badRequest(`the body cannot be read: ${messageOf(cause)}`, cause);
  }
}

const VERBS: Readonly<Record<string, string>> = {
  GET: "get",
  HEAD: "get",
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

/** What a request wants to do, as access rules name it. */
export function attributesOf(method: string, path: string, target: Target | undefined, query: URLSearchParams): Attributes {
  if (!target) return { verb: method.toLowerCase(), path };
  const { group, plural, namespace, name, subresource } = target;
  const watching = target.watch || ["true", "1"].includes(query.get("watch") ?? "");
  let verb = VERBS[method] ?? method.toLowerCase();
  if (verb === "get" && watching) verb = "watch";
  else if (name === undefined && (verb === "get" || verb === "delete")) verb = verb === "get" ? "list" : "deletecollection";
  return {
    verb,
    group,
    resource: plural,
    ...(subresource === undefined ? {} : { subresource }),
    ...(plural === "namespaces" && group === ""
      ? name === undefined
        ? {}
        : { namespace: name }
      : namespace === undefined
        ? {}
        : { namespace }),
    ...(name === undefined ? {} : { name }),
  };
}
