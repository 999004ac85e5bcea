// What every route of ours has in common.
import { formatPrefix, type IpPrefix } from "../../base/index.ts";
import { MAIN_TABLE, ROUTE_PROTOCOL, type Route } from "../../kernel/index.ts";

/** A route to a network, still without its next hop. */
export function ourRoute(network: IpPrefix): Omit<Route, "nexthops"> {
  return {
    family: network.family,
    destination: formatPrefix(network),
    type: "unicast",
    table: MAIN_TABLE,
    protocol: ROUTE_PROTOCOL.fairlead,
  };
}
