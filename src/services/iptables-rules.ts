// The iptables rules of one entry of the service table on one node, as kube-proxy writes them.
import type { Family } from "../base/index.ts";
import type { IptablesChain } from "../kernel/index.ts";
import type { ServiceEndpoint, ServiceEntry } from "./entry.ts";
import { type ChainNames, chainNames, placeOf } from "./iptables-names.ts";
import { chooseAnywhere, chooseEndpoints, entryAddresses, letsNodeIn, placeKey, type Standpoint } from "./table.ts";

/** Shared chains that entries have rules in. */
export type SharedChain =
  | "nat KUBE-SERVICES"
  | "nat KUBE-NODEPORTS"
  | "filter KUBE-SERVICES"
  | "filter KUBE-EXTERNAL-SERVICES"
  | "filter KUBE-PROXY-FIREWALL";

export interface EntryRules {
  /** Rules by the address ("node" for the node port) that they are about: another Service may have it. */
  readonly groups: readonly { readonly at: string; readonly rules: readonly (readonly [chain: SharedChain, rule: string])[] }[];
  /** The entry's own chains, each behind those that it jumps to. */
  readonly chains: readonly IptablesChain[];
}

export interface RuleOptions {
  /** What tells pods from others: no network (nobody is a pod), one, or several, in a chain of their own. */
  readonly networks: readonly string[];
  /** Rules of end points bear no comments: of many, these are half of what the kernel looks through for each change. */
  readonly brief: boolean;
}

/** With more end points than this, kube-proxy writes no comments for them either (largeClusterEndpointsThreshold). */
export const MANY_ENDPOINTS = 1000;

/** Marks whom no pod network holds, where there are several. */
export const OUTSIDERS = "KUBE-MASQ-OUTSIDERS";

const kept = new WeakMap<ServiceEntry, Map<string, EntryRules>>();

/** The rules of an entry; kept with it, so that what did not change is the same object. */
export function iptablesRules(entry: ServiceEntry, standpoint: Standpoint, options: RuleOptions): EntryRules {
  const byPlace = kept.get(entry) ?? new Map<string, EntryRules>();
  kept.set(entry, byPlace);
  const place = `${placeKey(standpoint)} ${options.networks.join()} ${options.brief}`;
  let rules = byPlace.get(place);
  if (!rules) {
    rules = new EntryWriter(entry, standpoint, options).write();
    byPlace.set(place, rules);
  }
  return rules;
}

/** Where several rules stand for the same, `-s` words of each pod network. */
class EntryWriter {
  readonly #entry: ServiceEntry;
  readonly #standpoint: Standpoint;
  readonly #options: RuleOptions;
  readonly #names: ChainNames;
  readonly #bits: number;

  constructor(entry: ServiceEntry, standpoint: Standpoint, options: RuleOptions) {
    this.#entry = entry;
    this.#standpoint = standpoint;
    this.#options = options;
    this.#names = chainNames(entry);
    this.#bits = entry.family === 4 ? 32 : 128;
  }

