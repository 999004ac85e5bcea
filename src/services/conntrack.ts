// Stale flows: a client goes on sending where conntrack remembers, though a new flow would be sent elsewhere.
import { familyOf, transportName } from "../base/index.ts";
import type { ConntrackFlow } from "../kernel/index.ts";
import type { ServiceEntry } from "./entry.ts";
import { chooseAnywhere, keepsConnections, type ServiceTable } from "./table.ts";

/**
 * Whether a flow must be forgotten, now that `before` has become `after`:
 *
 * - it was sent to an end point that is gone or serves no more, or whose Service or port is gone;
 * - it began when there was nobody to send it to (so it was not translated), and now there is.
 *
 * Of TCP only what was never answered: an attempt to an end point that has gone would be sent there until the client gives up,
 * and finds another at its next packet. A connection ends in peace; UDP and SCTP notice nothing by themselves.
 */
export function isStale(before: ServiceTable, after: ServiceTable, flow: ConntrackFlow): boolean {
  const protocol = transportName(flow.protocol);
  const { destination, destinationPort: port } = flow;
  if (protocol === undefined || port === undefined || (protocol === "tcp" && flow.replied)) return false;
  const was = before.lookup(destination, protocol, port);
  const is = after.lookup(destination, protocol, port);
  if (was || is) return isTranslated(flow) ? lostEndpoint(was, is, flow) : is !== undefined && hasEndpoint(is);
  const family = familyOf(destination);
  const wasNode = before.nodePort(family, protocol, port);
  const isNode = after.nodePort(family, protocol, port);
  if (isTranslated(flow)) return lostEndpoint(wasNode, isNode, flow);
  // A node port's number may also be the port of something else: only what is newly served is taken for the Service's.
  return isNode !== undefined && hasEndpoint(isNode) && !(wasNode && hasEndpoint(wasNode));
}

function lostEndpoint(was: ServiceEntry | undefined, is: ServiceEntry | undefined, flow: ConntrackFlow): boolean {
  if (is) return !keepsConnections(is, flow.replySource, flow.replySourcePort);
  return was?.endpoints.some((endpoint) => endpoint.address === flow.replySource) === true;
}

function isTranslated(flow: ConntrackFlow): boolean {
  return flow.replySource !== flow.destination || (flow.replySourcePort ?? flow.destinationPort) !== flow.destinationPort;
}

function hasEndpoint(entry: ServiceEntry): boolean {
  return "use" in chooseAnywhere(entry);
}
