// What another service proxy has left on the node, or still keeps there: it is told, and removed only when that is asked for.
import { type IpvsOwnership, isMarked, type NetworkNamespace, sweepIptables } from "../kernel/index.ts";
import type { ServiceMode } from "../plan/index.ts";
import { SERVICE_BALANCER, SERVICE_CHAINS } from "../services/index.ts";

export interface ForeignPart {
  /** What it is, and what it does. */
  readonly says: string;
  /** @throws KernelError */
  readonly remove: () => void;
}

/** Tables of kube-proxy's own nftables mode. */
const TABLE = "kube-proxy";
const REMEDY = "if kube-proxy runs no more, start the agent with --clean-foreign";

/** The parts of a foreign proxy. In the iptables and IPVS modes, kube-proxy's chains and device are taken over instead. */
export function foreignProxy(namespace: NetworkNamespace, mode: ServiceMode): ForeignPart[] {
  return [
    ...foreignTables(namespace),
    ...(mode === "iptables" ? [] : foreignChains(namespace)),
    ...(mode === "ipvs" ? [] : foreignBalancer(namespace)),
  ];
}

/** A remark for each part. */
export function remarksOf(parts: readonly ForeignPart[]): string[] {
  return parts.map(({ says }) => `another service proxy: ${says}; ${REMEDY}`);
}

function foreignTables({ nft }: NetworkNamespace): ForeignPart[] {
  return nft
    .listTables()
    .filter(({ name }) => name === TABLE)
    .map(({ family, name }) => ({
      says: `nft table ${family} ${name} translates Services as well`,
      remove: () => nft.run(`delete table ${family} ${name}\n`),
    }));
}

function foreignChains({ iptables }: NetworkNamespace): ForeignPart[] {
  return ([4, 6] as const).flatMap((family) =>
    iptables.save(family).flatMap((table): ForeignPart[] => {
      const chains = table.chains.filter(({ name }) => SERVICE_CHAINS.chains(name));
      if (chains.length === 0 || isMarked(table, SERVICE_CHAINS)) return [];
      return [
        {
          says: `${chains.length} KUBE- chains in table ${table.name} of ${family === 4 ? "iptables" : "ip6tables"}`,
          remove: () => iptables.restore(family, sweepIptables(table, SERVICE_CHAINS)),
        },
      ];
    }),
  );
}

function foreignBalancer(namespace: NetworkNamespace, { device, alias, sets }: IpvsOwnership = SERVICE_BALANCER): ForeignPart[] {
  const link = namespace.listLinks().find(({ name }) => name === device);
  if (!link || link.ifalias === alias) return [];
  return [
    {
      says: `${device} makes Services' addresses the node's own, for IPVS`,
      remove() {
        const held = new Set(namespace.listAddresses().flatMap((each) => (each.link === device ? [each.address.replace(/\/.*/, "")] : [])));
        for (const service of namespace.ipvs.list()) if (held.has(service.address)) namespace.ipvs.apply({ op: "delete", service });
        namespace.apply({ op: "delete", link: { name: device } });
        for (const { name } of namespace.ipsets.list(sets)) namespace.ipsets.destroy(name);
      },
    },
  ];
}
