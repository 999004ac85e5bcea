// The streaming subresources of pods: exec, attach and portforward over WebSocket and SPDY, and log.
import type { IncomingMessage } from "node:http";
import { type Duplex, Readable } from "node:stream";
import { messageOf } from "../../base/index.ts";
import type { Pod } from "../../resources/index.ts";
import { ApiError, badRequest, notFound } from "../errors.ts";
import type { ObjectStore } from "../store.ts";
import { type CommandStreams, type CommandWishes, spdyStreams, webSocketStreams } from "./command-streams.ts";
import type { LogWishes, PodHost } from "./pod-host.ts";
import { type SpdyStream, serveSpdy } from "./spdy/session.ts";
import { acceptWebSocket, webSocketBytes } from "./websocket.ts";

/** Remote commands, newest first: v5 lets the client end standard input (KEP-4006), v4 gives the outcome as a Status. */
const COMMAND_PROTOCOLS = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
const FORWARD_PROTOCOL = "portforward.k8s.io";
const PODS = { group: "", version: "v1", plural: "pods" } as const;

export interface Upgrade {
  readonly incoming: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

interface PodRequest {
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  readonly query: URLSearchParams;
}

/** Whether this is a subresource that asks for a stream both ways. */
export function isPodStream(plural: string, subresource: string | undefined): boolean {
  return plural === "pods" && ["exec", "attach", "portforward"].includes(subresource ?? "");
}

/** Answers an upgrade. @throws ApiError before anything was answered */
export async function servePodStream(host: PodHost, store: Pick<ObjectStore, "get">, request: PodRequest, raw: Upgrade): Promise<void> {
  const pod = podOf(store, request);
  if (request.subresource === "portforward") return servePortForward(host, pod, raw);
  const { query } = request;
  const flag = (name: string) => ["true", "1"].includes(query.get(name) ?? "");
  const wishes = { stdin: flag("stdin"), stdout: flag("stdout"), stderr: flag("stderr"), tty: flag("tty") };
  const container = containerOf(pod, query.get("container"));
  const command = query.getAll("command");
  if (request.subresource === "exec" && command.length === 0) throw badRequest("you must specify at least one command");
  const streams = await openStreams(raw, wishes);
  const how = { wishes, streams };
  try {
    const status = await (request.subresource === "exec" ? host.exec(pod, container, command, how) : host.attach(pod, container, how));
    await streams.finish(outcome(status));
  } catch (error) {
    const known = error instanceof ApiError ? error : new ApiError("InternalError", messageOf(error), undefined, error);
    await streams.finish(known.toStatus());
  }
}

function podOf(store: Pick<ObjectStore, "get">, { namespace, name }: Pick<PodRequest, "namespace" | "name">): Pod {
  const pod = store.get<Pod>(PODS, namespace, name);
  if (!pod) throw notFound(PODS, name);
  return pod;
}

/** The container that is meant. @throws ApiError 400 naming those that there are */
function containerOf(pod: Pod, asked: string | null): string {
  const { containers, initContainers = [] } = pod.spec;
  const ephemeral = (pod.spec as { readonly ephemeralContainers?: readonly { readonly name: string }[] }).ephemeralContainers ?? [];
  const names = [...containers, ...initContainers, ...ephemeral].map(({ name }) => name);
  if (asked) {
    if (names.includes(asked)) return asked;
    throw badRequest(`container ${asked} is not valid for pod ${pod.metadata.name}`);
  }
  const [first] = containers;
  const chosen = pod.metadata.annotations?.["kubectl.kubernetes.io/default-container"];
  if (chosen !== undefined && names.includes(chosen)) return chosen;
  if (containers.length === 1 && first) return first.name;
  throw badRequest(`a container name must be specified for pod ${pod.metadata.name}, choose one of: [${names.join(" ")}]`);
}

function openStreams(raw: Upgrade, wishes: CommandWishes): Promise<CommandStreams> {
  const upgrade = (raw.incoming.headers.upgrade ?? "").toLowerCase();
  if (upgrade === "websocket") {
    const accepting = acceptWebSocket(raw, COMMAND_PROTOCOLS);
    if (!accepting) throw badRequest(`Sec-WebSocket-Protocol must offer one of ${COMMAND_PROTOCOLS.join(", ")}`);
    return accepting.then((socket) => webSocketStreams(socket, wishes));
  }
  if (upgrade !== "spdy/3.1") throw badRequest("Upgrade request required: WebSocket or SPDY/3.1");
  acceptSpdy(raw, ["v4.channel.k8s.io"]);
  return spdyStreams(raw.socket, (onStream) => serveSpdy(raw.socket, onStream), wishes);
}

/** Answers 101. @throws ApiError 403 where the client offers none of the protocols */
function acceptSpdy({ incoming, socket, head }: Upgrade, protocols: readonly string[]): void {
  const offered = [incoming.headers["x-stream-protocol-version"] ?? []]
    .flat()
    .flatMap((each) => each.split(",").map((text) => text.trim()));
  const chosen = protocols.find((protocol) => offered.includes(protocol));
  if (chosen === undefined)
    throw new ApiError(
      "Forbidden",
      `unable to negotiate protocol: client supports ${offered.join(", ")}, server accepts ${protocols.join(", ")}`,
    );
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${chosen}\r\n\r\n`,
  );
  if (head.length > 0) socket.unshift(head);
}

/** The Status of a program that ended. */
function outcome(exitCode: number): object {
  if (exitCode === 0) return { metadata: {}, status: "Success" };
  return {
    metadata: {},
    status: "Failure",
    reason: "NonZeroExitCode",
    message: `command terminated with non-zero exit code: exit status ${exitCode}`,
    details: { causes: [{ reason: "ExitCode", message: String(exitCode) }] },
  };
}

async function servePortForward(host: PodHost, pod: Pod, raw: Upgrade): Promise<void> {
  const errors = new Map<string, SpdyStream>();
  const onStream = (stream: SpdyStream) => {
    const { streamtype, requestid = "", port = "" } = stream.headers;
    if (streamtype === "error") {
      errors.set(requestid, stream);
      stream.resume();
      stream.once("close", () => errors.delete(requestid));
    } else if (streamtype === "data") void forward(host, pod, Number(port), stream, errors.get(requestid));
    else stream.destroy();
  };
  if ((raw.incoming.headers.upgrade ?? "").toLowerCase() === "websocket") {
    const accepting = acceptWebSocket(raw, [`SPDY/3.1+${FORWARD_PROTOCOL}`]);
    if (!accepting) throw badRequest(`Sec-WebSocket-Protocol must offer SPDY/3.1+${FORWARD_PROTOCOL}`);
    serveSpdy(webSocketBytes(await accepting), onStream);
    return;
  }
  acceptSpdy(raw, [FORWARD_PROTOCOL]);
  serveSpdy(raw.socket, onStream);
}

/** One connection: what goes wrong is told on its error stream, which is ended in any case. */
async function forward(host: PodHost, pod: Pod, port: number, data: SpdyStream, error: SpdyStream | undefined): Promise<void> {
  let connection: Duplex;
  try {
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw badRequest(`unable to parse port "${port}"`);
    connection = await host.connect(pod, port);
  } catch (cause) {
    error?.end(`error forwarding port ${port} to pod ${pod.metadata.name}: ${messageOf(cause)}`);
    data.end();
    return;
  }
  const close = () => {
    error?.end();
    connection.destroy();
    data.destroy();
  };
  connection.on("error", close);
  connection.on("close", () => {
    data.end();
    error?.end();
  });
  data.on("close", close);
  data.pipe(connection);
  connection.pipe(data);
}

/** Answers GET pods/NAME/log. @throws ApiError */
export function servePodLog(host: PodHost, store: Pick<ObjectStore, "get">, request: Omit<PodRequest, "subresource">): Response {
  const { query } = request;
  const pod = podOf(store, request);
  const container = containerOf(pod, query.get("container"));
  const stream = host.log(pod, container, logWishes(query));
  return new Response(Readable.toWeb(stream) as ReadableStream, { headers: { "content-type": "text/plain" } });
}

function logWishes(query: URLSearchParams): LogWishes {
  const flag = (name: string) => ["true", "1"].includes(query.get(name) ?? "");
  const number = (name: string, least: number): number | undefined => {
    const text = query.get(name);
    if (text === null || text === "") return undefined;
    const value = Number(text);
    if (!Number.isInteger(value) || value < least) throw badRequest(`${name}: Invalid value: "${text}": must be at least ${least}`);
    return value;
  };
  const tailLines = number("tailLines", 0);
  const limitBytes = number("limitBytes", 1);
  const seconds = number("sinceSeconds", 1);
  const time = query.get("sinceTime");
  if (time !== null && Number.isNaN(Date.parse(time))) throw badRequest(`sinceTime: Invalid value: "${time}": not a time`);
  if (time !== null && seconds !== undefined) throw badRequest("at most one of sinceTime or sinceSeconds may be specified");
  const since = seconds === undefined ? (time === null ? undefined : Date.parse(time)) : Date.now() - seconds * 1000;
  return {
    follow: flag("follow"),
    previous: flag("previous"),
    timestamps: flag("timestamps"),
    ...(tailLines === undefined ? {} : { tailLines }),
    ...(limitBytes === undefined ? {} : { limitBytes }),
    ...(since === undefined ? {} : { since }),
  };
}
