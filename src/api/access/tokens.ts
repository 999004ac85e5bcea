// Service account tokens: JSON Web Tokens (RFC 7519) signed with the server's own key (ES256), bound to accounts and pods.
import { type KeyObject as CryptoKeyObject, createPublicKey, sign, verify } from "node:crypto";
import type { KubeObject, Pod } from "../../resources/index.ts";
import { ApiError, badRequest, notFound } from "../errors.ts";
import type { ObjectStore } from "../store.ts";
import { type Identity, serviceAccountIdentity } from "./identity.ts";

const core = (plural: string) => ({ group: "", version: "v1", plural });
const ACCOUNTS = core("serviceaccounts");
const PODS = core("pods");
const ISSUER = "https://kubernetes.default.svc.cluster.local";
const LEAST_SECONDS = 600;
const USUAL_SECONDS = 3600;
const MOST_SECONDS = 1 << 25;

interface Claims {
  readonly iss: string;
  readonly sub: string;
  readonly aud: readonly string[];
  readonly exp?: number;
  readonly iat: number;
  readonly nbf: number;
  readonly "kubernetes.io": {
    readonly namespace: string;
    readonly serviceaccount: { readonly name: string; readonly uid: string };
    readonly pod?: { readonly name: string; readonly uid: string };
  };
}

export interface TokenRequest {
  readonly namespace: string;
  readonly account: string;
  readonly audiences?: readonly string[];
  /** Seconds that it holds; undefined: for ever (tokens in Secrets). */
  readonly seconds?: number | undefined;
  readonly pod?: { readonly name: string; readonly uid: string };
}

export interface Tokens {
  /** A token and when it ends (RFC 3339). @throws ApiError 404 */
  issue(request: TokenRequest): { readonly token: string; readonly expires?: string };
  /** Whose token it is; undefined if it is not one of ours, or does not hold (any more). */
  check(token: string, audiences?: readonly string[]): Identity | undefined;
  /** The public key, as JWKS (RFC 7517). */
  readonly keys: object;
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** `privateKey` signs (EC P-256); `clock` in milliseconds since the epoch. */
export function createTokens(store: Pick<ObjectStore, "get">, clock: () => number, privateKey: CryptoKeyObject): Tokens {
  const publicKey = createPublicKey(privateKey);
  const jwk = publicKey.export({ format: "jwk" });
  const kid = Buffer.from(String(jwk.x)).toString("base64url").slice(0, 16);
  const now = () => Math.floor(clock() / 1000);
  return {
    keys: { keys: [{ ...jwk, use: "sig", alg: "ES256", kid }] },
    issue({ namespace, account, audiences = [ISSUER], pod, seconds }) {
      const object = store.get(ACCOUNTS, namespace, account);
      if (!object) throw notFound(ACCOUNTS, account);
      const at = now();
      const claims: Claims = {
        iss: ISSUER,
        sub: `system:serviceaccount:${namespace}:${account}`,
        aud: audiences,
        ...(seconds === undefined ? {} : { exp: at + seconds }),
        iat: at,
        nbf: at,
        "kubernetes.io": { namespace, serviceaccount: { name: account, uid: object.metadata.uid ?? "" }, ...(pod ? { pod } : {}) },
      };
      const text = `${encode({ alg: "ES256", kid })}.${encode(claims)}`;
      const signature = sign("sha256", Buffer.from(text), { key: privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url");
      const expires = seconds === undefined ? {} : { expires: new Date((at + seconds) * 1000).toISOString().replace(/\.\d+Z$/, "Z") };
      return { token: `${text}.${signature}`, ...expires };
    },
    check(token, audiences = [ISSUER]) {
      const [head = "", body = "", signature = "", more] = token.split(".");
      if (more !== undefined || signature === "") return undefined;
      const bytes = Buffer.from(`${head}.${body}`);
      if (!verify("sha256", bytes, { key: publicKey, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url"))) return undefined;
      // Signed by us, so it has the shape that we gave it.
      const claims = JSON.parse(Buffer.from(body, "base64url").toString("utf8")) as Claims;
      if (claims.exp !== undefined && claims.exp <= now()) return undefined;
      if (!audiences.some((audience) => claims.aud.includes(audience))) return undefined;
      return boundIdentity(store, claims);
    },
  };
}

/** The account, while it and the pod that the token is bound to are the same objects. */
function boundIdentity(store: Pick<ObjectStore, "get">, claims: Claims): Identity | undefined {
  const { namespace, serviceaccount, pod } = claims["kubernetes.io"];
  const account = store.get<KubeObject>(ACCOUNTS, namespace, serviceaccount.name);
  if (account?.metadata.uid !== serviceaccount.uid) return undefined;
  const uid = { uid: serviceaccount.uid };
  if (!pod) return serviceAccountIdentity(namespace, serviceaccount.name, uid);
  if (store.get<Pod>(PODS, namespace, pod.name)?.metadata.uid !== pod.uid) return undefined;
  const extra = { "authentication.kubernetes.io/pod-name": [pod.name], "authentication.kubernetes.io/pod-uid": [pod.uid] };
  return serviceAccountIdentity(namespace, serviceaccount.name, { ...uid, extra });
}

/** Answers POST serviceaccounts/NAME/token. @throws ApiError */
export function requestToken(tokens: Tokens, store: Pick<ObjectStore, "get">, namespace: string, account: string, body: unknown): object {
  const request = (body ?? {}) as {
    metadata?: object;
    spec?: { audiences?: unknown; expirationSeconds?: unknown; boundObjectRef?: unknown };
  };
  const { audiences, expirationSeconds = USUAL_SECONDS, boundObjectRef } = request.spec ?? {};
  if (!Number.isInteger(expirationSeconds) || Number(expirationSeconds) < LEAST_SECONDS)
    throw new ApiError(
      "Invalid",
      `TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: ${JSON.stringify(expirationSeconds)}: may not specify a duration less than 10 minutes`,
    );
  const asked = Array.isArray(audiences) && audiences.length > 0 ? audiences.map(String) : [ISSUER];
  const seconds = Math.min(Number(expirationSeconds), MOST_SECONDS);
  const pod = boundPod(store, namespace, boundObjectRef);
  const { token, expires } = tokens.issue({ namespace, account, audiences: asked, seconds, ...(pod ? { pod } : {}) });
  return {
    kind: "TokenRequest",
    apiVersion: "authentication.k8s.io/v1",
    metadata: { name: account, namespace },
    spec: { audiences: asked, expirationSeconds: seconds, boundObjectRef: boundObjectRef ?? null },
    status: { token, expirationTimestamp: expires },
  };
}

function boundPod(store: Pick<ObjectStore, "get">, namespace: string, ref: unknown): { name: string; uid: string } | undefined {
  if (ref === undefined || ref === null) return undefined;
  const { kind, name = "", uid } = ref as { kind?: string; name?: string; uid?: string };
  if (kind !== "Pod") throw badRequest(`cannot bind token to object of kind ${kind}: only Pod is served`);
  const pod = store.get<Pod>(PODS, namespace, name);
  if (!pod) throw notFound(PODS, name);
  const own = pod.metadata.uid ?? "";
  if (uid !== undefined && uid !== own)
    throw new ApiError("Conflict", `the UID in the bound object reference (${uid}) does not match the UID in record (${own})`);
  return { name, uid: own };
}
