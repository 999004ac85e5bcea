// Certificates for tests: an authority, a server (of 127.0.0.1, where nothing else is said) and a client that it has signed, as PEM.
import { webcrypto } from "node:crypto";
import { provideReflectMetadata } from "../src/api/reflect.ts";

export interface Pki {
  readonly ca: Buffer;
  readonly server: { readonly cert: Buffer; readonly key: Buffer };
  readonly client: { readonly cert: Buffer; readonly key: Buffer };
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

export async function makePki(addresses: readonly string[] = ["127.0.0.1"]): Promise<Pki> {
  provideReflectMetadata();
  const x509 = await import("@peculiar/x509");
  const { subtle } = webcrypto;
  const keys = () => subtle.generateKey(algorithm, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;
  const [authorityKeys, serverKeys, clientKeys] = await Promise.all([keys(), keys(), keys()]);
  const validity = { notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 3_600_000), signingAlgorithm: algorithm };
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    serialNumber: "01",
    name: "CN=test-ca",
    keys: authorityKeys,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  const signed = async (serialNumber: string, name: string, pair: webcrypto.CryptoKeyPair) => {
    const certificate = await x509.X509CertificateGenerator.create({
      ...validity,
      serialNumber,
      subject: `CN=${name}`,
      issuer: ca.subject,
      publicKey: pair.publicKey,
      signingKey: authorityKeys.privateKey,
      extensions: [new x509.SubjectAlternativeNameExtension(addresses.map((value) => ({ type: "ip", value }) as const))],
    });
    const key = Buffer.from(await subtle.exportKey("pkcs8", pair.privateKey)).toString("base64");
    const pem = `-----BEGIN PRIVATE KEY-----\n${key.match(/.{1,64}/g)?.join("\n")}\n-----END PRIVATE KEY-----\n`;
    return { cert: Buffer.from(certificate.toString("pem")), key: Buffer.from(pem) };
  };
  return {
    ca: Buffer.from(ca.toString("pem")),
    server: await signed("02", "relay", serverKeys),
    client: await signed("03", "agent", clientKeys),
  };
}
