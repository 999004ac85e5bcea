// fairlead policy explain: which policies have a say between two ends, which rule decides, and why.
import { type Command, Option } from "commander";
import { FairleadError } from "../../base/index.ts";
import { type ClusterSnapshot, type End, findEnd, nameOfEnd, parseTarget } from "../../cluster/index.ts";
import { type DirectionWalk, explainPolicies, type End as PolicyEnd, type PolicyExplanation, rulePath } from "../../policy/index.ts";
import { type ServiceEntry, serviceTable } from "../../services/index.ts";
import { Answer } from "../exit.ts";
import { labFlags } from "../lab-client.ts";
import { NO_PLACES, type Places, readPlaces } from "../places.ts";
import { paint, printJson } from "../terminal.ts";
import { type ViewFlags, viewNames, viewSnapshot } from "../views.ts";

export function command(command: Command): void {
  labFlags(command)
    .argument("<from>", "ns/pod, node/name, outside or an address")
    .argument("<to>", "TO[:PORT]: ns/pod, svc/ns/name, node/name or an address")
    .option("--manifests <path...>", "from manifests: no lab, no root needed")
    .option("--kubeconfig <file>", "from another cluster")
    .addOption(new Option("--protocol <protocol>", "of the connection").choices(["tcp", "udp", "sctp", "icmp"]).default("tcp"))
    .addHelpText(
      "after",
      "\nWithout a port: whether anything at all is let through. Exit status: 0 allowed, 1 denied.\n\nExamples:\n  fairlead policy explain monitoring/prometheus production/mysql:3306\n  fairlead policy explain production/api svc/production/redis --manifests examples/shop\n",
    )
    .action(async (from: string, to: string, flags: ViewFlags & { protocol: string }) => {
      const snapshot = await viewSnapshot(flags);
      const question = askOf(snapshot, from, to, flags.protocol);
      const { verdict, walk } = explainPolicies(snapshot, question.connection, await viewNames(flags));
      const places = flags.manifests?.length ? readPlaces(flags.manifests) : NO_PLACES;
      const place = verdict.decidedBy
        ? places.placeOf(verdict.decidedBy, rulePath(verdict.decidedBy, verdict.direction ?? "ingress"))
        : null;
      const { connection, through } = question;
      if (flags.output === "json")
        printJson({ from, to, port: connection.port ?? null, protocol: connection.protocol, through, ...verdict, place, walk });
      else process.stdout.write(`${show(question, { verdict, walk }, places)}\n`);
      if (verdict.verdict === "deny") throw new Answer(1);
    });
}

interface Question {
  readonly from: string;
  readonly to: string;
  readonly connection: { readonly from: PolicyEnd; readonly to: PolicyEnd; readonly protocol: string; readonly port?: number };
  /** The Service that was named, since policies see its end points only; null where none was. */
  readonly through: string | null;
}

function askOf(snapshot: ClusterSnapshot, fromText: string, toText: string, protocol: string): Question {
  const target = parseTarget(toText);
  const from = findEnd(snapshot, fromText);
  const to = findEnd(snapshot, target.end);
  if (to.kind === "service") return throughService(snapshot, from, to, { port: target.port, protocol });
  const port = typeof target.port === "string" ? portNamed(to, target.port) : target.port;
  return {
    from: nameOfEnd(from),
    to: nameOfEnd(to),
    connection: { from: endOf(from), to: endOf(to), protocol: protocol.toUpperCase(), ...(port === undefined ? {} : { port }) },
    through: null,
  };
}

function throughService(
  snapshot: ClusterSnapshot,
  from: End,
  { service }: Extract<End, { kind: "service" }>,
  { port, protocol }: { readonly port: number | string | undefined; readonly protocol: string },
): Question {
  const { namespace, name } = service.metadata;
  const entries = serviceTable(snapshot)
    .entriesOf(namespace ?? "", name)
    .filter((entry) => entry.protocol === protocol);
  const entry = entries.find((each) => port === undefined || each.port === port || each.portName === port);
  const point = entry?.endpoints.find(({ ready }) => ready) ?? entry?.endpoints[0];
  if (!entry || !point)
    throw new FairleadError(
      "no-end-point",
      `svc/${namespace}/${name}${port === undefined ? "" : `:${port}`} leads nowhere: policies see end points only`,
      {
        remedy: entry ? "see: fairlead services" : `its ports: ${portsOf(entries)}`,
      },
    );
  return {
    from: nameOfEnd(from),
    to: point.pod ?? point.address,
    connection: { from: endOf(from), to: { address: point.address }, protocol: protocol.toUpperCase(), port: point.port },
    through: `svc/${namespace}/${name}:${entry.port}`,
  };
}

