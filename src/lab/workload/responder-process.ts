// The process that serves the responders of a lab's pods: it opens each pod's namespace and listens there.
//
// It is told what to serve over Node's message channel, and ends when the daemon that started it is gone.

import { messageOf } from "../../base/index.ts";
import type { NetworkNamespace } from "../../kernel/index.ts";
import { createLinuxKernel } from "../../kernel/index.ts";
import { type Responder, respondTcp, respondUdp, type Who } from "./responder.ts";

export interface ServeRequest {
  readonly op: "serve";
  readonly id: number;
  /** Names the group for `stop`: a pod's uid. */
  readonly key: string;
  readonly netns: string;
  readonly who: Who;
  readonly ports: readonly { readonly port: number; readonly protocol: "TCP" | "UDP" }[];
}

export interface StopRequest {
  readonly op: "stop";
  readonly id: number;
  readonly key: string;
  /** How long clients of open connections may go on, in milliseconds. */
  readonly drainMs: number;
}

export type ResponderRequest = ServeRequest | StopRequest;

export interface ResponderReply {
  readonly id: number;
  /** Ports that could not be served, and why. */
  readonly failed: readonly { readonly port: number; readonly message: string }[];
}

const kernel = createLinuxKernel();
const groups = new Map<string, Responder[]>();

process.on("message", async (request: ResponderRequest) => {
  const failed = request.op === "serve" ? serve(request) : await stop(request);
  process.send?.({ id: request.id, failed } satisfies ResponderReply);
});
process.on("disconnect", () => process.exit(0));

function serve(request: ServeRequest): ResponderReply["failed"] {
  const failed: { port: number; message: string }[] = [];
  const group = groups.get(request.key) ?? [];
  groups.set(request.key, group);
  const namespace = kernel.openNamespace(request.netns);
  try {
    for (const { port, protocol } of request.ports) {
      try {
        const { fd, family } = bind(namespace, protocol, port);
        group.push(protocol === "TCP" ? respondTcp(fd, port, request.who) : respondUdp(fd, port, request.who, family));
      } catch (error) {
        failed.push({ port, message: messageOf(error) });
      }
    }
  } finally {
    namespace.close();
  }
  return failed;
}

/** Both families where the namespace has IPv6, else IPv4. */
function bind(namespace: NetworkNamespace, protocol: "TCP" | "UDP", port: number): { fd: number; family: 4 | 6 } {
  const common = { protocol: protocol === "TCP" ? "tcp" : "udp", port, reuseAddress: protocol === "TCP", backlog: 511 } as const;
  if (namespace.readSysctl("net.ipv6.conf.all.disable_ipv6") === "0")
    return { fd: namespace.bindSocket({ ...common, address: "::" }), family: 6 };
  return { fd: namespace.bindSocket({ ...common, address: "0.0.0.0" }), family: 4 };
}

async function stop({ key, drainMs }: StopRequest): Promise<ResponderReply["failed"]> {
  const group = groups.get(key) ?? [];
  groups.delete(key);
  await Promise.all(group.map((responder) => responder.close(drainMs)));
  return [];
}
