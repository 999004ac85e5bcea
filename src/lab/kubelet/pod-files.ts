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
  /** Its startup probe, if it has one, was met. */
  readonly started: boolean;
  readonly restarts: number;
  /** How the run before ended. */
  readonly last?: {
    readonly exitCode: number;
    readonly startedAt?: string;
    readonly finishedAt?: string;
    readonly reason?: string;
    readonly message?: string;
  };
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
  readonly initContainers: readonly ContainerState[];
  readonly ephemeralContainers: readonly ContainerState[];
  readonly initialized: boolean;
  readonly message?: string;
  readonly reason?: string;
  readonly now: string;
}

/** The status that is reported to the API. */
export function podStatus(report: PodReport): PodStatus {
  const { pod, phase, now } = report;
  const finished = phase === "Succeeded" || phase === "Failed";
  const sidecars = report.initContainers.filter(({ container }) => container.restartPolicy === "Always");
  const serving = [...report.containers, ...sidecars];
  const containersReady = phase === "Running" && serving.every((container) => container.ready);
  const unsound = serving.filter((container) => !container.ready);
  const gates = (pod.spec.readinessGates ?? []) as readonly { readonly conditionType: string }[];
  const closed = gates.filter(
    ({ conditionType }) => !pod.status?.conditions?.some(({ type, status }) => type === conditionType && status === "True"),
  );
  const ready = containersReady && closed.length === 0;
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
    qosClass: qosOf(pod),
    conditions: [
      condition("PodReadyToStartContainers", report.addresses.length > 0),
      condition("Initialized", report.initialized, "ContainersNotInitialized"),
      containersReady && !ready
        ? condition(
            "Ready",
            false,
            "ReadinessGatesNotReady",
            `corresponding condition of pod readiness gate "${closed[0]?.conditionType}" does not exist or is not True`,
          )
        : condition("Ready", ready, unready, message),
      condition("ContainersReady", containersReady, unready, message),
      condition("PodScheduled", true),
      ...(pod.status?.conditions ?? []).filter(({ type }) => !OWN_CONDITIONS.has(type)),
    ],
    ...(report.initContainers.length > 0 ? { initContainerStatuses: report.initContainers.map((each) => statusOf(each, pod)) } : {}),
    ...(report.ephemeralContainers.length > 0
      ? { ephemeralContainerStatuses: report.ephemeralContainers.map((each) => statusOf(each, pod)) }
      : {}),
    containerStatuses: report.containers.map((each) => statusOf(each, pod)),
  };
}

/** Conditions that this status tells; others, such as those of readiness gates, are somebody else's. */
const OWN_CONDITIONS = new Set(["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]);

function statusOf(state: ContainerState, pod: Pod): NonNullable<PodStatus["containerStatuses"]>[number] {
  const { container, ready, started, restarts, last } = state;
  return {
    name: container.name,
    ready,
    started,
    restartCount: restarts,
    image: container.image ?? "",
    imageID: "",
    containerID: `fairlead://${pod.metadata.uid}/${container.name}`,
    state: stateOf(state),
    lastState: last ? { terminated: { ...last, reason: last.reason ?? (last.exitCode ? "Error" : "Completed") } } : {},
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

/** Guaranteed, Burstable or BestEffort, as requests and limits of the containers make it. */
function qosOf(pod: Pod): string {
  const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  const lists = all.map(({ resources }) => {
    const { requests = {}, limits = {} } = (resources ?? {}) as Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>;
    return { requests, limits };
  });
  if (lists.every(({ requests, limits }) => Object.keys(requests).length + Object.keys(limits).length === 0)) return "BestEffort";
  const whole = lists.every(({ requests, limits }) =>
    ["cpu", "memory"].every((name) => limits[name] !== undefined && (requests[name] === undefined || requests[name] === limits[name])),
  );
  return whole ? "Guaranteed" : "Burstable";
}
