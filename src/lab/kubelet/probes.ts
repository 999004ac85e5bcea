// Readiness and other probes, as kubelet runs them: from the node, with real packets.
import type { NetworkNamespace } from "../../kernel/index.ts";
import type { Container, IntOrString, Probe } from "../../resources/index.ts";
import { attempt } from "../attempt.ts";
import { askGrpcHealth } from "./grpc-health.ts";

export interface ProbeTarget {
  readonly namespace: NetworkNamespace;
  readonly address: string;
  readonly container: Container;
  /** Runs a command in the container; resolves to its exit status. */
  readonly exec: (command: readonly string[]) => Promise<number>;
  /** The container is a responder: no program of its own can fail. */
  readonly simulated: boolean;
  /** It is ready about at once, so that waiting first, or long until the next attempt, would be for nothing. */
  readonly eager: boolean;
}

/** Runs a probe until `signal` aborts; calls back when its verdict changes (thresholds applied). */
export function runProbe(
  probe: Probe,
  target: ProbeTarget,
  signal: AbortSignal,
  onChange: (success: boolean, message: string) => void,
): void {
  const period = (probe.periodSeconds ?? 10) * 1000;
  const first = target.eager ? 0 : (probe.initialDelaySeconds ?? 0) * 1000;
  let verdict: boolean | undefined;
  let streak = { success: true, length: 0 };
  let timer: NodeJS.Timeout | undefined;

  const tick = async () => {
    const { success, message } = await probeOnce(probe, target);
    if (signal.aborted) return;
    streak = success === streak.success ? { success, length: streak.length + 1 } : { success, length: 1 };
    const needed = success ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3);
    if (streak.length >= needed && verdict !== success) {
      verdict = success;
      onChange(success, message);
    }
    // Until it first succeeds it is asked more often: it is only waiting for the network.
    timer = setTimeout(tick, verdict !== true && target.eager ? Math.min(period, 100) : period);
  };
  timer = setTimeout(tick, first);
  signal.addEventListener("abort", () => clearTimeout(timer));
}

async function probeOnce(probe: Probe, target: ProbeTarget): Promise<{ success: boolean; message: string }> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
  if (probe.exec) {
    // The command belongs to the image; a responder has no image, so only a real program can fail it.
    if (target.simulated) return { success: true, message: "" };
    const status = await target.exec(probe.exec.command);
    return { success: status === 0, message: `command exited with ${status}` };
  }
  const port = portOf(target.container, probe.httpGet?.port ?? probe.tcpSocket?.port ?? probe.grpc?.port);
  if (port === undefined) return { success: false, message: "the probe names no port that the container has" };
  const address = probe.httpGet?.host ?? probe.tcpSocket?.host ?? target.address;
  if (probe.httpGet && probe.httpGet.scheme?.toUpperCase() !== "HTTPS") {
    const result = await attempt(target.namespace, { address, port, protocol: "http", timeoutMs, path: probe.httpGet.path ?? "/" });
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(result.answer)?.[1] ?? 0);
    return { success: status >= 200 && status < 400, message: status ? `HTTP ${status}` : `${result.verdict} ${address}:${port}` };
  }
  if (probe.grpc) return askGrpcHealth(target.namespace, { address, port, service: probe.grpc.service ?? "", timeoutMs });
  const result = await attempt(target.namespace, { address, port, protocol: "tcp", timeoutMs });
  return { success: result.verdict === "connected", message: `${result.verdict} ${address}:${port}` };
}

/** A port by its number, or by the name that the container gives it. */
export function portOf(container: Container, port: IntOrString | undefined): number | undefined {
  if (typeof port === "number") return port;
  return (
    container.ports?.find((candidate) => candidate.name === port)?.containerPort ?? (port && /^\d+$/.test(port) ? Number(port) : undefined)
  );
}
