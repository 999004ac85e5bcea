// How Services look in a terminal: a table of all, or one with everything that is known of it.
import { textTable } from "../base/index.ts";
import type { EndpointView, PortView, ServiceView } from "../services/index.ts";
import { paint } from "./terminal.ts";

interface ServingNode {
  readonly node: string;
  readonly mode: string;
}

/** A line per port; with `all`, for each port what holds it and every end point. */
export function showServices(place: ServingNode, services: readonly ServiceView[], all: boolean): string {
  return all ? services.map((service) => showWhole(place, service)).join("\n\n") : showTable(place, services);
}

function showTable({ node, mode }: ServingNode, services: readonly ServiceView[]): string {
  const rows = services.flatMap((service) => {
    const name = [service.namespace, paint.name(service.name), service.type];
    if (service.ports.length === 0) return [[...name, "-", "-", "-", ""]];
    return service.ports.map((port) => [
      ...name,
      port.addresses.join(","),
      portOf(port),
      pointsOf(port),
      service.remarks.length > 0 ? paint.warn("!") : "",
    ]);
  });
  const remarks = services.flatMap(({ namespace, name, remarks }) =>
    remarks.map((remark) => `${paint.warn("!")} ${paint.name(`${namespace}/${name}`)}: ${remark}`),
  );
  const table = textTable(["NAMESPACE", "SERVICE", "TYPE", "ADDRESSES", "PORT", "END POINTS", ""], rows, paint.dim);
  return [table, "", paint.dim(`as ${node} serves them by ${mode}; fairlead services NS/NAME shows one`), ...remarks].join("\n");
}

function showWhole({ node, mode }: ServingNode, service: ServiceView): string {
  const title = `${paint.bold(`${service.namespace}/${service.name}`)}  ${service.type}  ${paint.dim(`as ${node} serves it, by ${mode}`)}`;
  if (service.ports.length === 0) return `${title}\n  no address to balance: clients get its end points by DNS`;
  const parts = service.ports.map((port) => {
    const facts = [
      ...(port.affinity === null ? [] : [`a client keeps its end point for ${port.affinity} s`]),
      ...(port.internalTrafficPolicy === "Local" ? ["internalTrafficPolicy Local"] : []),
      ...(port.externalTrafficPolicy === "Local" ? ["externalTrafficPolicy Local"] : []),
    ];
    const held = textTable(
      ["AT", "HELD BY"],
      port.holds.map(({ at, entry }) => [at, entry]),
      paint.dim,
    );
    const points = textTable(
      ["END POINT", "POD", "NODE", "ZONE", "STATE", "CONNECTIONS", "USED"],
      port.endpoints.map((point) => [
        `${point.address}:${point.port}`,
        paint.name(point.pod ?? "-"),
        point.node ?? "-",
        point.zone ?? "-",
        stateOf(point),
        point.connections === null ? "-" : String(point.connections),
        point.used ? paint.good("yes") : paint.warn(point.why ?? "no"),
      ]),
      paint.dim,
    );
    const heading = `${paint.bold(portOf(port))} ${port.name === String(port.port) ? "" : `${port.name} `}IPv${port.family}${facts.length > 0 ? `  ${paint.dim(facts.join(", "))}` : ""}`;
    return [
      heading,
      indent(held),
      "",
      port.endpoints.length > 0 ? indent(points) : `  ${paint.bad("no end points: connections are refused")}`,
    ].join("\n");
  });
  return [title, ...parts, ...service.remarks.map((remark) => `${paint.warn("!")} ${remark}`)].join("\n\n");
}

function portOf(port: PortView): string {
  return `${port.port}/${port.protocol}${port.nodePort === null ? "" : ` (node port ${port.nodePort})`}`;
}

function pointsOf(port: PortView): string {
  const used = port.endpoints.filter((point) => point.used).length;
  const count = used === port.endpoints.length ? String(used) : `${used} of ${port.endpoints.length}`;
  const connections = port.endpoints.reduce((sum, point) => sum + (point.connections ?? 0), 0);
  return `${used === 0 ? paint.bad(count) : count}${connections > 0 ? paint.dim(` (${connections} connections)`) : ""}`;
}

function stateOf({ ready, serving, terminating }: EndpointView): string {
  if (terminating) return paint.warn(serving ? "ending, serves" : "ending");
  return ready ? paint.good("ready") : paint.warn("not ready");
}

function indent(text: string): string {
  return text.replace(/^/gm, "  ");
}
