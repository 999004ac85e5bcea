// The pod's side of DNS: resolv.conf by dnsPolicy and dnsConfig, as kubelet writes it.
import type { Pod } from "../resources/index.ts";

export interface ResolverOptions {
  readonly domain: string;
  /** Addresses of the cluster's DNS Service. */
  readonly clusterDns: readonly string[];
  /** The node's own resolv.conf, for dnsPolicy Default. */
  readonly node: { readonly nameservers: readonly string[]; readonly searches: readonly string[] };
}

/** What kubelet allows (KEP-2595): three name servers, 32 search domains of 2048 characters in all. */
const MAX_NAMESERVERS = 3;
const MAX_SEARCHES = 32;
const MAX_SEARCH_CHARACTERS = 2048;

/** Text of the pod's /etc/resolv.conf. */
export function resolvConf(pod: Pod, options: ResolverOptions): string {
  const base = baseConfig(pod, options);
  const extra = pod.spec.dnsConfig;
  const nameservers = unique([...base.nameservers, ...(extra?.nameservers ?? [])]).slice(0, MAX_NAMESERVERS);
  const searches: string[] = [];
  for (const search of unique([...base.searches, ...(extra?.searches ?? [])]).slice(0, MAX_SEARCHES)) {
    if ([...searches, search].join(" ").length > MAX_SEARCH_CHARACTERS) break;
    searches.push(search);
  }
  const resolverOptions = new Map(base.options);
  for (const { name, value } of extra?.options ?? []) if (name) resolverOptions.set(name, value);
  const lines = [
    ...(searches.length > 0 ? [`search ${searches.join(" ")}`] : []),
    ...nameservers.map((nameserver) => `nameserver ${nameserver}`),
    ...(resolverOptions.size > 0
      ? [`options ${[...resolverOptions].map(([name, value]) => (value === undefined ? name : `${name}:${value}`)).join(" ")}`]
      : []),
  ];
  return `${lines.join("\n")}\n`;
}

function baseConfig(
  pod: Pod,
  options: ResolverOptions,
): { nameservers: readonly string[]; searches: readonly string[]; options: [string, string | undefined][] } {
  const policy = pod.spec.dnsPolicy ?? "ClusterFirst";
  if (policy === "None") return { nameservers: [], searches: [], options: [] };
  const fromNode = policy === "Default" || (policy === "ClusterFirst" && pod.spec.hostNetwork === true);
  if (fromNode) return { ...options.node, options: [] };
  const { domain } = options;
  const searches = [`${pod.metadata.namespace ?? "default"}.svc.${domain}`, `svc.${domain}`, domain, ...options.node.searches];
  return { nameservers: options.clusterDns, searches, options: [["ndots", "5"]] };
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}
