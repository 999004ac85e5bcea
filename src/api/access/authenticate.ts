// Who sends a request: by bearer token, by client certificate, or in another's name (impersonation).
import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { ApiError } from "../errors.ts";
import type { ObjectStore } from "../store.ts";
import { type Attributes, authenticated, type Identity, SERVICE_ACCOUNT_PREFIX, sayForbidden, serviceAccountIdentity } from "./identity.ts";
import { whyAllowed } from "./rbac.ts";
import type { Tokens } from "./tokens.ts";

export interface Access {
  readonly store: Pick<ObjectStore, "get" | "list">;
  readonly tokens: Tokens;
  /** A fixed token and whose it is. */
  readonly fixed: { readonly token: string; readonly identity: Identity };
}

/** The sender; undefined where it proved nothing. @throws ApiError 403 where it may not speak for the one it names */
export function authenticate(access: Access, incoming: IncomingMessage): Identity | undefined {
  const own = byToken(access, incoming.headers.authorization) ?? byCertificate(incoming.socket as TLSSocket);
  return own && impersonated(access, own, incoming);
}

function byToken({ fixed, tokens }: Access, header: string | undefined): Identity | undefined {
  const token = /^Bearer (.+)$/.exec(header ?? "")?.[1];
  if (token === undefined) return undefined;
  const [given, expected] = [Buffer.from(token), Buffer.from(fixed.token)];
  if (given.length === expected.length && timingSafeEqual(given, expected)) return fixed.identity;
  return tokens.check(token);
}

/** A certificate of our own authority: its common name is the user, its organisations are groups. */
function byCertificate(socket: TLSSocket): Identity | undefined {
  if (!socket.authorized) return undefined;
  const subject = socket.getPeerCertificate().subject as unknown as { CN?: string; O?: string | string[] } | undefined;
  return subject?.CN ? authenticated(subject.CN, [subject.O ?? []].flat()) : undefined;
}

function impersonated(access: Access, own: Identity, incoming: IncomingMessage): Identity {
  const { headers } = incoming;
  const name = headers["impersonate-user"];
  const groups = valuesOf(incoming, "impersonate-group");
  if (name === undefined && groups.length === 0) return own;
  if (typeof name !== "string" || name === "") throw new ApiError("BadRequest", "requested groups without impersonating a user");
  const account = name.startsWith(SERVICE_ACCOUNT_PREFIX) ? name.slice(SERVICE_ACCOUNT_PREFIX.length).split(":") : undefined;
  const asked: Attributes[] = [
    account
      ? { verb: "impersonate", group: "", resource: "serviceaccounts", namespace: account[0] ?? "", name: account[1] ?? "" }
      : { verb: "impersonate", group: "", resource: "users", name },
    ...groups.map((group): Attributes => ({ verb: "impersonate", group: "", resource: "groups", name: group })),
  ];
  for (const each of asked) if (whyAllowed(access.store, own, each) === undefined) throw new ApiError("Forbidden", sayForbidden(own, each));
  if (account && groups.length === 0) return serviceAccountIdentity(account[0] ?? "", account[1] ?? "");
  return authenticated(name, groups);
}

/** All values of a header that may be there more than once. */
function valuesOf(incoming: IncomingMessage, name: string): string[] {
  const values: string[] = [];
  for (let index = 0; index < incoming.rawHeaders.length; index += 2)
    if (incoming.rawHeaders[index]?.toLowerCase() === name) values.push(incoming.rawHeaders[index + 1] ?? "");
  return values;
}
