// `dns query` in a lab: the questions of a pod's resolver, really sent from the pod, and who really answered them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../base/index.ts";
import { type End, findEnd, nameOfEnd } from "../../cluster/index.ts";
import {
  type AnswerDetails,
  type Ask,
  type Exchange,
  explainName,
  formatData,
  type OfflineDns,
  openOffline,
  parseResolvConf,
  type ResolverKind,
  type ToldQuery,
  tellQuery,
  type WireReply,
} from "../../dns/index.ts";
import type { ConntrackFlow } from "../../kernel/index.ts";
import type { ConfigMap, Pod } from "../../resources/index.ts";
import { FABRIC } from "../fabric.ts";
import type { Lab } from "../lab.ts";
import { namespaceOf } from "../probing.ts";
import { REFS } from "../refs.ts";
import { CLUSTER } from "../system.ts";
import { askWire } from "./ask.ts";
import { nodeCacheOptions } from "./node-cache.ts";

export interface DnsQueryParams {
  readonly name: string;
  /** ns/pod, node/name or outside; the first pod that uses the cluster's DNS if not given. */
  readonly from: string | null;
  readonly types: readonly number[];
  readonly resolver: ResolverKind;
}

/** @throws FairleadError `no-such-end`, `no-namespace` */
export async function queryInLab(lab: Lab, params: DnsQueryParams): Promise<ToldQuery> {
  const from = params.from ?? firstPod(lab);
  const end = findEnd(lab.snapshot, from);
  const namespace = namespaceOf(lab, end, from);
  const files = filesOf(lab, end);
  const conf = parseResolvConf(files.resolvConf, params.resolver);
  const offline = await openCorefile(lab);
  const exchange: Exchange<LabReply> = async (ask, waitMs) => {
    const answer = await askWire(namespace, { ...ask, waitMs });
    if (!answer) return undefined;
    const { message, milliseconds, port } = answer;
    const answers = message.answers.map((record) => formatData(record.data));
    return { rcode: message.rcode, records: answers.length, truncated: message.truncated, answers, milliseconds, port };
  };
  let flows: readonly ConntrackFlow[] | undefined;
  const details = async (ask: Ask, { port }: LabReply): Promise<AnswerDetails> => {
    flows ??= dnsFlows(lab, end);
    const origin = explainName(lab.snapshot, ask.name, CLUSTER.domain);
    return {
      by: whoAnswered(lab, end, flows, { server: ask.server, port, protocol: ask.transport === "udp" ? 17 : 6 }),
      plugin: await pluginOf(offline, { name: ask.name, type: ask.type, from: addressOf(end), server: ask.server }),
      objects: origin?.objects ?? [],
      says: origin?.says ?? null,
    };
  };
  try {
    const { name, types, resolver } = params;
    return await tellQuery({ name, from: nameOfEnd(end), resolver, conf, types, hosts: files.hosts, calculated: false, exchange, details });
  } finally {
    offline?.close();
  }
}

/** A pod with a network of its own that asks the cluster's DNS, not a server itself. */
function firstPod(lab: Lab): string {
  const pods = [...lab.snapshot.pods.values()];
  const first = pods.find(
    ({ spec, metadata }) => !spec.hostNetwork && spec.dnsPolicy !== "Default" && metadata.namespace !== "kube-system",
  );
  return first ? `${first.metadata.namespace}/${first.metadata.name}` : "outside";
}

/** A pod's own files; nodes and the outside ask the upstream server. */
function filesOf(lab: Lab, end: End): { readonly resolvConf: string; readonly hosts: string } {
  const directory = end.kind === "pod" ? lab.podOf(end.pod)?.directory : undefined;
  if (directory === undefined) return { resolvConf: `nameserver ${FABRIC.upstreamDns}\n`, hosts: "127.0.0.1 localhost\n" };
  return { resolvConf: readFileSync(join(directory, "resolv.conf"), "utf8"), hosts: readFileSync(join(directory, "hosts"), "utf8") };
}

async function openCorefile(lab: Lab): Promise<OfflineDns | undefined> {
  const corefile = lab.objects.get<ConfigMap>(REFS.configMaps, "kube-system", "coredns")?.data?.Corefile;
  try {
    return corefile === undefined ? undefined : await openOffline({ corefile, source: lab.source });
  } catch {
    // A Corefile that is not right is not in force either: what is said of plugins would be wrong.
    return undefined;
  }
}

async function pluginOf(offline: OfflineDns | undefined, question: Parameters<OfflineDns["ask"]>[0]): Promise<string | null> {
  if (!offline || question.server === FABRIC.upstreamDns) return null;
  try {
    const { reply, upstream } = await offline.ask(question);
    return upstream === undefined ? (reply?.by ?? null) : `forward ${upstream}`;
  } catch (error) {
    return messageOf(error);
  }
}

function addressOf(end: End): string {
  return end.kind === "pod" ? (end.pod.status?.podIP ?? "127.0.0.1") : "127.0.0.1";
}

/** The node-local cache on the asker's node, where it has this address: what goes to it is not tracked. */
function cacheOn(lab: Lab, end: End, server: string): Pod | undefined {
  const pods = [...lab.snapshot.pods.onNode(nodeOf(end) ?? "")];
  return pods.find((pod) => pod.spec.containers.some((container) => nodeCacheOptions(container)?.addresses.includes(server)));
}

function nodeOf(end: End): string | undefined {
  return end.kind === "pod" ? end.pod.spec.nodeName : end.kind === "node" ? end.node.metadata.name : undefined;
}

/** The asker's questions as conntrack of its node knows them. */
function dnsFlows(lab: Lab, end: End): readonly ConntrackFlow[] {
  const flows = lab.nodes.get(nodeOf(end) ?? "")?.namespace.conntrack.list({ destinationPort: 53 }) ?? [];
  if (end.kind !== "pod" || end.pod.spec.hostNetwork) return flows;
  const own = new Set((end.pod.status?.podIPs ?? []).map(({ ip }) => ip));
  return flows.filter(({ source }) => own.has(source));
}

/** Who sent the answer: what conntrack translated the server's address to. */
function whoAnswered(
  lab: Lab,
  end: End,
  flows: readonly ConntrackFlow[],
  asked: { readonly server: string; readonly port: number; readonly protocol: number },
): string {
  const flow = flows.find(
    ({ protocol, destination, sourcePort }) => protocol === asked.protocol && destination === asked.server && sourcePort === asked.port,
  );
  const cache = flow ? undefined : cacheOn(lab, end, asked.server);
  if (cache) return `${cache.metadata.namespace}/${cache.metadata.name}`;
  const address = flow?.replySource ?? asked.server;
  const pod = lab.snapshot.pods.byAddress(address);
  if (pod) return `${pod.metadata.namespace}/${pod.metadata.name}`;
  return address === FABRIC.upstreamDns ? `upstream ${address}` : address;
}

interface LabReply extends WireReply {
  /** The port that was asked from. */
  readonly port: number;
}
