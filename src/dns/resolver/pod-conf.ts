// The pod's side of DNS: the resolver's configuration by dnsPolicy and dnsConfig, merged and limited as kubelet does.
import type { Pod } from "../../resources/index.ts";
import { formatResolvConf, type ResolvConf } from "./resolv-conf.ts";

/** What a kubelet is configured with, and what its node has. */
export interface PodDnsOptions {
  readonly domain: string;
  /** Addresses of the cluster's DNS Service; none: pods get the node's configuration (as kubelet does, with a warning). */
  readonly clusterDns: readonly string[];
  /** The node's own resolv.conf. */
  readonly node: ResolvConf;
}

/** What kubelet allows: three name servers (glibc's MAXNS), 32 search domains of 2048 characters in all (KEP-2595), 253 each. */
const MAX_NAMESERVERS = 3;
const MAX_SEARCHES = 32;
const MAX_SEARCH_CHARACTERS = 2048;
const MAX_DOMAIN = 253;

export interface PodDns {
  readonly conf: ResolvConf;
  /** What was left out, in kubelet's order of checking; empty where all fits. */
  readonly omitted: readonly string[];
}

/** Text of the pod's /etc/resolv.conf. */
export function resolvConf(pod: Pod, options: PodDnsOptions): string {
  return formatResolvConf(podDns(pod, options).conf);
}

/** The pod's configuration: that of its policy, then its dnsConfig added, then cut to what kubelet allows. */
export function podDns(pod: Pod, options: PodDnsOptions): PodDns {
  const base = confOfPolicy(pod, options);
  const extra = pod.spec.dnsConfig;
  return fit({
    nameservers: unique([...base.nameservers, ...(extra?.nameservers ?? [])]),
    searches: unique([...base.searches, ...(extra?.searches ?? [])]),
    options: merge(base.options, extra?.options ?? []),
  });
}

function confOfPolicy(pod: Pod, { domain, clusterDns, node }: PodDnsOptions): ResolvConf {
  const policy = pod.spec.dnsPolicy ?? "ClusterFirst";
  if (policy === "None") return { nameservers: [], searches: [], options: [] };
  const ofCluster = policy === "ClusterFirstWithHostNet" || (policy === "ClusterFirst" && pod.spec.hostNetwork !== true);
  if (!ofCluster || clusterDns.length === 0) return node;
  const own = domain === "" ? [] : [`${pod.metadata.namespace ?? "default"}.svc.${domain}`, `svc.${domain}`, domain];
  // The node's options are not taken over: its ndots would not fit the cluster's names.
  return { nameservers: clusterDns, searches: unique([...own, ...node.searches]), options: [["ndots", "5"]] };
}

/** A pod's option replaces the one of the same name; the others follow in the pod's order. */
function merge(base: ResolvConf["options"], extra: readonly { readonly name?: string; readonly value?: string }[]): ResolvConf["options"] {
  const merged = new Map(base);
  for (const { name, value } of extra) if (name) merged.set(name, value === "" ? undefined : value);
  return [...merged];
}

function fit(conf: ResolvConf): PodDns {
  const omitted: string[] = [];
  const nameservers = conf.nameservers.slice(0, MAX_NAMESERVERS);
  for (const server of conf.nameservers.slice(MAX_NAMESERVERS)) omitted.push(`nameserver ${server}: more than ${MAX_NAMESERVERS}`);
  const searches: string[] = [];
  let length = -1;
  let cut = false;
  for (const [index, search] of conf.searches.entries()) {
    if (index >= MAX_SEARCHES) omitted.push(`search ${search}: more than ${MAX_SEARCHES}`);
    else if (search.length > MAX_DOMAIN) omitted.push(`search ${search.slice(0, 20)}…: longer than ${MAX_DOMAIN} characters`);
    else if (cut || length + 1 + search.length > MAX_SEARCH_CHARACTERS) {
      // Once one does not fit, those after it go too: the order of the list is its meaning.
      cut = true;
      omitted.push(`search ${search}: more than ${MAX_SEARCH_CHARACTERS} characters in all`);
    } else {
      length += 1 + search.length;
      searches.push(search);
    }
  }
  return { conf: { nameservers, searches, options: conf.options }, omitted };
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}
