// kube-proxy's sets, for people and tools that look for them. No rule of ours reads them: the nft table has sets of its own.
import { type Family, formatAddress, networkOf, tryParsePrefix } from "../base/index.ts";
import type { IpSet, IpSetType } from "../kernel/index.ts";
import type { ServiceEntry } from "./entry.ts";
import { chooseAnywhere, type Standpoint } from "./table.ts";

const FAMILIES = [4, 6] as const;

const TYPES: Readonly<Record<string, IpSetType>> = {
  "LOOP-BACK": "hash:ip,port,ip",
  "CLUSTER-IP": "hash:ip,port",
  "EXTERNAL-IP": "hash:ip,port",
  "EXTERNAL-IP-LOCAL": "hash:ip,port",
  "LOAD-BALANCER": "hash:ip,port",
  "LOAD-BALANCER-LOCAL": "hash:ip,port",
  "LOAD-BALANCER-FW": "hash:ip,port",
  "LOAD-BALANCER-SOURCE-IP": "hash:ip,port,ip",
  "LOAD-BALANCER-SOURCE-CIDR": "hash:ip,port,net",
  "NODE-PORT-TCP": "bitmap:port",
  "NODE-PORT-LOCAL-TCP": "bitmap:port",
  "NODE-PORT-UDP": "bitmap:port",
  "NODE-PORT-LOCAL-UDP": "bitmap:port",
  "NODE-PORT-SCTP-HASH": "hash:ip,port",
  "NODE-PORT-LOCAL-SCTP-HASH": "hash:ip,port",
  "HEALTH-CHECK-NODE-PORT": "bitmap:port",
  "IPVS-IPS": "hash:ip",
};

/** The names that kube-proxy gives: KUBE-CLUSTER-IP, and KUBE-6-CLUSTER-IP for IPv6. The kernel takes 31 characters. */
function nameOf(kind: string, family: Family): string {
  return `KUBE-${family === 6 ? "6-" : ""}${kind}`.slice(0, 31);
}

/** Gathers elements, and gives every set, empty or not. */
export class SetBuilder {
  readonly #elements = new Map<string, Set<string>>();

  /** What stands at one address of an entry, or at its node port ("node", on each of the node's addresses). */
  take(entry: ServiceEntry, at: string, nodeAddresses: readonly string[]): void {
    const { protocol, port, nodePort, clusterIP, externalLocal, family } = entry;
    const local = externalLocal ? "-LOCAL" : "";
    if (at === "node") {
      if (nodePort === undefined) return;
      if (protocol !== "sctp") this.#add(`NODE-PORT${local}-${protocol.toUpperCase()}`, family, String(nodePort));
      else for (const address of nodeAddresses) this.#add(`NODE-PORT${local}-SCTP-HASH`, family, `${address},sctp:${nodePort}`);
      if (externalLocal) this.#plain(entry, nodeAddresses);
      return;
    }
    const place = `${at},${protocol}:${port}`;
    this.#add("IPVS-IPS", family, at);
    if (at === clusterIP) this.#add("CLUSTER-IP", family, place);
    else if (!entry.balancedAddresses.includes(at)) {
      this.#add("EXTERNAL-IP", family, place);
      if (externalLocal) this.#add("EXTERNAL-IP-LOCAL", family, place);
    } else {
      this.#add("LOAD-BALANCER", family, place);
      if (externalLocal) this.#add("LOAD-BALANCER-LOCAL", family, place);
      if (entry.guardedAddresses.includes(at)) this.#guard(entry, at, place);
    }
  }

  /** Pods of this node that could reach themselves. */
  loopBack(entry: ServiceEntry, standpoint: Standpoint): void {
    const choice = chooseAnywhere(entry);
    if (!("use" in choice)) return;
    for (const { address, port, node } of choice.use)
      if (node === undefined || node === standpoint.node)
        this.#add("LOOP-BACK", entry.family, `${address},${entry.protocol}:${port},${address}`);
  }

  healthPort(port: number): void {
    for (const family of FAMILIES) this.#add("HEALTH-CHECK-NODE-PORT", family, String(port));
  }

  build(): IpSet[] {
    return FAMILIES.flatMap((family) =>
      Object.entries(TYPES).map(([kind, type]) => {
        const name = nameOf(kind, family);
        return { name, type, family: type === "bitmap:port" ? 4 : family, elements: [...(this.#elements.get(name) ?? [])] };
      }),
    );
  }

  /** kube-proxy keeps the node ports of Local Services in the common set, too. */
  #plain({ protocol, nodePort, family }: ServiceEntry, nodeAddresses: readonly string[]): void {
    if (protocol !== "sctp") this.#add(`NODE-PORT-${protocol.toUpperCase()}`, family, String(nodePort));
    else for (const address of nodeAddresses) this.#add("NODE-PORT-SCTP-HASH", family, `${address},sctp:${nodePort}`);
  }

  #guard({ sourceRanges, family }: ServiceEntry, at: string, place: string): void {
    this.#add("LOAD-BALANCER-FW", family, place);
    this.#add("LOAD-BALANCER-SOURCE-IP", family, `${place},${at}`);
    // A set of networks takes no network of length 0: everybody is two halves.
    for (const range of sourceRanges.flatMap(halves)) this.#add("LOAD-BALANCER-SOURCE-CIDR", family, `${place},${range}`);
  }

  #add(kind: string, family: Family, element: string): void {
    const name = nameOf(kind, family);
    const found = this.#elements.get(name);
    if (found) found.add(element);
    else this.#elements.set(name, new Set([element]));
  }
}

function halves(range: string): string[] {
  const prefix = tryParsePrefix(range);
  if (!prefix) return [];
  if (prefix.length === 0) return prefix.family === 4 ? ["0.0.0.0/1", "128.0.0.0/1"] : ["::/1", "8000::/1"];
  return [`${formatAddress(networkOf(prefix))}/${prefix.length}`];
}
