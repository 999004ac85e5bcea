// An upstream DNS server by TLS (RFC 7858), with a certificate of a test's own authority.
import { createServer } from "node:tls";
import { makeCertificates } from "../src/api/certificates.ts";
import { decodeMessage, encodeMessage } from "../src/dns/wire/codec.ts";
import { framed } from "./dns-client.ts";
import { fromTable } from "./dns-upstream.ts";

export interface TlsUpstream {
  readonly port: number;
  readonly caPem: string;
  /** Connections that were made. */
  readonly connections: () => number;
  /** The names that clients asked for (SNI). */
  readonly names: string[];
  close(): Promise<void>;
}

/** Answers from the test's table; its certificate is for `names`. */
export async function startTlsUpstream(names: readonly string[]): Promise<TlsUpstream> {
  const { caPem, certificatePem, keyPem } = await makeCertificates({ names: names, now: Date.now() });
  const open = new Set<{ destroy(): void }>();
  const asked: string[] = [];
  let connections = 0;
  const server = createServer({ cert: certificatePem, key: keyPem }, (socket) => {
    open.add(socket);
    connections++;
    asked.push((socket as unknown as { servername: string | false }).servername || "");
    let buffered: Buffer = Buffer.alloc(0);
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      buffered = Buffer.concat([buffered, chunk]);
      while (buffered.length >= 2 && buffered.length >= 2 + buffered.readUInt16BE(0)) {
        const query = buffered.subarray(2, 2 + buffered.readUInt16BE(0));
        buffered = buffered.subarray(2 + query.length);
        socket.write(framed(encodeMessage(fromTable(decodeMessage(query)))));
      }
    });
  });
  // A client that does not trust the certificate hangs up.
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as { port: number }).port,
    caPem,
    connections: () => connections,
    names: asked,
    close: () => {
      for (const socket of open) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