  write(): EntryRules {
    const entry = this.#entry;
    const internal = chooseEndpoints(entry, this.#standpoint, true);
    const external = chooseEndpoints(entry, this.#standpoint, false);
    const anywhere = chooseAnywhere(entry, this.#standpoint);
    const groups: { at: string; rules: (readonly [SharedChain, string])[] }[] = [];
    const outward = entry.nodePort !== undefined || entry.externalAddresses.length > 0;
    for (const at of [...entryAddresses(entry), ...(entry.nodePort === undefined ? [] : ["node"])]) {
      const rules: (readonly [SharedChain, string])[] = [];
      if (at === entry.clusterIP) {
        const chain = entry.internalLocal ? this.#names.local : this.#names.service;
        if ("use" in internal) rules.push(["nat KUBE-SERVICES", this.#to(at, "cluster IP", chain)]);
        else rules.push(["filter KUBE-SERVICES", this.#refusal(at, internal.refuse)]);
      } else {
        if ("use" in anywhere) rules.push(this.#entrance(at));
        if ("refuse" in external) rules.push(["filter KUBE-EXTERNAL-SERVICES", this.#refusal(at, external.refuse)]);
        if ("use" in anywhere && entry.guardedAddresses.includes(at))
          rules.push([
            "filter KUBE-PROXY-FIREWALL",
            this.#rule({ at, says: `${this.#names.port} traffic not accepted by ${this.#names.firewall}`, does: "-j DROP" }),
          ]);
      }
      groups.push({ at, rules });
    }
    return { groups, chains: "use" in anywhere ? this.#chains(anywhere.use, internal, external, outward) : [] };
  }

  #chains(
    all: readonly ServiceEndpoint[],
    internal: ReturnType<typeof chooseEndpoints>,
    external: ReturnType<typeof chooseEndpoints>,
    outward: boolean,
  ): IptablesChain[] {
    const { internalLocal, externalLocal, guardedAddresses } = this.#entry;
    const { service, local, firewall } = this.#names;
    const near = internalLocal && "use" in internal ? internal.use : externalLocal && outward && "use" in external ? external.use : [];
    const wide = !internalLocal || outward;
    const chains: IptablesChain[] = [];
    for (const endpoint of new Set([...(wide ? all : []), ...near])) chains.push(this.#endpoint(endpoint));
    if (near.length > 0) chains.push(this.#pick(local, near, internalLocal));
    if (wide) chains.push(this.#pick(service, all, !internalLocal));
    if (outward) chains.push(this.#external("use" in external));
    if (guardedAddresses.length > 0) chains.push({ name: firewall, rules: this.#firewall() });
    return chains;
  }

  #endpoint(endpoint: ServiceEndpoint): IptablesChain {
    const { protocol, affinitySeconds } = this.#entry;
    const name = this.#names.endpoint(endpoint);
    const note = this.#note(this.#names.port);
    const recall = affinitySeconds === undefined ? "" : `-m recent --set --name ${name} ${this.#source()} `;
    return {
      name,
      rules: [
        `-s ${endpoint.address}/${this.#bits} ${note}-j KUBE-MARK-MASQ`,
        `-p ${protocol} ${note}${recall}-m ${protocol} -j DNAT --to-destination ${placeOf(endpoint)}`,
      ],
    };
  }

  /** Chooses one of several: each takes its share of what those before it left. */
  #pick(name: string, endpoints: readonly ServiceEndpoint[], reachedByCluster: boolean): IptablesChain {
    const { affinitySeconds, clusterIP } = this.#entry;
    const { port } = this.#names;
    const recalled = (endpoint: ServiceEndpoint) => {
      const chain = this.#names.endpoint(endpoint);
      return `${this.#note(`${port} -> ${placeOf(endpoint)}`)}-m recent --rcheck --seconds ${affinitySeconds} --reap --name ${chain} ${this.#source()} -j ${chain}`;
    };
    const chosen = (endpoint: ServiceEndpoint, at: number) => {
      const left = endpoints.length - at;
      const chance = left > 1 ? `-m statistic --mode random --probability ${(1 / left).toFixed(10)} ` : "";
      return `${this.#note(`${port} -> ${placeOf(endpoint)}`)}${chance}-j ${this.#names.endpoint(endpoint)}`;
    };
    return {
      name,
      rules: [
        ...(reachedByCluster && clusterIP !== undefined ? [this.#masqueradeOutsiders(clusterIP)] : []),
        ...(affinitySeconds === undefined ? [] : endpoints.map(recalled)),
        ...endpoints.map(chosen),
      ],
    };
  }

  #masqueradeOutsiders(clusterIP: string): string {
    const { networks } = this.#options;
    const [only] = networks;
    const rule = { at: clusterIP, says: `${this.#names.port} cluster IP` };
    if (networks.length > 1) return this.#rule({ ...rule, does: `-j ${OUTSIDERS}` });
    return this.#rule({ ...rule, ...(only === undefined ? {} : { source: `! -s ${only} ` }), does: "-j KUBE-MARK-MASQ" });
  }

  /** Cluster policy: everybody is masqueraded. Local: insiders get every end point, outsiders the node's own as they are. */
  #external(hasLocal: boolean): IptablesChain {
    const { port, service, local, external } = this.#names;
    const says = (text: string) => commentOf(`${text} for ${port} external destinations`);
    if (!this.#entry.externalLocal) return { name: external, rules: [`${says("masquerade traffic")} -j KUBE-MARK-MASQ`, `-j ${service}`] };
    return {
      name: external,
      rules: [
        ...this.#options.networks.map((network) => `-s ${network} ${says("pod traffic")} -j ${service}`),
        `${says("masquerade LOCAL traffic")} -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ`,
        `${says("route LOCAL traffic")} -m addrtype --src-type LOCAL -j ${service}`,
        ...(hasLocal ? [`-j ${local}`] : []),
      ],
    };
  }

  #firewall(): string[] {
    const { sourceRanges, guardedAddresses } = this.#entry;
    const { port, external } = this.#names;
    const comment = commentOf(`${port} loadbalancer IP`);
    // Where the address is the node's own as well, what the node sends there has it as source.
    const own = letsNodeIn(sourceRanges, this.#standpoint) ? guardedAddresses.map((address) => `${address}/${this.#bits}`) : [];
    return [...sourceRanges, ...own].map((range) => `${/\/0$/.test(range) ? "" : `-s ${range} `}${comment} -j ${external}`);
  }

  #entrance(at: string): readonly [SharedChain, string] {
    const { external, firewall, port } = this.#names;
    if (at === "node") return ["nat KUBE-NODEPORTS", this.#rule({ at, says: port, does: `-j ${external}` })];
    const guarded = this.#entry.guardedAddresses.includes(at);
    return ["nat KUBE-SERVICES", this.#to(at, guarded ? "loadbalancer IP" : "external IP", guarded ? firewall : external)];
  }

  #to(at: string, kind: string, chain: string): string {
    return this.#rule({ at, says: `${this.#names.port} ${kind}`, does: `-j ${chain}` });
  }

  #refusal(at: string, verdict: "reject" | "drop"): string {
    const reject = `-j REJECT --reject-with ${this.#entry.family === 4 ? "icmp" : "icmp6"}-port-unreachable`;
    return this.#rule({
      at,
      says: `${this.#names.port} has no ${verdict === "drop" ? "local " : ""}endpoints`,
      ...(at === "node" ? { more: " -m addrtype --dst-type LOCAL" } : {}),
      does: verdict === "reject" ? reject : "-j DROP",
    });
  }

  /** A rule about one address and the port, or the node port, in iptables-save's order of words. */
  #rule({ at, says, source = "", more = "", does }: { at: string; says: string; source?: string; more?: string; does: string }): string {
    const { protocol, port, nodePort } = this.#entry;
    const destination = at === "node" ? "" : `-d ${at}/${this.#bits} `;
    return `${source}${destination}-p ${protocol} ${commentOf(says)}${more} -m ${protocol} --dport ${at === "node" ? nodePort : port} ${does}`;
  }

  /** A comment with a blank behind it, where end points have them. */
  #note(text: string): string {
    return this.#options.brief ? "" : `${commentOf(text)} `;
  }

  #source(): string {
    return `--mask ${this.#entry.family === 4 ? "255.255.255.255" : "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} --rsource`;
  }
}

/** The words of a comment, of which the kernel keeps 255 characters. What could end it is replaced. */
export function commentOf(text: string): string {
  return `-m comment --comment "${text.replace(/[^\x20-\x7e]|["\\]/g, "_").slice(0, 255)}"`;
}

/** The words for "an address of the node itself at which it serves node ports", one pair for each range of these; never a loopback one. */
export function toNode(family: Family, ranges: readonly string[]): { readonly before: string; readonly after: string }[] {
  const after = "-m addrtype --dst-type LOCAL";
  if (ranges.some((range) => range.endsWith("/1"))) return [{ before: `! -d ${family === 4 ? "127.0.0.0/8" : "::1/128"}`, after }];
  return ranges.map((range) => ({ before: `-d ${range.includes("/") ? range : `${range}/${family === 4 ? 32 : 128}`}`, after }));
}
