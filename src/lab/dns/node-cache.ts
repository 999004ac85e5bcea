// The node-local DNS cache's place on a node: a link with its addresses, one of which is the cluster's DNS address itself, and
// rules by which packets to them are not tracked, so that no Service translation takes them away from here.
import { FairleadError } from "../../base/index.ts";
import type { NetworkNamespace } from "../../kernel/index.ts";
import { KernelError } from "../../kernel/index.ts";
import type { Container } from "../../resources/index.ts";

export const NODE_CACHE = { link: "nodelocaldns", table: "nodelocaldns", address: "169.254.20.10" } as const;

export interface NodeCacheOptions {
  readonly addresses: readonly string[];
  /** The template of its Corefile. */
  readonly conf: string;
  /** Service that it asks for the cluster's names, as its address is on the node itself. */
  readonly upstream: string;
}

/** What a container's words ask for, as the node cache of kubernetes/dns takes them; undefined for any other image. */
export function nodeCacheOptions({ image, command, args = [] }: Container): NodeCacheOptions | undefined {
  if (command !== undefined || !/(^|\/)k8s-dns-node-cache(:|@|$)/.test(image ?? "")) return undefined;
  const value = (name: string, fallback: string) => {
    const at = args.findIndex((word) => new RegExp(`^--?${name}(=|$)`).test(word));
    if (at < 0) return fallback;
    return /=(.*)$/s.exec(args[at] ?? "")?.[1] ?? args[at + 1] ?? fallback;
  };
  return {
    addresses: value("localip", NODE_CACHE.address).split(","),
    conf: value("conf", "/etc/Corefile"),
    upstream: value("upstreamsvc", "kube-dns"),
  };
}

/** The Corefile: its placeholders filled in. @throws FairleadError `no-upstream` */
export function fillCorefile(text: string, { upstream }: NodeCacheOptions, env: Readonly<Record<string, string>>): string {
  const clusterDns = env[`${upstream.toUpperCase().replaceAll("-", "_")}_SERVICE_HOST`];
  if (clusterDns === undefined)
    throw new FairleadError("no-upstream", `there is no Service ${upstream} to ask for the cluster's names`, {
      remedy: "make it before the cache's pods, or name another with -upstreamsvc",
    });
  return text.replaceAll("__PILLAR__CLUSTER__DNS__", clusterDns).replaceAll("__PILLAR__UPSTREAM__SERVERS__", "/etc/resolv.conf");
}

/** Puts the addresses and rules in place; what is there already is left. A dummy link where the kernel has them, else a bridge without ports. */
export function placeNodeCache(namespace: NetworkNamespace, addresses: readonly string[]): void {
  if (!namespace.listLinks().some(({ name }) => name === NODE_CACHE.link)) {
    try {
      namespace.apply({ op: "add", link: { name: NODE_CACHE.link, kind: { type: "other", name: "dummy" }, up: true } });
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      namespace.apply({ op: "add", link: { name: NODE_CACHE.link, kind: { type: "bridge" }, up: true } });
    }
  }
  for (const address of addresses)
    namespace.apply({
      op: "replace",
      address: { link: NODE_CACHE.link, address: `${address}/${address.includes(":") ? 128 : 32}`, nodad: true },
    });
  namespace.nft.run(rules(addresses));
}

/** Takes them away, so that the cluster's DNS Service is reached again. */
export function removeNodeCache(namespace: NetworkNamespace): void {
  try {
    // Added first, so that one that is not there is no fault: nft 1.0.6 has no "destroy".
    namespace.nft.run(`add table inet ${NODE_CACHE.table}\ndelete table inet ${NODE_CACHE.table}\n`);
    namespace.apply({ op: "delete", link: { name: NODE_CACHE.link } });
  } catch (error) {
    // The node itself may be gone by now.
    if (!(error instanceof KernelError)) throw error;
  }
}

/** Questions come in and answers go out untracked: before the conntrack hook (priority raw). */
function rules(addresses: readonly string[]): string {
  const table = `inet ${NODE_CACHE.table}`;
  const matches = addresses.flatMap((address) => {
    const family = address.includes(":") ? "ip6" : "ip";
    return ["udp", "tcp"].map((protocol) => ({
      to: `${family} daddr ${address} ${protocol} dport 53`,
      from: `${family} saddr ${address} ${protocol} sport 53`,
    }));
  });
  return [
    `add table ${table}`,
    `flush table ${table}`,
    `add chain ${table} prerouting { type filter hook prerouting priority raw; policy accept; }`,
    `add chain ${table} output { type filter hook output priority raw; policy accept; }`,
    ...matches.flatMap(({ to, from }) => [
      `add rule ${table} prerouting ${to} notrack`,
      `add rule ${table} output ${to} notrack`,
      `add rule ${table} output ${from} notrack`,
    ]),
    "",
  ].join("\n");
}
