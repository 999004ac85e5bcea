// What an agent observes of its own node: the outer device and its addresses.
import { FairleadError, parsePrefix } from "../base/index.ts";
import { type LinkAddress, type NetworkNamespace, ROUTE_PROTOCOL } from "../kernel/index.ts";
import type { Network, NodeFacts } from "../plan/index.ts";
import type { Node } from "../resources/index.ts";

/** What can't be done in a node's kernel, with the reason. */
export function observeLacks({ iptables, ipvs, fastPath }: NetworkNamespace, network: Network): NonNullable<NodeFacts["lacks"]> {
  const lacks = { iptables: iptables.lack(), ipvs: ipvs.lack() };
  // Asked where it is wanted only: the answer costs some milliseconds, and the maps' memory from then on.
  const lack = network === "routed" ? fastPath.lack() : undefined;
  return {
    services: Object.fromEntries(Object.entries(lacks).filter(([, reason]) => reason !== undefined)),
    ...(lack === undefined ? {} : { fastPath: lack }),
  };
}

/** Finds the device that carries the node's InternalIP. @throws FairleadError `no-underlay` */
export function observeUnderlay(namespace: NetworkNamespace, node: Node): NodeFacts["underlay"] {
  const wanted = (node.status?.addresses ?? []).filter((address) => address.type === "InternalIP").map((address) => address.address);
  const addresses = namespace.listAddresses();
  const own = addresses.find((address) => wanted.includes(address.address.replace(/\/.*/, "")));
  const link = namespace.listLinks().find((candidate) => candidate.name === own?.link);
  if (!own || !link) {
    throw new FairleadError(
      "no-underlay",
      `no device carries an InternalIP of node ${node.metadata.name} (${wanted.join(", ") || "it has none"})`,
      {
        remedy: "check `ip address` against the Node's status.addresses",
      },
    );
  }
  const onLink = addresses
    .filter((address) => address.link === link.name && address.scope !== "link" && !wanders(address))
    .map((address) => address.address);
  for (const address of onLink) parsePrefix(address);
  const { name, mtu = 1500, gsoIpv4MaxSize } = link;
  return { link: name, mtu, ...(gsoIpv4MaxSize === undefined ? {} : { gsoIpv4MaxSize }), addresses: onLink };
}

/** Load balancers' addresses that stand on the node since an earlier agent. */
export function standingAddresses(namespace: NetworkNamespace): string[] {
  return namespace.listAddresses().flatMap((each) => (wanders(each) ? [each.address.replace(/\/.*/, "")] : []));
}

function wanders(address: LinkAddress): boolean {
  return address.protocol === ROUTE_PROTOCOL.fairlead && address.deprecated === true;
}
