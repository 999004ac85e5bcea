// The server's certificates: an authority made at start, and the server's own signed by it (EC P-256).
import { webcrypto } from "node:crypto";
import { Worker } from "node:worker_threads";
import { provideReflectMetadata } from "./reflect.ts";

export interface ServerCertificates {
  readonly caPem: string;
  readonly certificatePem: string;
  readonly keyPem: string;
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const year = 365 * 24 * 3600 * 1000;

async function loadX509() {
  provideReflectMetadata();
  return import("@peculiar/x509");
}

function isAddress(name: string): boolean {
  return name.includes(":") || /^\d+\.\d+\.\d+\.\d+$/.test(name);
}

/** Makes the certificates in a thread of their own. */
export function makeCertificatesAside(names: readonly string[], now: number): Promise<ServerCertificates> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./certificates-worker.ts", import.meta.url), { workerData: { names, now } });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

/** `names`: DNS names and IP addresses that the server answers for. The authority's key is forgotten. */
export async function makeCertificates(names: readonly string[], now: number): Promise<ServerCertificates> {
  const { subtle } = webcrypto;
  const keys = () => subtle.generateKey(algorithm, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;
  const [x509, authorityKeys, serverKeys] = await Promise.all([loadX509(), keys(), keys()]);
  const validity = { notBefore: new Date(now - 3_600_000), notAfter: new Date(now + 10 * year), signingAlgorithm: algorithm };
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    serialNumber: "01",
    name: "CN=fairlead-ca",
    keys: authorityKeys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  const server = await x509.X509CertificateGenerator.create({
    ...validity,
    serialNumber: "02",
    subject: "CN=kube-apiserver",
    issuer: authority.subject,
    publicKey: serverKeys.publicKey,
    signingKey: authorityKeys.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: isAddress(value) ? "ip" : "dns", value }) as const)),
    ],
  });
  const key = Buffer.from(await subtle.exportKey("pkcs8", serverKeys.privateKey)).toString("base64");
  const lines = key.match(/.{1,64}/g)?.join("\n") ?? "";
  return {
    caPem: authority.toString("pem"),
    certificatePem: server.toString("pem"),
    keyPem: `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`,
  };
}
