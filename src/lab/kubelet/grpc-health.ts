// The gRPC health check (grpc.health.v1.Health/Check), as kubelet asks it: over HTTP/2 without TLS, from the node.
import { connect } from "node:http2";
import { Socket } from "node:net";
import { deadline, familyOf, messageOf } from "../../base/index.ts";
import type { NetworkNamespace } from "../../kernel/index.ts";

export interface GrpcHealthOptions {
  readonly address: string;
  readonly port: number;
  /** The name of the service asked after; "" is the whole server. */
  readonly service: string;
  readonly timeoutMs: number;
}

/** HealthCheckResponse.ServingStatus */
const SERVING = 1;

/** Asks once; success is SERVING. Never rejects. */
export function askGrpcHealth(
  namespace: NetworkNamespace,
  options: GrpcHealthOptions,
): Promise<{ readonly success: boolean; readonly message: string }> {
  const { address, port, service, timeoutMs } = options;
  return new Promise((resolve) => {
    let socket: Socket | undefined;
    const finish = (success: boolean, message: string) => {
      heard();
      socket?.destroy();
      resolve({ success, message: `gRPC ${address}:${port}: ${message}` });
    };
    const heard = deadline(timeoutMs, () => finish(false, "timeout"));
    try {
      socket = new Socket({ fd: namespace.openSocket({ protocol: "tcp", family: familyOf(address) }), manualStart: true } as never);
    } catch (error) {
      finish(false, messageOf(error));
      return;
    }
    const opened = socket;
    opened.on("error", (error) => finish(false, error.message));
    opened.connect({ host: address, port }, () => {
      const authority = `${address.includes(":") ? `[${address}]` : address}:${port}`;
      const session = connect(`http://${authority}`, { createConnection: () => opened });
      session.on("error", (error) => finish(false, error.message));
      const headers = { ":method": "POST", ":path": "/grpc.health.v1.Health/Check", "content-type": "application/grpc", te: "trailers" };
      const stream = session.request(headers);
      let answer = Buffer.alloc(0);
      let status = "";
      const note = (given: Record<string, unknown>) => {
        status = String(given["grpc-status"] ?? status);
      };
      stream.on("response", note).on("trailers", note);
      stream.on("error", (error) => finish(false, error.message));
      stream.on("data", (chunk: Buffer) => {
        answer = Buffer.concat([answer, chunk]).subarray(0, 1024);
      });
      stream.on("end", () => {
        session.close();
        if (status !== "0") finish(false, `status ${status || "missing"}`);
        else finish(servingStatus(answer) === SERVING, `serving status ${servingStatus(answer)}`);
      });
      stream.end(request(service));
    });
  });
}

/** HealthCheckRequest { service } in its length-prefixed frame. */
function request(service: string): Buffer {
  const name = Buffer.from(service).subarray(0, 127);
  const body = name.length === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
  return Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), body]);
}

/** The status in a frame; a message without the field means 0, UNKNOWN. */
function servingStatus(frame: Buffer): number {
  return frame[5] === 0x08 ? (frame[6] ?? 0) : 0;
}
