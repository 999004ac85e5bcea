// fairlead dns query: a name as a pod's resolver looks it up, question by question.
import { type Command, InvalidArgumentError, Option } from "commander";
import { FairleadError } from "../../base/index.ts";
import { assumeCluster, type End, findEnd, nameOfEnd, snapshotOf, sourceFromObjects } from "../../cluster/index.ts";
import {
  type AnswerDetails,
  type Ask,
  type Exchange,
  explainName,
  formatData,
  openOffline,
  podDns,
  type ResolvConf,
  type ResolverKind,
  type ToldQuery,
  TYPE,
  tellQuery,
  typeCode,
  type WireReply,
} from "../../dns/index.ts";
import { DEFAULT_COREFILE, FABRIC, hostsFile } from "../../lab/index.ts";
import { Answer } from "../exit.ts";
import { callLab, labFlags } from "../lab-client.ts";
import { loadManifests } from "../manifests.ts";
import { showQuery } from "../show-dns.ts";
import { printJson } from "../terminal.ts";
import type { ViewFlags } from "../views.ts";

interface QueryFlags extends ViewFlags {
  readonly from?: string;
  readonly type?: readonly number[];
  readonly resolver: ResolverKind;
  readonly domain: string;
}

const BOTH = [TYPE.A, TYPE.AAAA];

export function command(command: Command): void {
  labFlags(command)
    .argument("<name>", "as a program would give it: mysql, mysql.production, example.com, example.com.")
    .option("--from <pod>", "who asks: ns/pod, node/name or outside (default: the first pod of the cluster's network)")
    .option("--type <types>", "A, AAAA, SRV, …; several with commas (default: A and AAAA together, as getaddrinfo asks)", types)
    .addOption(new Option("--resolver <library>", "the C library of the asker").choices(["glibc", "musl"]).default("glibc"))
    .option("--manifests <path...>", "calculate from manifests: no lab, no root needed")
    .option("--domain <name>", "the cluster's domain, with --manifests", "cluster.local")
    .addHelpText(
      "after",
      `
Walks the search path of the pod's resolv.conf; shows each question that goes on the wire, who answered it and from which
object, and what a trailing dot, another ndots or autopath would save. Exit status: 0 found, 1 not.

Examples:
  fairlead dns query mysql --from production/api
  fairlead dns query example.com --from production/api --resolver musl
  fairlead dns query _http._tcp.api-service.production.svc.cluster.local. --type SRV
  fairlead dns query order-svc --from production/api --manifests examples/shop
`,
    )
    .action(async (name: string, flags: QueryFlags) => {
      const told = flags.manifests?.length ? await calculate(name, flags) : await ask(name, flags);
      if (flags.output === "json") printJson(told);
      else process.stdout.write(`${showQuery(told)}\n`);
      if (told.outcome !== "found") throw new Answer(1);
    });
}

function types(text: string): number[] {
  return text.split(",").map((word) => {
    const code = typeCode(word.trim());
    if (code === undefined) throw new InvalidArgumentError(`"${word}" is no record type.`);
    return code;
  });
}

function ask(name: string, flags: QueryFlags): Promise<ToldQuery> {
  return callLab<ToldQuery>(
    flags,
    "dnsQuery",
    { name, from: flags.from ?? null, types: flags.type ?? BOTH, resolver: flags.resolver },
    "asking",
  );
}

/** The cluster's names by the Corefile of the manifests, else the guide's; names beyond it are taken to be there. */
async function calculate(name: string, flags: QueryFlags): Promise<ToldQuery> {
  const { domain, resolver } = flags;
  const objects = assumeCluster(loadManifests(flags.manifests ?? []));
  const snapshot = snapshotOf(objects);
  const first = [...snapshot.pods.values()].find(({ spec }) => !spec.hostNetwork);
  const from = flags.from ?? (first ? `${first.metadata.namespace}/${first.metadata.name}` : "");
  if (from === "")
    throw new FairleadError("no-such-end", "the manifests have no pod to ask from", { remedy: "name another --from, such as node/node-1" });
  const end = findEnd(snapshot, from);
  const service = snapshot.services.get("kube-system/kube-dns")?.spec.clusterIP ?? "10.96.0.10";
  const corefile = snapshot.configMaps.get("kube-system/coredns")?.data?.Corefile ?? DEFAULT_COREFILE;
  const offline = await openOffline({ corefile, source: sourceFromObjects(objects), environment: process.env });
  const exchange: Exchange<CalculatedReply> = async (ask) => {
    if (ask.server !== service) return beyond(ask.server, ask.search === undefined);
    const { reply, upstream } = await offline.ask({ name: ask.name, type: ask.type, from: addressOf(end), server: ask.server });
    if (upstream !== undefined) return beyond(upstream, ask.search === undefined);
    if (!reply) return undefined;
    const origin = explainName(snapshot, ask.name, domain);
    const answers = reply.answers.map((record) => formatData(record.data));
    const details = { by: "kube-system/coredns", plugin: reply.by, objects: origin?.objects ?? [], says: origin?.says ?? null };
    return { rcode: reply.rcode, records: answers.length, answers, milliseconds: 0, details };
  };
  const details = (_ask: Ask, reply: CalculatedReply) => reply.details;
  try {
    const conf = confOf(end, service, domain);
    const hosts =
      end.kind === "pod"
        ? hostsFile(
            end.pod,
            (end.pod.status?.podIPs ?? []).map(({ ip }) => ip),
            domain,
          )
        : "127.0.0.1 localhost\n";
    return await tellQuery({
      name,
      from: nameOfEnd(end),
      resolver,
      conf,
      types: flags.type ?? BOTH,
      hosts,
      calculated: true,
      exchange,
      details,
    });
  } finally {
    offline.close();
  }
}

/** Nobody beyond the cluster is asked: the name as it is is taken to be there, names of the search path not to be. */
function beyond(server: string, asItIs: boolean): CalculatedReply {
  const says = asItIs ? "not asked: taken to be there" : "not asked: taken not to be there";
  const details = { by: `upstream ${server}`, plugin: `forward ${server}`, objects: [], says };
  return { rcode: asItIs ? 0 : 3, records: asItIs ? 1 : 0, answers: asItIs ? ["…"] : [], milliseconds: 0, details };
}

interface CalculatedReply extends WireReply {
  readonly details: AnswerDetails;
}

function confOf(end: End, clusterDns: string, domain: string): ResolvConf {
  const node: ResolvConf = { nameservers: [FABRIC.upstreamDns], searches: [], options: [] };
  return end.kind === "pod" ? podDns(end.pod, { domain, clusterDns: [clusterDns], node }).conf : node;
}

function addressOf(end: End): string {
  return end.kind === "pod" ? (end.pod.status?.podIP ?? "127.0.0.1") : "127.0.0.1";
}
