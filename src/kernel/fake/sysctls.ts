// The fake's sysctls: the keys that Linux has for what Fairlead touches, with their defaults and side effects.
import { sysctlName } from "../keys.ts";
import { refuse } from "./refuse.ts";

const GLOBAL: Readonly<Record<string, string>> = {
  "net.ipv4.ip_forward": "0",
  "net.ipv4.ip_local_port_range": "32768\t60999",
  "net.ipv4.fib_multipath_hash_policy": "0",
  "net.ipv6.fib_multipath_hash_policy": "0",
  "net.bridge.bridge-nf-call-iptables": "1",
  "net.bridge.bridge-nf-call-ip6tables": "1",
  "net.netfilter.nf_conntrack_max": "262144",
  "net.netfilter.nf_conntrack_tcp_be_liberal": "0",
};

const IPV4: Readonly<Record<string, string>> = {
  accept_local: "0",
  arp_announce: "0",
  arp_ignore: "0",
  forwarding: "0",
  promote_secondaries: "0",
  proxy_arp: "0",
  route_localnet: "0",
  rp_filter: "0",
  send_redirects: "1",
  src_valid_mark: "0",
};

const IPV6: Readonly<Record<string, string>> = { accept_dad: "1", accept_ra: "1", disable_ipv6: "0", forwarding: "0", proxy_ndp: "0" };

export class FakeSysctls {
  readonly #values = new Map(Object.entries(GLOBAL));

  constructor() {
    this.addLink("all");
    this.addLink("default");
  }

  addLink(name: string): void {
    for (const [leaf, value] of Object.entries(IPV4))
      this.#values.set(keyOf(4, name, leaf), this.#values.get(keyOf(4, "default", leaf)) ?? value);
    this.#values.set(proxyDelayOf(name), this.#values.get(proxyDelayOf("default")) ?? "80");
    for (const [leaf, value] of Object.entries(IPV6))
      this.#values.set(keyOf(6, name, leaf), this.#values.get(keyOf(6, "default", leaf)) ?? value);
  }

  removeLink(name: string): void {
    for (const leaf of Object.keys(IPV4)) this.#values.delete(keyOf(4, name, leaf));
    for (const leaf of Object.keys(IPV6)) this.#values.delete(keyOf(6, name, leaf));
    this.#values.delete(proxyDelayOf(name));
  }

  read(key: string): string | undefined {
    return this.#values.get(key);
  }

  write(key: string, value: string): void {
    if (!this.#values.has(key)) refuse("ENOENT", "no such sysctl", key);
    if (!/^-?\d+(\s+-?\d+)*$/.test(value.trim())) refuse("EINVAL", `"${value}" is not a number`, key);
    const written = value.trim().replace(/\s+/g, "\t");
    this.#values.set(key, written);
    if (key === "net.ipv4.ip_forward" || key === "net.ipv4.conf.all.forwarding") this.#forwardAll(4, written);
    if (key === "net.ipv6.conf.all.forwarding") this.#forwardAll(6, written);
  }

  /** inet_forward_change: the global switch sets every interface's. */
  #forwardAll(family: 4 | 6, value: string): void {
    for (const key of this.#values.keys())
      if (key.startsWith(`net.ipv${family}.conf.`) && key.endsWith(".forwarding")) this.#values.set(key, value);
    if (family === 4) this.#values.set("net.ipv4.ip_forward", value);
  }
}

const keyOf = (family: 4 | 6, link: string, leaf: string) => `net.ipv${family}.conf.${sysctlName(link)}.${leaf}`;

/** Hundredths of a second that an answer for another is put off. There is none for "all". */
const proxyDelayOf = (link: string) => `net.ipv4.neigh.${sysctlName(link)}.proxy_delay`;
