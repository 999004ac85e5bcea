// What makes a server the same after a restart: its authority, the key of its tokens, the administrator's token. In one file, or nowhere.
import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { FairleadError, messageOf } from "../base/index.ts";
import type { Authority, ServerCertificates } from "./certificates.ts";

export interface ServerIdentity {
  readonly token: string;
  readonly tokenKey: KeyObject;
  /** Undefined where one must be made. */
  readonly authority: Authority | undefined;
}

interface Saved extends Authority {
  readonly token: string;
  readonly tokenKeyPem: string;
}

/** The identity of a file, or a new one. @throws FairleadError `bad-identity` */
export function loadIdentity(path: string | undefined): ServerIdentity {
  if (path === undefined || !existsSync(path)) {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    return { token: randomBytes(32).toString("base64url"), tokenKey: privateKey, authority: undefined };
  }
  try {
    const { token, tokenKeyPem, caPem, authorityKeyPem } = JSON.parse(readFileSync(path, "utf8")) as Saved;
    return { token, tokenKey: createPrivateKey(tokenKeyPem), authority: { caPem, authorityKeyPem } };
  } catch (cause) {
    throw new FairleadError("bad-identity", `the server's identity cannot be read: ${messageOf(cause)}`, {
      where: path,
      remedy: "move the file away: the server gets a new one, and clients need its new kubeconfig",
      cause,
    });
  }
}

/** Writes it, readable by its owner only. */
export function saveIdentity(path: string, { token, tokenKey }: ServerIdentity, { caPem, authorityKeyPem }: ServerCertificates): void {
  const tokenKeyPem = tokenKey.export({ type: "pkcs8", format: "pem" }) as string;
  writeFileSync(`${path}.new`, JSON.stringify({ token, tokenKeyPem, caPem, authorityKeyPem } satisfies Saved), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
