// Probes between the ends of a lab, with real packets: `probe` and `matrix`.
import { FairleadError, tryParseAddress } from "../base/index.ts";
import { declaredPorts, type End, findEnd, nameOfEnd, type Pair, parseTarget } from "../cluster/index.ts";
import type { NetworkNamespace } from "../kernel/index.ts";
import { type Attempt, attempt, type Verdict } from "./attempt.ts";
import type { Lab } from "./lab.ts";
import { ping } from "./ping.ts";
import { resolveName } from "./resolve.ts";
import { CLUSTER } from "./system.ts";

type ProbeProtocol = "tcp" | "udp" | "icmp" | "http";

/** One attempt, as `probe -o json` prints it. */
export interface ProbeResult {
  readonly from: string;
  readonly to: string;
  readonly port: number | null;
  readonly protocol: "TCP" | "UDP" | "ICMP";
  readonly verdict: Verdict;
  /** Who answered. */
  readonly server: string | null;
  /** The address that the server saw as its client's. */
  readonly sourceSeen: string | null;
  readonly ms: number;
  /** The address that was tried. */
  readonly address: string;
  readonly cause?: string;
}

export interface ProbeOptions {
  readonly from: string;
  /** TO[:PORT] */
  readonly to: string;
  readonly protocol: ProbeProtocol;
  readonly timeoutMs: number;
}

/** One real attempt. @throws FairleadError `no-such-end`, `no-port`, `no-address` */
export async function probe(lab: Lab, options: ProbeOptions): Promise<ProbeResult> {
  const from = findEnd(lab.snapshot, options.from);
  const namespace = namespaceOf(lab, from, options.from);
  const target = parseTarget(options.to);
  const to = target.end.includes("/") || target.end === "outside" ? findEnd(lab.snapshot, target.end) : nameOrEnd(lab, target.end);
  // An address is tried as it was written: a pod that has it may have one of the other family too.
  const address = tryParseAddress(target.end) ? target.end : await addressOf(lab, namespace, from, to);
  const isIcmp = options.protocol === "icmp";
  const port = isIcmp ? undefined : portOf(lab, to, target.port, options);
  const result = isIcmp
    ? await ping(namespace, address, options.timeoutMs)
    : await attempt(namespace, {
        address,
        port: port ?? 0,
        protocol: options.protocol as "tcp" | "udp" | "http",
        timeoutMs: options.timeoutMs,
        ...(to.kind === "name" ? { host: to.name } : {}),
      });
  return describe(nameOfEnd(from), nameOfEnd(to), port, options.protocol, address, result);
}

function describe(
  from: string,
  to: string,
  port: number | undefined,
  protocol: ProbeProtocol,
  address: string,
  result: Attempt,
): ProbeResult {
  return {
    from,
    to,
    port: port ?? null,
    protocol: protocol === "udp" ? "UDP" : protocol === "icmp" ? "ICMP" : "TCP",
    verdict: result.verdict,
    server: result.identity?.pod ?? null,
    sourceSeen: result.identity?.source ?? null,
    ms: result.ms,
    address,
    ...(result.cause === undefined ? {} : { cause: result.cause }),
  };
}

function nameOrEnd(lab: Lab, text: string): End {
  try {
    return findEnd(lab.snapshot, text);
  } catch (error) {
    // A short name such as "mysql" or "kubernetes.default" is left to the resolver.
    if (/^[a-zA-Z0-9_.-]+$/.test(text)) return { kind: "name", name: text };
    throw error;
  }
}

/** The namespace that a connection starts in. */
export function namespaceOf(lab: Lab, end: End, text: string): NetworkNamespace {
  if (end.kind === "outside") return lab.fabric.outside;
  if (end.kind === "node") {
    const node = lab.nodes.get(end.node.metadata.name);
    if (node) return node.namespace;
  }
  if (end.kind === "pod") {
    const namespace = lab.podOf(end.pod)?.namespace;
    if (namespace) return namespace;
  }
  throw new FairleadError("no-namespace", `nothing can be sent from "${text}"`, {
    remedy: "FROM is a running pod (ns/pod), node/name or outside",
  });
}

