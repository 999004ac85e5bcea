// The files that kubelet writes for a pod: /etc/hosts, and the conditions and statuses it reports.
import type { Condition, Container, Pod, PodStatus } from "../../resources/index.ts";

/** /etc/hosts of a pod, as kubelet writes it: localhost, the pod's own name, hostAliases. */
export function hostsFile(pod: Pod, addresses: readonly string[], domain: string): string {
  const hostname = pod.spec.hostname ?? pod.metadata.name;
  const names = pod.spec.subdomain ? `${hostname}.${pod.spec.subdomain}.${pod.metadata.namespace}.svc.${domain} ${hostname}` : hostname;
  const lines = [
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-mcastprefix",
    "fe00::1\tip6-allnodes",
    "fe00::2\tip6-allrouters",
    ...addresses.map((address) => `${address}\t${names}`),
    ...(pod.spec.hostAliases ?? []).map((alias) => `${alias.ip}\t${(alias.hostnames ?? []).join(" ")}`),
  ];
  return `${lines.join("\n")}\n`;
}

/** How one container stands. */
export interface ContainerState {
  readonly container: Container;
  readonly state: "waiting" | "running" | "terminated";
  readonly ready: boolean;
  readonly restarts: number;
  readonly reason?: string;
  readonly message?: string;
  readonly exitCode?: number;
  readonly startedAt?: string;
  readonly finishedAt?: string;
}

export interface PodReport {
  readonly pod: Pod;
  readonly phase: NonNullable<PodStatus["phase"]>;
  readonly addresses: readonly string[];
  readonly hostAddresses: readonly string[];
  readonly containers: readonly ContainerState[];
  readonly initialized: boolean;
  readonly message?: string;
  readonly reason?: string;
  readonly now: string;
}

/** The status that is reported to the API. */
export function podStatus(report: PodReport): PodStatus {
  const { pod, phase, now } = report;
  const finished = phase === "Succeeded" || phase === "Failed";
  const ready = phase === "Running" && report.containers.every((container) => container.ready);
  const unsound = report.containers.filter((container) => !container.ready);
  const why = unsound.map(({ container, message }) => `${container.name}${message ? ` (${message})` : ""}`).join(", ");
  const condition = (type: string, met: boolean, reason?: string, message?: string): Condition => {
    const before = pod.status?.conditions?.find((candidate) => candidate.type === type);
    const status = met ? "True" : "False";
    return {
      type,
      status,
      lastTransitionTime: before?.status === status && before.lastTransitionTime ? before.lastTransitionTime : now,
      ...(reason && !met ? { reason } : {}),
      ...(message && !met ? { message } : {}),
    };
  };
  const message = finished ? undefined : `containers with unready status: ${why}`;
  const unready = finished ? "PodCompleted" : "ContainersNotReady";
  return {
    ...pod.status,
    phase,
    startTime: pod.status?.startTime ?? now,
    ...(report.message === undefined ? {} : { message: report.message }),
    ...(report.reason === undefined ? {} : { reason: report.reason }),
    ...(report.hostAddresses[0] ? { hostIP: report.hostAddresses[0], hostIPs: report.hostAddresses.map((ip) => ({ ip })) } : {}),
    ...(report.addresses[0] ? { podIP: report.addresses[0], podIPs: report.addresses.map((ip) => ({ ip })) } : {}),
    qosClass: "BestEffort",
    conditions: [
      condition("PodReadyToStartContainers", report.addresses.length > 0),
      condition("Initialized", report.initialized, "ContainersNotInitialized"),
      condition("Ready", ready, unready, message),
      condition("ContainersReady", ready, unready, message),
      condition("PodScheduled", true),
    ],
    containerStatuses: report.containers.map((container) => ({
      name: container.container.name,
      ready: container.ready,
      started: container.state === "running",
      restartCount: container.restarts,
      image: container.container.image ?? "",
      imageID: "",
      containerID: `fairlead://${pod.metadata.uid}/${container.container.name}`,
      state: stateOf(container),
      lastState: {},
    })),
  };
}

function stateOf(container: ContainerState): object {
  switch (container.state) {
    case "waiting":
      return { waiting: { reason: container.reason ?? "ContainerCreating", ...(container.message ? { message: container.message } : {}) } };
    case "running":
      return { running: { startedAt: container.startedAt } };
    case "terminated":
      return {
        terminated: {
          exitCode: container.exitCode ?? 0,
          reason: container.reason ?? (container.exitCode ? "Error" : "Completed"),
          startedAt: container.startedAt,
          finishedAt: container.finishedAt,
          ...(container.message ? { message: container.message } : {}),
        },
      };
  }
}
