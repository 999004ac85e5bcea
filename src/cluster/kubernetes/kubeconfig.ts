// Kubeconfig files: where the API server is, how it proves itself, and how we do.
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import { hostOfUrl, messageOf, urlHost } from "../../base/index.ts";
import { KubeconfigError } from "../errors.ts";

/** All that a request needs to know of a cluster. */
export interface ApiAccess {
  readonly server: URL;
  readonly tls: {
    readonly ca?: Buffer;
    readonly cert?: Buffer;
    readonly key?: Buffer;
    readonly servername?: string;
    readonly rejectUnauthorized: boolean;
  };
  /** The Authorization header; asked for each request, since tokens in files are renewed. */
  readonly authorization: () => string | undefined;
}

const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

type Fields = Readonly<Record<string, unknown>>;

/** Reads a kubeconfig: its text, or the path of its file. `context` instead of its current-context. @throws KubeconfigError */
export function readKubeconfig(textOrPath: string, context?: string): ApiAccess {
  const isText = /[\n{]/.test(textOrPath);
  const where = isText ? "kubeconfig" : textOrPath;
  const base = isText ? "." : dirname(textOrPath);
  const fail = (message: string, remedy: string, cause?: unknown) =>
    new KubeconfigError("bad-kubeconfig", message, { where, remedy, cause });
  let document: unknown;
  try {
    document = parse(isText ? textOrPath : readFileSync(textOrPath, "utf8"));
  } catch (cause) {
    throw fail(messageOf(cause), "give a kubeconfig file, such as ~/.kube/config", cause);
  }
  const config = fieldsOf(document);
  const contextName = context ?? textOf(config["current-context"]);
  if (!contextName) throw fail("it has no current-context", "choose one: kubectl config use-context NAME");
  const named = (list: string, key: string, name: unknown): Fields => {
    const entries: unknown[] = Array.isArray(config[list]) ? config[list] : [];
    const entry = entries.map(fieldsOf).find((each) => each.name === name);
    if (!entry) throw fail(`it has no ${key} "${String(name)}" among its ${list}`, "correct it, or choose another context");
    return fieldsOf(entry[key]);
  };
  const chosen = named("contexts", "context", contextName);
  const cluster = named("clusters", "cluster", chosen.cluster);
  const user = chosen.user === undefined || chosen.user === "" ? {} : named("users", "user", chosen.user);
  for (const plugin of ["exec", "auth-provider"]) {
    if (user[plugin] === undefined) continue;
    throw new KubeconfigError("unsupported-credentials", `user "${String(chosen.user)}" gets its credentials from a program (${plugin})`, {
      where,
      remedy: "give a token instead: kubectl create token SERVICEACCOUNT",
    });
  }
  if (cluster["proxy-url"] !== undefined) throw fail("proxy-url is not supported", "reach the API server directly");
  const data = (of: Fields, field: string): Buffer | undefined => {
    const inline = textOf(of[`${field}-data`]);
    if (inline) return Buffer.from(inline, "base64");
    const path = textOf(of[field]);
    if (!path) return undefined;
    try {
      return readFileSync(resolve(base, path));
    } catch (cause) {
      throw fail(`${field}: ${messageOf(cause)}`, "correct the path", cause);
    }
  };
  let server: URL;
  try {
    server = new URL(textOf(cluster.server) ?? "");
  } catch (cause) {
    throw fail(`server ${JSON.stringify(cluster.server)} is no URL`, "write it like https://10.112.0.2:6443", cause);
  }
  if (server.protocol !== "https:" && server.protocol !== "http:")
    throw fail(`server ${server} is not HTTP`, "write it like https://10.112.0.2:6443");
  const [ca, cert, key] = [data(cluster, "certificate-authority"), data(user, "client-certificate"), data(user, "client-key")];
  const servername = textOf(cluster["tls-server-name"]);
  const tokenFile = textOf(user.tokenFile);
  return {
    server,
    tls: {
      ...(ca ? { ca } : {}),
      ...(cert ? { cert } : {}),
      ...(key ? { key } : {}),
      ...(servername ? { servername } : {}),
      rejectUnauthorized: cluster["insecure-skip-tls-verify"] !== true,
    },
    authorization: authorizationOf(user, tokenFile === undefined ? undefined : resolve(base, tokenFile)),
  };
}

/**
 * A kubeconfig's one context as text that needs no other file, but for tokens that are renewed in theirs.
 * @throws KubeconfigError
 */
export function flattenKubeconfig(path: string, context?: string): string {
  readKubeconfig(path, context);
  const config = fieldsOf(parse(readFileSync(path, "utf8")));
  const entry = (list: string, name: unknown): Fields =>
    (Array.isArray(config[list]) ? (config[list] as unknown[]) : []).map(fieldsOf).find((each) => each.name === name) ?? {};
  const flat = (fields: Fields): Fields =>
    Object.fromEntries(
      Object.entries(fields).map(([field, value]): [string, unknown] => {
        if (!textOf(value) || !FILES.includes(field) || textOf(fields[`${field}-data`])) return [field, value];
        const file = resolve(dirname(path), String(value));
        return field === "tokenFile" ? [field, file] : [`${field}-data`, readFileSync(file).toString("base64")];
      }),
    );
  const named = context ?? config["current-context"];
  const chosen = entry("contexts", named);
  const { cluster, user } = fieldsOf(chosen.context);
  const users = user === undefined || user === "" ? [] : [{ name: user, user: flat(fieldsOf(entry("users", user).user)) }];
  const document = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": named,
    contexts: [chosen],
    clusters: [{ name: cluster, cluster: flat(fieldsOf(entry("clusters", cluster).cluster)) }],
    users,
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

const FILES = ["certificate-authority", "client-certificate", "client-key", "tokenFile"];

/** The same cluster, reached at another address (host, or host:port): the server's certificate is asked for the name that it has. */
export function redirectKubeconfig(flattened: string, address: string): string {
  const config = JSON.parse(flattened) as { readonly clusters: readonly { readonly cluster: Record<string, unknown> }[] };
  for (const { cluster } of config.clusters) {
    const server = new URL(String(cluster.server));
    cluster["tls-server-name"] ??= hostOfUrl(server);
    // Set by hand: a URL keeps the port that it had where none is given.
    cluster.server = `${server.protocol}//${address}${server.pathname.replace(/\/$/, "")}`;
  }
  return JSON.stringify(config);
}

/** The access that a pod has by its service account. @throws KubeconfigError if this is no pod */
export function inClusterAccess(environment: Readonly<Record<string, string | undefined>> = process.env): ApiAccess {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" } = environment;
  const remedy = "give a kubeconfig, or run it as a pod with a service account";
  if (!host) throw new KubeconfigError("bad-kubeconfig", "this is not a pod: KUBERNETES_SERVICE_HOST is not set", { remedy });
  try {
    return {
      server: new URL(`https://${urlHost(host)}:${port}`),
      tls: { ca: readFileSync(`${SERVICE_ACCOUNT}/ca.crt`), rejectUnauthorized: true },
      authorization: authorizationOf({}, `${SERVICE_ACCOUNT}/token`),
    };
  } catch (cause) {
    throw new KubeconfigError("bad-kubeconfig", `the service account cannot be read: ${messageOf(cause)}`, { remedy, cause });
  }
}

function authorizationOf(user: Fields, tokenFile: string | undefined): () => string | undefined {
  const [token, username, password] = [textOf(user.token), textOf(user.username), textOf(user.password)];
  if (token) return () => `Bearer ${token}`;
  if (tokenFile) return () => `Bearer ${readFileSync(tokenFile, "utf8").trim()}`;
  if (username === undefined) return () => undefined;
  const basic = `Basic ${Buffer.from(`${username}:${password ?? ""}`).toString("base64")}`;
  return () => basic;
}

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
