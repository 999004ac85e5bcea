// How a lab's state and a matrix look in a terminal.
import { textTable } from "../base/index.ts";
import type { LabStatus, ProbeResult } from "../lab/index.ts";
import type { TraceResult } from "../trace/index.ts";
import { paint } from "./terminal.ts";

/** Nodes, pods and Services as tables. */
export function showStatus(status: LabStatus): string {
  const nodes = textTable(
    ["NODE", "ADDRESS", "PODS FROM", "PODS", "STATE"],
    status.nodes.map((node) => [
      paint.name(node.name),
      node.addresses[0]?.replace(/\/.*/, "") ?? "",
      node.podCIDRs[0] ?? "",
      String(node.pods),
      (node.inSync ? paint.good("in sync") : paint.bad(node.reason ?? "not in sync")) +
        (node.mended > 0 ? paint.warn(` (${node.mended} mended)`) : ""),
    ]),
    paint.dim,
  );
  const pods = textTable(
    ["NAMESPACE", "POD", "STATE", "ADDRESS", "NODE"],
    status.pods.map((pod) => [
      pod.namespace,
      paint.name(pod.name),
      pod.ready ? paint.good("ready") : paint.warn(pod.status),
      pod.address ?? "-",
      pod.node ?? "-",
    ]),
    paint.dim,
  );
  const services = textTable(
    ["NAMESPACE", "SERVICE", "TYPE", "ADDRESS", "PORTS", "END POINTS"],
    status.services.map((service) => [
      service.namespace,
      paint.name(service.name),
      service.type,
      service.clusterIP ?? "-",
      service.ports.join(","),
      String(service.endpoints),
    ]),
    paint.dim,
  );
  return [nodes, pods, services, ...remarksOf(status)].join("\n\n");
}

/** What the nodes do not follow: once, where they all say the same. */
function remarksOf({ nodes }: LabStatus): string[] {
  const said = Map.groupBy(
    nodes.flatMap(({ name, remarks }) => remarks.map((remark) => ({ name, remark }))),
    ({ remark }) => remark,
  );
  const lines = [...said].map(([remark, by]) => {
    const who = by.length < nodes.length ? `${by.map(({ name }) => paint.name(name)).join(", ")}: ` : "";
    return `${paint.warn("!")} ${who}${remark}`;
  });
  return lines.length > 0 ? [lines.join("\n")] : [];
}

/** Who reaches whom: a row per source, a column per target and port. */
export function showMatrix(pairs: readonly ProbeResult[]): string {
  const targets = [...new Set(pairs.map((pair) => targetOf(pair)))];
  const sources = [...new Set(pairs.map((pair) => pair.from))];
  const cells = new Map(pairs.map((pair) => [`${pair.from} ${targetOf(pair)}`, pair]));
  const short = new Map(targets.map((target, index) => [target, String(index + 1)]));
  const rows = sources.map((source) => [paint.name(source), ...targets.map((target) => mark(cells.get(`${source} ${target}`)))]);
  const legend = targets.map((target) => `${paint.dim((short.get(target) ?? "").padStart(3))}  ${target}`).join("\n");
  const key = `${paint.good("✓")} connected  ${paint.bad("✗")} blocked  ${paint.warn("r")} refused  ${paint.dim("·")} itself`;
  return `${textTable(["FROM \\ TO", ...targets.map((target) => short.get(target) ?? "")], rows, paint.dim)}\n\n${legend}\n\n${key}`;
}

function targetOf(pair: ProbeResult): string {
  return `${pair.to}:${pair.port}${pair.protocol === "UDP" ? "/UDP" : ""}`;
}

function mark(pair: ProbeResult | undefined): string {
  if (!pair) return paint.dim("·");
  if (pair.verdict === "connected") return paint.good("✓");
  return pair.verdict === "refused" ? paint.warn("r") : paint.bad("✗");
}

/** One attempt in a line. */
export function showProbe(result: ProbeResult): string {
  const arrow = `${paint.name(result.from)} → ${paint.name(result.to)}${result.port === null ? "" : `:${result.port}`} ${paint.dim(result.protocol)}`;
  const verdict = result.verdict === "connected" ? paint.good(result.verdict) : paint.bad(result.verdict);
  const details = [
    `${result.ms} ms`,
    ...(result.address === result.to ? [] : [`at ${result.address}`]),
    ...(result.server && result.server !== result.to ? [`answered by ${result.server}`] : []),
    ...(result.sourceSeen ? [`which saw ${result.sourceSeen}`] : []),
    ...(result.cause ? [result.cause] : []),
  ];
  return `${arrow}  ${verdict}  ${paint.dim(details.join(", "))}`;
}

/** A trace: a line per hop, then the verdict with its reason and remedy. */
export function showTrace(result: TraceResult): string {
  const places = result.hops.map((hop) => (hop.namespace.startsWith("pod ") ? `${hop.node} pod` : hop.node));
  const wide = Math.max(...places.map((place) => place.length), 4);
  const lines = result.hops.map((hop, index) => {
    const place = paint.name((places[index] ?? "").padEnd(wide));
    return `  ${markHop(hop.decision)} ${place}  ${hop.stage.padEnd(11)}  ${hop.says}`;
  });
  const verdict = result.verdict === "delivered" ? paint.good(result.verdict) : paint.bad(result.verdict);
  const doubts = (result.doubts ?? []).map((doubt) => `${paint.warn("not understood, taken as no match:")} ${doubt}`);
  const remedy = result.remedy === "" ? [] : [`${paint.dim("remedy:")} ${result.remedy}`];
  return [...lines, "", `${verdict}: ${result.reason}`, ...remedy, ...doubts].join("\n");
}

/** A cross where the packet ends; a point where a policy had a say and none of its rules matched. */
function markHop(decision: string): string {
  if (["deny", "drop", "reject", "refused", "no route"].includes(decision)) return paint.bad("✗");
  return decision === "none" ? paint.dim("·") : paint.good("✓");
}
