// fairlead policy check: policies that are invalid, or valid and hardly meant so.
import type { Command } from "commander";
import { assumeCluster, snapshotOf } from "../../cluster/index.ts";
import { checkPolicies, type PolicyFinding, policyParts } from "../../policy/index.ts";
import { Answer } from "../exit.ts";
import { labFlags } from "../lab-client.ts";
import { loadManifests } from "../manifests.ts";
import { NO_PLACES, readPlaces } from "../places.ts";
import { paint, printJson } from "../terminal.ts";
import { type ViewFlags, viewSnapshot } from "../views.ts";

export function command(command: Command): void {
  labFlags(command)
    .argument("[path...]", "manifests: files or folders; the lab's policies if left out")
    .option("--kubeconfig <file>", "the policies of another cluster")
    .option("--strict", "warnings count as well: exit status 1")
    .addHelpText(
      "after",
      "\nFinds: invalid fields, policies and peers that match nothing, names of ports that nobody has, rules that decide nothing, denials before what is allowed, DNS forgotten, probes denied.\nExit status: 0 nothing invalid, 1 something is (with --strict: or a warning).\n\nExamples:\n  fairlead policy check examples/shop\n  fairlead policy check --strict manifests/ -o json\n",
    )
    .action(async (paths: string[], flags: ViewFlags & { strict?: boolean }) => {
      const snapshot = paths.length > 0 ? snapshotOf(assumeCluster(loadManifests(paths))) : await viewSnapshot(flags);
      const places = paths.length > 0 ? readPlaces(paths) : NO_PLACES;
      const findings = checkPolicies(snapshot).map((finding) => ({ ...finding, place: places.placeOf(finding.policy, finding.path) }));
      const policies = policyParts(snapshot).reduce((sum, part) => sum + (part?.size ?? 0), 0);
      if (flags.output === "json") printJson({ policies, findings });
      else process.stdout.write(`${show(policies, findings)}\n`);
      if (findings.some(({ severity }) => flags.strict || severity === "invalid")) throw new Answer(1);
    });
}

type Placed = PolicyFinding & { readonly place: string | null };

function nameOwner({ kind, namespace, name }: PolicyFinding["policy"]): string {
  return `${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
}

function show(policies: number, findings: readonly Placed[]): string {
  const counted = `${policies} ${policies === 1 ? "policy" : "policies"}`;
  if (findings.length === 0) return `${paint.good("✓")} ${counted}: nothing to say`;
  const lines = findings.flatMap(({ severity, policy, path, says, remedy, place }) => [
    `${severity === "invalid" ? paint.bad("✗") : paint.warn("!")} ${paint.name(nameOwner(policy))} ${path}${place === null ? "" : `  ${paint.dim(place)}`}`,
    `  ${says}`,
    `  ${paint.dim(remedy)}`,
  ]);
  const invalid = findings.filter(({ severity }) => severity === "invalid").length;
  return [
    ...lines,
    "",
    `${counted}: ${invalid} invalid, ${findings.length - invalid} ${findings.length - invalid === 1 ? "warning" : "warnings"}`,
  ].join("\n");
}