function portsOf(entries: readonly ServiceEntry[]): string {
  return [...new Set(entries.map((entry) => `${entry.port}/${entry.protocol.toUpperCase()}`))].join(", ") || "none";
}

function portNamed(end: End, name: string): number {
  const ports = end.kind === "pod" ? end.pod.spec.containers.flatMap((container) => container.ports ?? []) : [];
  const found = ports.find((port) => port.name === name);
  if (!found) throw new FairleadError("no-port", `${nameOfEnd(end)} has no port named "${name}"`, { remedy: "write its number" });
  return found.containerPort;
}

function endOf(end: End): PolicyEnd {
  if (end.kind === "pod") return { pod: nameOfEnd(end) };
  if (end.kind === "node") return { node: end.node.metadata.name };
  if (end.kind === "address") return { address: end.address };
  if (end.kind === "outside") return { address: "198.51.100.10" };
  throw new FairleadError("no-such-end", `"${nameOfEnd(end)}" is a name: policies know pods and addresses`, {
    remedy: "write ns/pod, svc/ns/name or an address",
  });
}

function show({ from, to, connection, through }: Question, { verdict, walk }: PolicyExplanation, places: Places): string {
  const port = connection.port === undefined ? "" : `:${connection.port}`;
  const title = `${paint.name(from)} → ${paint.name(`${to}${port}`)} ${paint.dim(`${connection.protocol}${through === null ? "" : `, an end point of ${through}`}`)}`;
  const parts = walk.flatMap((way) => [
    paint.dim(`${way.direction === "egress" ? "out of" : "into"} ${way.subject}`),
    ...(way.tiers.length === 0 ? [`  ${mark("none")} ${way.says}`] : way.tiers.flatMap((tier) => showTier(tier, way.direction, places))),
  ]);
  const last = walk.at(-1);
  const says = last && last.verdict === verdict.verdict && last.tiers.length > 0 ? last.says : verdict.says;
  return [title, ...parts, "", `${verdict.verdict === "allow" ? paint.good("allowed") : paint.bad("denied")}: ${says}`].join("\n");
}

type Tier = DirectionWalk["tiers"][number];

function showTier({ tier, end, decision, policies }: Tier, direction: DirectionWalk["direction"], places: Places): string[] {
  const ends = decision === "none" ? "nothing decides" : decision === "pass" ? "the next tier decides" : "";
  return [
    `  ${paint.dim(`tier ${tier}${ends === "" ? "" : `: ${ends}`}`)}`,
    ...policies.flatMap((policy) => {
      const { kind, namespace, name } = policy.policy;
      const owner = `${kind} ${paint.name(`${namespace === undefined ? "" : `${namespace}/`}${name}`)}`;
      const tail = policy.decision === "none" && policy.rules.length === 0 ? " and has no rule here" : "";
      return [
        `    ${mark(policy.decision)} ${owner}  selects ${policy.selects}${policy.isolates ? ", and isolates" : ""}${tail}`,
        ...policy.rules.map((rule) => {
          const place = places.placeOf(rule.rule, rule.path);
          const decides = rule.matches ? rule.action : "no match";
          return `        ${rule.matches ? mark(rule.action === "pass" || rule.action === "log" ? "none" : rule.action) : paint.dim("·")} ${rule.path} ${decides}: ${rule.says}${place === null ? "" : `  ${paint.dim(place)}`}`;
        }),
        ...(policy.decision === "deny" && !policy.rules.some(({ matches, action }) => matches && action === "deny")
          ? [`        ${mark("deny")} no ${direction} rule matches, and tier ${tier} ends with ${end}`]
          : []),
      ];
    }),
  ];
}

function mark(decision: Tier["decision"]): string {
  if (decision === "none" || decision === "pass") return paint.dim("·");
  return decision === "allow" ? paint.good("✓") : paint.bad("✗");
}
