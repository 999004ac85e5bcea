// What the daemon answers to the command line.
import type { AgentStatus } from "../agent/index.ts";
import { FairleadError, messageOf } from "../base/index.ts";
import {
  type Expected,
  findEnd,
  nameOfEnd,
  objectsOf,
  type PairOptions,
  parseExpectations,
  planMatrix,
  unexpected,
} from "../cluster/index.ts";
import type { ConntrackFlow, IpvsService, NetworkNamespace } from "../kernel/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { serviceTable } from "../services/index.ts";
import { type DnsQueryParams, queryInLab } from "./dns/query.ts";
import type { Lab } from "./lab.ts";
import type { LabNode } from "./node.ts";
import { askNode, followNode } from "./node-pages.ts";
import { namespaceOf, type ProbeOptions, type ProbeResult, probe, probeAll } from "./probing.ts";
import { readiness, waitReady, whyNotReady } from "./ready.ts";
import type { Call, Methods } from "./rpc.ts";

export interface LabStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly missing: readonly string[];
  readonly api: string;
  readonly pid: number;
  readonly nodes: readonly {
    readonly name: string;
    readonly addresses: readonly string[];
    readonly podCIDRs: readonly string[];
    readonly pods: number;
    readonly inSync: boolean;
    readonly reason: string | null;
    readonly mended: number;
    readonly policyLog: AgentStatus["policyLog"];
    readonly agentPid: number | null;
    /** What of the configuration is not followed on the node, and why. */
    readonly remarks: readonly string[];
  }[];
  readonly pods: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly ready: boolean;
    readonly status: string;
    readonly address: string | null;
    readonly node: string | null;
  }[];
  readonly services: readonly {
    readonly namespace: string;
    readonly name: string;
    readonly type: string;
    readonly clusterIP: string | null;
    readonly ports: readonly string[];
    readonly endpoints: number;
  }[];
}

/** How a node balances Services, and the connections that it tracks. */
export interface Served {
  readonly mode: AgentStatus["services"];
  readonly flows: readonly ConntrackFlow[];
  readonly virtual: readonly IpvsService[];
}

export interface MatrixAnswer {
  readonly pairs: readonly ProbeResult[];
  /** Present where a truth table was given: what did not come out as expected. */
  readonly failures?: readonly { readonly pair: ProbeResult; readonly expected: Expected }[];
}

export interface ExecPlace {
  readonly pid: number;
  readonly netns: string;
  readonly rootless: boolean;
  readonly name: string;
  /** For pods: the first process of the container, whose files and processes a command sees. */
  readonly inside?: number;
}

/** The daemon's methods over a lab. */
export function labMethods(lab: Lab, shutDown: () => Promise<readonly string[]>): Methods {
  return {
    status: () => statusOf(lab),
    apply: async (params: { objects: KubeObject[] }) => ({ notices: await lab.apply(params.objects) }),
    wait: (params: { timeoutMs: number }, call: Call) =>
      waitReady(lab, { timeoutMs: params.timeoutMs, progress: call.progress, signal: call.signal }),
    probe: (params: ProbeOptions) => probe(lab, params),
    matrix: (params: MatrixParams, call: Call) => matrix(lab, params, call),
    snapshot: () => objectsOf(lab.snapshot),
    dnsAnswers: () => Object.fromEntries([...lab.nodes.values()].map((node) => [node.name, node.agent.status.dnsAnswers])),
    observe: (params: { nodes?: readonly string[] }) => observe(lab, params.nodes),
    served: (params: { node: string }): Served => {
      const node = lab.nodes.get(params.node);
      const mode = node?.agent.status.services ?? "nftables";
      const virtual = mode === "ipvs" ? (node?.namespace.ipvs.list() ?? []) : [];
      return { mode, flows: node?.namespace.conntrack.list() ?? [], virtual };
    },
    dnsQuery: (params: DnsQueryParams) => queryInLab(lab, params),
    dnsReports: () => lab.dns.reports(),
    page: (params: { node: string; path: string }) => askNode(nodeOf(lab, params.node).namespace, params.path),
    follow: (params: { node: string; path: string }, call: Call) =>
      followNode(nodeOf(lab, params.node).namespace, params.path, (text) => call.item(text), call.signal),
    place: (params: { what: string }) => place(lab, params.what),
    kubeconfig: () => lab.plane.kubeconfig(),
    down: async () => ({ notices: await shutDown() }),
  };
}

