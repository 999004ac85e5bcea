// The server's certificates: an authority made at start, and the server's own signed by it (EC P-256).
import { webcrypto } from "node:crypto";
import { Worker } from "node:worker_threads";
import { provideReflectMetadata } from "./reflect.ts";

export interface ServerCertificates {
  readonly caPem: string;
  readonly certificatePem: string;
  readonly keyPem: string;
  /** Signs further certificates; never written to disk or sent. */
  readonly authorityKeyPem: string;
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

/** `names`: DNS names and IP addresses that the server answers for. */
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
  return {
    caPem: authority.toString("pem"),
    certificatePem: server.toString("pem"),
    keyPem: await privateKeyPem(serverKeys.privateKey),
    authorityKeyPem: await privateKeyPem(authorityKeys.privateKey),
  };
}

async function privateKeyPem(key: webcrypto.CryptoKey): Promise<string> {
  const base64 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key)).toString("base64");
  const lines = base64.match(/.{1,64}/g)?.join("\n") ?? "";
  return `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`;
}

export interface ClientRequest {
  readonly caPem: string;
  readonly authorityKeyPem: string;
  /** The common name. */
  readonly user: string;
  /** The organisations. */
  readonly groups: readonly string[];
  readonly now: number;
}

/** A certificate by which a user proves who it is, good for a year. */
export async function makeClientCertificate(request: ClientRequest): Promise<{ readonly certificatePem: string; readonly keyPem: string }> {
  const { subtle } = webcrypto;
  const x509 = await loadX509();
  const der = Buffer.from(request.authorityKeyPem.replace(/-----.*-----|\s/g, ""), "base64");
  const signingKey = await subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);
  const keys = (await subtle.generateKey(algorithm, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
  const authority = new x509.X509Certificate(request.caPem);
  const certificate = await x509.X509CertificateGenerator.create({
    notBefore: new Date(request.now - 3_600_000),
    notAfter: new Date(request.now + year),
    signingAlgorithm: algorithm,
    serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))).toString("hex"),
    subject: new x509.Name([...request.groups.map((group) => ({ O: [group] })), { CN: [request.user] }]).toString(),
    issuer: authority.subject,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
    ],
  });
  return { certificatePem: certificate.toString("pem"), keyPem: await privateKeyPem(keys.privateKey) };
}
