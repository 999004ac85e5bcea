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

/** An authority that was made before. */
export type Authority = Pick<ServerCertificates, "caPem" | "authorityKeyPem">;

export interface CertificateRequest {
  /** DNS names and IP addresses that the server answers for. */
  readonly names: readonly string[];
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Signs the certificate; a new one if not given. */
  readonly authority?: Authority | undefined;
}

/** Makes the certificates in a thread of their own. */
export function makeCertificatesAside(request: CertificateRequest): Promise<ServerCertificates> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./certificates-worker.ts", import.meta.url), { workerData: request });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

/** The server's certificate, and the authority that has signed it. */
export async function makeCertificates({ names, now, authority: given }: CertificateRequest): Promise<ServerCertificates> {
  const { subtle } = webcrypto;
  const [x509, serverKeys] = await Promise.all([
    loadX509(),
    subtle.generateKey(algorithm, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>,
  ]);
  const authority = given ?? (await makeAuthority(now));
  const server = await x509.X509CertificateGenerator.create({
    notBefore: new Date(now - 3_600_000),
    notAfter: new Date(now + 10 * year),
    signingAlgorithm: algorithm,
    serialNumber: newSerial(),
    subject: "CN=kube-apiserver",
    issuer: new x509.X509Certificate(authority.caPem).subject,
    publicKey: serverKeys.publicKey,
    signingKey: await signingKeyOf(authority),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: isAddress(value) ? "ip" : "dns", value }) as const)),
    ],
  });
  return { ...authority, certificatePem: server.toString("pem"), keyPem: await privateKeyPem(serverKeys.privateKey) };
}

async function makeAuthority(now: number): Promise<Authority> {
  const x509 = await loadX509();
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    notBefore: new Date(now - 3_600_000),
    notAfter: new Date(now + 10 * year),
    signingAlgorithm: algorithm,
    serialNumber: "01",
    name: "CN=fairlead-ca",
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });
  return { caPem: certificate.toString("pem"), authorityKeyPem: await privateKeyPem(keys.privateKey) };
}

function newSerial(): string {
  return Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))).toString("hex");
}

function signingKeyOf({ authorityKeyPem }: Authority): Promise<webcrypto.CryptoKey> {
  const der = Buffer.from(authorityKeyPem.replace(/-----.*-----|\s/g, ""), "base64");
  return webcrypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);
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
  const signingKey = await signingKeyOf(request);
  const keys = (await subtle.generateKey(algorithm, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;
  const authority = new x509.X509Certificate(request.caPem);
  const certificate = await x509.X509CertificateGenerator.create({
    notBefore: new Date(request.now - 3_600_000),
    notAfter: new Date(request.now + year),
    signingAlgorithm: algorithm,
    serialNumber: newSerial(),
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
