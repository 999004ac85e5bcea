// How kubectl get shows each kind: columns as data. Priority 1 columns show with -o wide.
import type { KubeObject } from "../../resources/index.ts";
import type { PrinterColumn } from "../resource-table.ts";
import { valuesAt } from "../schema/json-path.ts";

interface Column {
  readonly name: string;
  /** string, integer, date, …; string if not given. */
  readonly type?: string;
  readonly wide?: true;
  readonly value: (object: Loose, now: number) => string | number;
}

/** An object whose fields are looked at without knowing its kind. */
// biome-ignore lint/suspicious/noExplicitAny: printers read many kinds, field by field, and show what is there
type Loose = KubeObject & Record<string, any>;

/** `5d3h`, `42s`: as kubectl shows the time since `timestamp`. */
function age(timestamp: string | undefined, now: number): string {
  if (!timestamp) return "<unknown>";
  const seconds = Math.max(0, Math.floor((now - Date.parse(timestamp)) / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const days = Math.floor(hours / 24);
  const two = (a: number, unit: string, b: number, small: string) => `${a}${unit}${b > 0 ? `${b}${small}` : ""}`;
  if (seconds < 120) return `${seconds}s`;
  if (minutes < 10) return two(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  if (hours < 8) return two(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  if (days < 8) return two(days, "d", hours % 24, "h");
  if (days < 730) return `${days}d`;
  return two(Math.floor(days / 365), "y", days % 365, "d");
}

const none = "<none>";
const nameColumn: Column = { name: "Name", value: (o) => o.metadata.name };
const ageColumn: Column = { name: "Age", value: (o, now) => age(o.metadata.creationTimestamp, now) };

function pairs(map: Readonly<Record<string, string>> | undefined): string {
  const list = Object.entries(map ?? {}).map(([key, value]) => `${key}=${value}`);
  return list.length === 0 ? none : list.join(",");
}

function selector(
  of: { matchLabels?: Record<string, string>; matchExpressions?: { key: string; operator: string; values?: string[] }[] } | undefined,
): string {
  const terms = (of?.matchExpressions ?? []).map(({ key, operator, values = [] }) => {
    if (operator === "Exists") return key;
    return operator === "DoesNotExist" ? `!${key}` : `${key} ${operator.toLowerCase()} (${values.join(",")})`;
  });
  const labels = Object.entries(of?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  return [...labels, ...terms].join(",") || none;
}

function podReason(pod: Loose): string {
  const statuses: Loose[] = pod.status?.containerStatuses ?? [];
  let reason: string = pod.status?.reason ?? pod.status?.phase ?? "Unknown";
  for (const { state } of statuses) {
    if (state?.waiting?.reason) reason = state.waiting.reason;
    else if (state?.terminated) reason = state.terminated.reason ?? `ExitCode:${state.terminated.exitCode}`;
  }
  return pod.metadata.deletionTimestamp ? "Terminating" : reason;
}

function servicePorts(service: Loose): string {
  const ports: Loose[] = service.spec?.ports ?? [];
  return ports.map(({ port, nodePort, protocol = "TCP" }) => `${port}${nodePort ? `:${nodePort}` : ""}/${protocol}`).join(",") || none;
}

function externalIp(service: Loose): string {
  const { type, externalIPs = [], externalName } = service.spec ?? {};
  if (type === "ExternalName") return externalName ?? none;
  const ingress: Loose[] = service.status?.loadBalancer?.ingress ?? [];
  const all = [...(type === "LoadBalancer" ? ingress.map(({ ip, hostname }) => ip ?? hostname) : []), ...externalIPs];
  return all.join(",") || (type === "LoadBalancer" ? "<pending>" : none);
}

function nodeAddress(node: Loose, type: string): string {
  return node.status?.addresses?.find((entry: Loose) => entry.type === type)?.address ?? none;
}

function nodeStatus(node: Loose): string {
  const ready = node.status?.conditions?.find((entry: Loose) => entry.type === "Ready")?.status;
  const said = ready === "True" ? "Ready" : ready === undefined ? "Unknown" : "NotReady";
  return node.spec?.unschedulable ? `${said},SchedulingDisabled` : said;
}

function nodeRoles(node: Loose): string {
  const prefix = "node-role.kubernetes.io/";
  const roles = Object.keys(node.metadata.labels ?? {}).filter((key) => key.startsWith(prefix));
  return roles.map((key) => key.slice(prefix.length)).join(",") || none;
}

function firstFew(list: readonly string[]): string {
  return list.length === 0 ? "<unset>" : list.length > 3 ? `${list.slice(0, 3).join(",")} + ${list.length - 3} more...` : list.join(",");
}

const templateColumns: readonly Column[] = [
  { name: "Containers", wide: true, value: (o) => (o.spec?.template?.spec?.containers ?? []).map((c: Loose) => c.name).join(",") },
  { name: "Images", wide: true, value: (o) => (o.spec?.template?.spec?.containers ?? []).map((c: Loose) => c.image).join(",") },
  { name: "Selector", wide: true, value: (o) => selector(o.spec?.selector) },
];

const status = (name: string, field: string): Column => ({ name, value: (o) => o.status?.[field] ?? 0 });
const ready: Column = { name: "Ready", value: (o) => `${o.status?.readyReplicas ?? 0}/${o.spec?.replicas ?? 1}` };

/** By `kind.group` (core: the kind alone). */
const columns: Readonly<Record<string, readonly Column[]>> = {
  Pod: [
    nameColumn,
    {
      name: "Ready",
      value: (o) => `${(o.status?.containerStatuses ?? []).filter((c: Loose) => c.ready).length}/${o.spec?.containers?.length ?? 0}`,
    },
    { name: "Status", value: podReason },
    {
      name: "Restarts",
      value: (o) => (o.status?.containerStatuses ?? []).reduce((sum: number, c: Loose) => sum + (c.restartCount ?? 0), 0),
    },
    ageColumn,
    { name: "IP", wide: true, value: (o) => o.status?.podIP ?? none },
    { name: "Node", wide: true, value: (o) => o.spec?.nodeName ?? none },
    { name: "Nominated Node", wide: true, value: (o) => o.status?.nominatedNodeName ?? none },
    { name: "Readiness Gates", wide: true, value: () => none },
  ],
  Service: [
    nameColumn,
    { name: "Type", value: (o) => o.spec?.type ?? "ClusterIP" },
    { name: "Cluster-IP", value: (o) => o.spec?.clusterIP ?? none },
    { name: "External-IP", value: externalIp },
    { name: "Port(s)", value: servicePorts },
    ageColumn,
    { name: "Selector", wide: true, value: (o) => pairs(o.spec?.selector) },
  ],
  "Deployment.apps": [
    nameColumn,
    ready,
    status("Up-to-date", "updatedReplicas"),
    status("Available", "availableReplicas"),
    ageColumn,
    ...templateColumns,
  ],
  "StatefulSet.apps": [nameColumn, ready, ageColumn, ...templateColumns.slice(0, 2)],
  "ReplicaSet.apps": [
    nameColumn,
    { name: "Desired", value: (o) => o.spec?.replicas ?? 1 },
    status("Current", "replicas"),
    status("Ready", "readyReplicas"),
    ageColumn,
    ...templateColumns,
  ],
  "DaemonSet.apps": [
    nameColumn,
    status("Desired", "desiredNumberScheduled"),
    status("Current", "currentNumberScheduled"),
    status("Ready", "numberReady"),
    status("Up-to-date", "updatedNumberScheduled"),
    status("Available", "numberAvailable"),
    { name: "Node Selector", value: (o) => pairs(o.spec?.template?.spec?.nodeSelector) },
    ageColumn,
    ...templateColumns,
  ],
  Node: [
    nameColumn,
    { name: "Status", value: nodeStatus },
    { name: "Roles", value: nodeRoles },
    ageColumn,
    { name: "Version", value: (o) => o.status?.nodeInfo?.kubeletVersion ?? "" },
    { name: "Internal-IP", wide: true, value: (o) => nodeAddress(o, "InternalIP") },
    { name: "External-IP", wide: true, value: (o) => nodeAddress(o, "ExternalIP") },
    { name: "OS-Image", wide: true, value: (o) => o.status?.nodeInfo?.osImage ?? "<unknown>" },
    { name: "Kernel-Version", wide: true, value: (o) => o.status?.nodeInfo?.kernelVersion ?? "<unknown>" },
    { name: "Container-Runtime", wide: true, value: (o) => o.status?.nodeInfo?.containerRuntimeVersion ?? "<unknown>" },
  ],
  Namespace: [nameColumn, { name: "Status", value: (o) => o.status?.phase ?? "" }, ageColumn],
  ConfigMap: [
    nameColumn,
    { name: "Data", value: (o) => Object.keys(o.data ?? {}).length + Object.keys(o.binaryData ?? {}).length },
    ageColumn,
  ],
  Secret: [
    nameColumn,
    { name: "Type", value: (o) => o.type ?? "Opaque" },
    { name: "Data", value: (o) => Object.keys(o.data ?? {}).length },
    ageColumn,
  ],
  "EndpointSlice.discovery.k8s.io": [
    nameColumn,
    { name: "AddressType", value: (o) => o.addressType ?? "" },
    { name: "Ports", value: (o) => firstFew((o.ports ?? []).map((p: Loose) => String(p.port ?? "*"))) },
    { name: "Endpoints", value: (o) => firstFew((o.endpoints ?? []).flatMap((e: Loose) => e.addresses ?? [])) },
    ageColumn,
  ],
  "NetworkPolicy.networking.k8s.io": [nameColumn, { name: "Pod-Selector", value: (o) => selector(o.spec?.podSelector) }, ageColumn],
  "Ingress.networking.k8s.io": [
    nameColumn,
    { name: "Class", value: (o) => o.spec?.ingressClassName ?? none },
    { name: "Hosts", value: (o) => (o.spec?.rules ?? []).map((r: Loose) => r.host ?? "*").join(",") || "*" },
    { name: "Address", value: (o) => (o.status?.loadBalancer?.ingress ?? []).map((i: Loose) => i.ip ?? i.hostname).join(",") },
    { name: "Ports", value: (o) => (o.spec?.tls?.length ? "80, 443" : "80") },
    ageColumn,
  ],
  "Job.batch": [
    nameColumn,
    { name: "Status", value: (o) => (o.status?.conditions ?? []).find((c: Loose) => c.status === "True")?.type ?? "Running" },
    { name: "Completions", value: (o) => `${o.status?.succeeded ?? 0}/${o.spec?.completions ?? 1}` },
    ageColumn,
  ],
  "CronJob.batch": [
    nameColumn,
    { name: "Schedule", value: (o) => o.spec?.schedule ?? "" },
    { name: "Timezone", value: (o) => o.spec?.timeZone ?? none },
    { name: "Suspend", value: (o) => (o.spec?.suspend ? "True" : "False") },
    { name: "Active", value: (o) => o.status?.active?.length ?? 0 },
    { name: "Last Schedule", value: (o, now) => (o.status?.lastScheduleTime ? age(o.status.lastScheduleTime, now) : none) },
    ageColumn,
  ],
  "PodDisruptionBudget.policy": [
    nameColumn,
    { name: "Min Available", value: (o) => o.spec?.minAvailable ?? "N/A" },
    { name: "Max Unavailable", value: (o) => o.spec?.maxUnavailable ?? "N/A" },
    { name: "Allowed Disruptions", value: (o) => o.status?.disruptionsAllowed ?? 0 },
    ageColumn,
  ],
  ResourceQuota: [
    nameColumn,
    {
      name: "Request",
      value: (o) =>
        Object.entries(o.status?.hard ?? o.spec?.hard ?? {})
          .map(([name, hard]) => `${name}: ${o.status?.used?.[name] ?? 0}/${hard}`)
          .join(", "),
    },
    ageColumn,
  ],
  "Role.rbac.authorization.k8s.io": [nameColumn, { name: "Created At", value: (o) => o.metadata.creationTimestamp ?? "" }],
  "ClusterRole.rbac.authorization.k8s.io": [nameColumn, { name: "Created At", value: (o) => o.metadata.creationTimestamp ?? "" }],
  "RoleBinding.rbac.authorization.k8s.io": [nameColumn, { name: "Role", value: (o) => `${o.roleRef?.kind}/${o.roleRef?.name}` }, ageColumn],
  "ClusterRoleBinding.rbac.authorization.k8s.io": [
    nameColumn,
    { name: "Role", value: (o) => `${o.roleRef?.kind}/${o.roleRef?.name}` },
    ageColumn,
  ],
  "CustomResourceDefinition.apiextensions.k8s.io": [nameColumn, { name: "Created At", value: (o) => o.metadata.creationTimestamp ?? "" }],
  Event: [
    { name: "Last Seen", value: (o, now) => age(o.lastTimestamp ?? o.eventTime ?? o.metadata.creationTimestamp, now) },
    { name: "Type", value: (o) => o.type ?? "" },
    { name: "Reason", value: (o) => o.reason ?? "" },
    { name: "Object", value: (o) => `${String(o.involvedObject?.kind ?? "").toLowerCase()}/${o.involvedObject?.name ?? ""}` },
    { name: "Message", value: (o) => o.message ?? "" },
  ],
};

/** The columns that a definition asks for, behind the name; the age stands last unless one of them is it. */
function customColumns(asked: readonly PrinterColumn[]): readonly Column[] {
  const own = asked.map(
    ({ name, type, jsonPath, priority = 0 }): Column => ({
      name,
      type,
      ...(priority > 0 ? { wide: true } : {}),
      value(object, now) {
        const [found] = valuesAt(object, jsonPath);
        if (found === undefined || found === null) return type === "date" ? "<unknown>" : "";
        if (type === "date") return age(String(found), now);
        return typeof found === "object" ? JSON.stringify(found) : typeof found === "number" ? found : String(found);
      },
    }),
  );
  return [nameColumn, ...own];
}

/** The columns of a kind; NAME and AGE where nothing else is known. */
function columnsFor(kind: string, group: string, asked: readonly PrinterColumn[] | undefined): readonly Column[] {
  if (asked && asked.length > 0) return customColumns(asked);
  return columns[group ? `${kind}.${group}` : kind] ?? [nameColumn, ageColumn];
}

/** A meta.k8s.io/v1 Table; `include` as in ?includeObject= of the request. */
export function tableOf(
  shape: {
    readonly kind: string;
    readonly group: string;
    readonly columns?: readonly PrinterColumn[] | undefined;
    readonly include: string | undefined;
    readonly now: number;
    readonly header: boolean;
  },
  objects: readonly KubeObject[],
  metadata: object,
): object {
  const shown = columnsFor(shape.kind, shape.group, shape.columns);
  const rows = objects.map((object) => ({
    cells: shown.map((column) => column.value(object as Loose, shape.now)),
    ...(shape.include === "None"
      ? {}
      : {
          object:
            shape.include === "Object"
              ? object
              : { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata },
        }),
  }));
  const columnDefinitions = shown.map(({ name, wide, type = "string" }) => ({
    name,
    type,
    format: name === "Name" ? "name" : "",
    description: name,
    priority: wide ? 1 : 0,
  }));
  return { kind: "Table", apiVersion: "meta.k8s.io/v1", metadata, columnDefinitions: shape.header ? columnDefinitions : null, rows };
}
