// The API server: TLS with an authority of its own, who may speak, and the streams that leave HTTP.

import type { IncomingMessage } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { createAdaptorServer } from "@hono/node-server";
import { urlHost } from "../base/index.ts";
import type { Access } from "./access/authenticate.ts";
import { BOOTSTRAP_ROLES } from "./access/bootstrap-roles.ts";
import { ADMINISTRATORS, authenticated } from "./access/identity.ts";
import { createTokens, type TokenRequest } from "./access/tokens.ts";
import { makeCertificatesAside, makeClientCertificate } from "./certificates.ts";
import { ApiError } from "./errors.ts";
import { parsePath } from "./http/request.ts";
import { permit, type RouteOptions, routes, statusError } from "./http/routes.ts";
import { loadIdentity, saveIdentity } from "./server-identity.ts";
import type { SqliteStore } from "./sqlite-store.ts";
import { isPodStream, servePodStream, type Upgrade } from "./stream/pod-streams.ts";

export interface ApiServerOptions extends RouteOptions {
  readonly listen: { readonly fd: number } | { readonly host: string; readonly port: number };
  /** Further listening sockets, such as the one behind the cluster's Service "kubernetes". */
  readonly alsoListen?: readonly { readonly fd: number }[];
  /** Keeps authority, keys and token over restarts; without it they are new with each start. */
  readonly identityFile?: string;
  /** More names and addresses for the certificate. */
  readonly names?: readonly string[];
}

export interface ApiServer {
  readonly url: string;
  readonly caPem: string;
  /** The administrator's. */
  readonly token: string;
  kubeconfig(name: string): string;
  /** A kubeconfig of somebody else, by a client certificate: what they may do is for roles to say. */
  kubeconfigOf(name: string, user: string, groups: readonly string[]): Promise<string>;
  /** A service account's token. @throws ApiError 404 */
  issueToken(request: TokenRequest): string;
  close(): Promise<void>;
}

/** Answers a request for a stream both ways. @throws ApiError before anything was answered */
async function upgrade({ pods, store }: ApiServerOptions, access: Access, raw: Upgrade): Promise<void> {
  permit(access, raw.incoming);
  const url = new URL(raw.incoming.url ?? "/", "https://localhost");
  const target = parsePath(url.pathname);
  if (!pods || !target?.name || target.subresource === undefined || !isPodStream(target.plural, target.subresource))
    throw new ApiError("NotFound", "the server could not find the requested resource");
  const { subresource, namespace = "", name } = target;
  await servePodStream(pods, store, { subresource, namespace, name, query: url.searchParams }, raw);
}

/** Answers a request for a stream that there will be none for. */
export function refuseUpgrade(socket: Duplex, error: ApiError): void {
  const body = JSON.stringify(error.toStatus());
  socket.end(
    `HTTP/1.1 ${error.httpCode} ${error.reason}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** As kube-apiserver: a client that rests between two requests does not find its connection closed under the second. */
const KEEP_ALIVE_MS = 90_000;

/** Starts serving. @throws FairleadError `bad-identity` */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const identity = loadIdentity(options.identityFile);
  const { token } = identity;
  seedRoles(options.store);
  const administrator = authenticated("kubernetes-admin", [ADMINISTRATORS]);
  const access: Access = {
    store: options.store,
    tokens: createTokens(options.store, Date.now, identity.tokenKey),
    fixed: { token, identity: administrator },
  };
  const names = ["127.0.0.1", "::1", "localhost", "kubernetes", "kubernetes.default.svc", "10.96.0.1", ...(options.names ?? [])];
  const certificates = await makeCertificatesAside({ names: [...new Set(names)], now: Date.now(), authority: identity.authority });
  if (options.identityFile !== undefined && !identity.authority) saveIdentity(options.identityFile, identity, certificates);
  const { caPem, certificatePem, keyPem, authorityKeyPem } = certificates;
  const app = routes(options, access);
  // Whoever has a certificate of ours shows it; others prove themselves otherwise.
  const tls = { key: keyPem, cert: certificatePem, ca: [caPem], requestCert: true, rejectUnauthorized: false };
  const listenAt = async (where: ApiServerOptions["listen"]) => {
    const server = createAdaptorServer({ fetch: app.fetch, createServer, serverOptions: { ...tls, keepAliveTimeout: KEEP_ALIVE_MS } });
    server.on("upgrade", (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on("error", () => socket.destroy());
      upgrade(options, access, { incoming, socket, head }).catch((error) => refuseUpgrade(socket, statusError(error)));
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
  const url = `https://${urlHost(host)}:${address.port}`;
  return {
    url,
    caPem,
    token,
    kubeconfig: (name) => kubeconfig({ name, url, caPem, user: name, credentials: { token } }),
    async kubeconfigOf(name, user, groups) {
      const made = await makeClientCertificate({ caPem, authorityKeyPem, user, groups, now: Date.now() });
      const credentials = {
        "client-certificate-data": Buffer.from(made.certificatePem).toString("base64"),
        "client-key-data": Buffer.from(made.keyPem).toString("base64"),
      };
      return kubeconfig({ name, url, caPem, user, credentials });
    },
    issueToken: (request) => access.tokens.issue(request).token,
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
export function kubeconfig(of: {
  readonly name: string;
  readonly url: string;
  readonly caPem: string;
  readonly user: string;
  readonly credentials: object;
}): string {
  const { name, url, caPem, user, credentials } = of;
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": name,
    clusters: [{ name, cluster: { server: url, "certificate-authority-data": Buffer.from(caPem).toString("base64") } }],
    users: [{ name: user, user: credentials }],
    contexts: [{ name, context: { cluster: name, user, namespace: "default" } }],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

/** Makes the roles that every cluster has, as far as they are not there. */
function seedRoles(store: SqliteStore): void {
  for (const object of BOOTSTRAP_ROLES) {
    const plural = object.kind === "ClusterRole" ? "clusterroles" : "clusterrolebindings";
    const ref = { group: "rbac.authorization.k8s.io", version: "v1", plural };
    if (!store.get(ref, undefined, object.metadata.name)) store.create(ref, object);
  }
}