async function addressOf(lab: Lab, namespace: NetworkNamespace, from: End, to: End): Promise<string> {
  const none = (what: string): never => {
    throw new FairleadError("no-address", `${nameOfEnd(to)} has no address: ${what}`);
  };
  switch (to.kind) {
    case "pod":
      return to.pod.status?.podIP ?? none("the pod is not wired yet");
    case "service":
      if (to.service.spec.clusterIP && to.service.spec.clusterIP !== "None") return to.service.spec.clusterIP;
      return resolve(lab, namespace, from, `${to.service.metadata.name}.${to.service.metadata.namespace}.svc.${CLUSTER.domain}.`);
    case "node":
      return to.node.status?.addresses?.find((address) => address.type === "InternalIP")?.address ?? none("the Node has no InternalIP");
    case "outside":
      return "198.51.100.10";
    case "address":
      return to.address;
    case "name":
      return resolve(lab, namespace, from, to.name);
  }
}

async function resolve(lab: Lab, namespace: NetworkNamespace, from: End, name: string): Promise<string> {
  const text = from.kind === "pod" ? lab.resolvConf(from.pod) : "nameserver 10.112.0.1\n";
  const server = /^nameserver (\S+)/m.exec(text)?.[1] ?? lab.networks.dnsAddress;
  const searches = /^search (.+)$/m.exec(text)?.[1]?.split(" ") ?? [];
  const address = await resolveName(namespace, server, name, searches);
  if (address === undefined)
    throw new FairleadError("no-address", `the name ${name} has no address`, {
      where: `asked ${server} from ${nameOfEnd(from)}`,
      remedy: "does the Service exist, and may the pod reach the DNS server?",
    });
  return address;
}

function portOf(lab: Lab, to: End, given: number | string | undefined, options: ProbeOptions): number {
  if (typeof given === "number") return given;
  const name = nameOfEnd(to);
  if (typeof given === "string") {
    const named =
      to.kind === "service"
        ? to.service.spec.ports?.find((port) => port.name === given)?.port
        : to.kind === "pod"
          ? to.pod.spec.containers.flatMap((container) => container.ports ?? []).find((port) => port.name === given)?.containerPort
          : undefined;
    if (named !== undefined) return named;
    throw new FairleadError("no-port", `${name} has no port named "${given}"`);
  }
  const wanted = options.protocol === "udp" ? "UDP" : "TCP";
  const declared = declaredPorts(lab.snapshot, name).filter((port) => port.protocol === wanted);
  const first = declared[0]?.port ?? (to.kind === "outside" ? 80 : options.protocol === "http" ? 80 : undefined);
  if (first === undefined)
    throw new FairleadError("no-port", `${name} declares no ${wanted} port`, { remedy: `name one: ${options.to}:PORT` });
  return first;
}

export interface MatrixOptions {
  readonly timeoutMs: number;
  readonly onResult?: (result: ProbeResult, done: number) => void;
  readonly signal?: AbortSignal;
}

const AT_ONCE = 64;

/** Tries every pair, many at once; results in the order of the pairs. */
export async function probeAll(lab: Lab, pairs: readonly Pair[], options: MatrixOptions): Promise<ProbeResult[]> {
  const results: ProbeResult[] = new Array(pairs.length);
  let next = 0;
  let done = 0;
  const worker = async () => {
    for (let index = next++; index < pairs.length && !options.signal?.aborted; index = next++) {
      const pair = pairs[index];
      if (!pair) return;
      const protocol = pair.protocol === "UDP" ? "udp" : "tcp";
      const to = pair.to.includes(":") ? `[${pair.to}]` : pair.to;
      const result = await probe(lab, { from: pair.from, to: `${to}:${pair.port}`, protocol, timeoutMs: options.timeoutMs });
      results[index] = result;
      options.onResult?.(result, ++done);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, pairs.length) }, worker));
  return results;
}
