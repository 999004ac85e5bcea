// Stale flows: UDP clients go on sending to an end point that is gone, as long as conntrack remembers it.
import type { ConntrackFlow } from "../kernel/index.ts";
import type { ServiceTable } from "./table.ts";

const UDP = 17;

/**
 * Whether a flow must be forgotten: it goes to a Service by UDP, and was sent to an end point that is not one of the
 * Service's, or (before there were any) to none at all.
 */
export function isStale(table: ServiceTable, flow: ConntrackFlow): boolean {
  if (flow.protocol !== UDP || flow.destinationPort === undefined) return false;
  const family = flow.destination.includes(":") ? 6 : 4;
  const entry = table.lookup(flow.destination, "udp", flow.destinationPort) ?? table.nodePort(family, "udp", flow.destinationPort);
  if (!entry) return false;
  const translated = flow.replySource !== flow.destination;
  // A node port's number may also be an ordinary port of a pod: only translated flows are the Service's.
  if (!translated) return entry.clusterIP === flow.destination && entry.endpoints.length > 0;
  return !entry.endpoints.some(
    (endpoint) => endpoint.address === flow.replySource && endpoint.port === (flow.replySourcePort ?? endpoint.port),
  );
}