function statusOf(lab: Lab): LabStatus {
  const look = readiness(lab);
  const table = serviceTable(lab.snapshot);
  return {
    name: lab.options.name,
    ready: look.ready,
    missing: look.missing,
    api: lab.plane.url,
    pid: process.pid,
    nodes: [...lab.nodes.values()].map((node) => {
      const status = node.agent.status;
      return {
        name: node.name,
        addresses: node.place.addresses,
        podCIDRs: lab.snapshot.nodes.get(node.name)?.spec?.podCIDRs ?? [],
        pods: [...lab.snapshot.pods.onNode(node.name)].length,
        inSync: status.ready,
        reason: status.reason ?? null,
        mended: status.kernel.drifts + status.podDrifts,
        policyLog: status.policyLog,
        agentPid: "pid" in node.agent ? (node.agent.pid ?? null) : null,
        remarks: node.agent.status.remarks,
      };
    }),
    pods: [...lab.snapshot.pods.values()].map((pod) => {
      const why = whyNotReady(pod);
      return {
        namespace: pod.metadata.namespace ?? "",
        name: pod.metadata.name,
        ready: why === undefined,
        status: pod.metadata.deletionTimestamp ? "Terminating" : (why ?? "Running"),
        address: pod.status?.podIP ?? null,
        node: pod.spec.nodeName ?? null,
      };
    }),
    services: [...lab.snapshot.services.values()].map((service) => {
      const entries = table.entriesOf(service.metadata.namespace ?? "", service.metadata.name);
      return {
        namespace: service.metadata.namespace ?? "",
        name: service.metadata.name,
        type: service.spec.type ?? "ClusterIP",
        clusterIP: service.spec.clusterIP ?? null,
        ports: (service.spec.ports ?? []).map(
          (port) => `${port.port}${port.nodePort ? `:${port.nodePort}` : ""}/${port.protocol ?? "TCP"}`,
        ),
        endpoints: new Set(
          entries.flatMap((entry) => entry.endpoints.filter((endpoint) => endpoint.ready).map((endpoint) => endpoint.address)),
        ).size,
      };
    }),
  };
}

export interface MatrixParams extends PairOptions {
  /** A truth table as it was read from its file. */
  readonly expect?: unknown;
  readonly expectFile?: string;
  readonly timeoutMs: number;
}

async function matrix(lab: Lab, params: MatrixParams, call: Call): Promise<MatrixAnswer> {
  const expectations = params.expect === undefined ? undefined : parseExpectations(params.expect, params.expectFile ?? "expectations");
  const { pairs, expected } = planMatrix(lab.snapshot, params, expectations);
  const results = await probeAll(lab, pairs, {
    timeoutMs: params.timeoutMs,
    signal: call.signal,
    onResult: (_result, done) => call.progress(`trying pairs: ${done} of ${pairs.length}`),
  });
  return expectations ? { pairs: results, failures: unexpected(results, expected) } : { pairs: results };
}

/** @throws FairleadError `no-such-node` */
function nodeOf(lab: Lab, name: string): LabNode {
  const node = lab.nodes.get(name);
  if (node) return node;
  throw new FairleadError("no-such-node", `there is no node "${name}"`, { remedy: `there are ${[...lab.nodes.keys()].join(", ")}` });
}

/** The observed state of some nodes and their pods, or of all. */
function observe(lab: Lab, only: readonly string[] | undefined): object {
  const sysctls = [
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
  ];
  const proxied = (namespace: NetworkNamespace) =>
    namespace.listLinks().flatMap(({ name }) => (name.startsWith("cali") ? [`net.ipv4.conf.${name.replaceAll(".", "/")}.proxy_arp`] : []));
  const nodes = [...lab.nodes.values()].filter((node) => only === undefined || only.includes(node.name));
  return Object.fromEntries(
    nodes.map((node) => {
      const pods: Record<string, unknown> = {};
      for (const worker of node.kubelet.workers) {
        const { namespace, name } = worker.pod.metadata;
        try {
          if (worker.namespace && !worker.pod.spec.hostNetwork) pods[`${namespace}/${name}`] = worker.namespace.observe();
        } catch (error) {
          pods[`${namespace}/${name}`] = { error: messageOf(error) };
        }
      }
      const kernel = node.namespace.observe({ sysctls: [...sysctls, ...proxied(node.namespace)], tables: "all" });
      return [node.name, { kernel, pods, dnsAnswers: node.agent.status.dnsAnswers }];
    }),
  );
}

async function place(lab: Lab, what: string): Promise<ExecPlace> {
  // The router between the subnets is none of the cluster's, and nevertheless a place to look from.
  if (what === "router")
    return { pid: process.pid, netns: lab.fabric.router.path, rootless: process.env.FAIRLEAD_ROOTLESS === "1", name: what };
  const end = findEnd(lab.snapshot, what);
  const namespace = namespaceOf(lab, end, what);
  const common = { pid: process.pid, netns: namespace.path, rootless: process.env.FAIRLEAD_ROOTLESS === "1", name: nameOfEnd(end) };
  if (end.kind !== "pod") return common;
  const inside = await lab.podOf(end.pod)?.container()?.firstProcess();
  if (inside === undefined)
    throw new FairleadError("not-running", `${common.name} has no running container`, { remedy: "see why: kubectl describe pod" });
  return { ...common, inside };
}
