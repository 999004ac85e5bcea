// Calico's profiles as policies behind all tiers: what becomes of a host end point, or of a pod, that no policy decided about.
import type { ClusterSnapshot } from "../../cluster/index.ts";
import type { KubeObject } from "../../resources/index.ts";
import { endPoints } from "../end-points.ts";
import { ALL_LABELS } from "../labels.ts";
import {
  ANYONE,
  type Direction,
  type LabelledEnd,
  type Policy,
  PROFILE_TIER,
  type ReadPolicy,
  type Rule,
  type Selection,
} from "../rules.ts";
import { calicoParts, specOf, titleOf } from "./objects.ts";
import { Place, type Remarks } from "./place.ts";
import { readRule } from "./rule.ts";

/** The profile that is always there: it allows everything. */
const ALLOW_PROFILE = "projectcalico-default-allow";
const BOTH: readonly Direction[] = ["ingress", "egress"];

/** The profiles' policies, in the order in which each end point names its profiles. */
export function profilePolicies(snapshot: ClusterSnapshot): ReadPolicy {
  const [part] = calicoParts(snapshot, ["Profile"]);
  const remarks: string[] = [];
  const profiles = new Map<string, Pick<Policy, "ingress" | "egress" | "owner">>();
  for (const object of part?.values() ?? []) profiles.set(object.metadata.name, readProfile(object, remarks));
  const policies: Policy[] = [];
  for (const [name, profile] of profiles) {
    const subject = subjectOf(name);
    if (subject) policies.push({ ...profile, tier: PROFILE_TIER.name, order: name.startsWith("kns.") ? 0 : 1, subject, isolates: BOTH });
  }
  for (const end of endPoints(snapshot).ofKinds(["host"])) policies.push(...hostProfiles(end, profiles, remarks));
  return { policies, remarks };
}

function readProfile(object: KubeObject, said: string[]): Pick<Policy, "ingress" | "egress" | "owner"> {
  const owner = { kind: "Profile", name: object.metadata.name };
  const wrong = (path: string, says: string) => said.push(`${titleOf(owner)}: ${path}: ${says}`);
  const remarks: Remarks = { wrong, note: wrong };
  const place = new Place(specOf(object), "spec", remarks);
  place.object(["ingress", "egress", "labelsToApply"]);
  const rules = (direction: Direction): Rule[] =>
    place
      .at(direction)
      .items()
      .map((item, index) =>
        readRule(item.value, item.path, { namespace: undefined, direction, owner: { ...owner, rule: index }, remarks }),
      );
  return { owner, ingress: rules("ingress"), egress: rules("egress") };
}

/** "kns.NAMESPACE" and "ksa.NAMESPACE.ACCOUNT" are pods' profiles: without such an object they allow everything. */
function subjectOf(name: string): Selection | undefined {
  const [, namespace] = /^kns\.(.+)$/.exec(name) ?? [];
  if (namespace !== undefined) return { namespace, labels: ALL_LABELS };
  const [, of, account] = /^ksa\.([^.]+)\.(.+)$/.exec(name) ?? [];
  return of === undefined || account === undefined ? undefined : { namespace: of, serviceAccounts: [account], labels: ALL_LABELS };
}

/** A host end point's own profiles; without one it is closed. */
function hostProfiles(
  end: LabelledEnd,
  known: ReadonlyMap<string, Pick<Policy, "ingress" | "egress" | "owner">>,
  remarks: string[],
): Policy[] {
  const subject: Selection = { kinds: ["host"], names: [end.name], labels: ALL_LABELS };
  const tier = PROFILE_TIER.name;
  const names = end.host?.profiles ?? [];
  const policies = names.flatMap((name, order): Policy[] => {
    const profile = known.get(name) ?? (name === ALLOW_PROFILE ? allowProfile() : undefined);
    if (profile) return [{ ...profile, tier, order, subject, isolates: BOTH }];
    remarks.push(`${titleOf(end.owner)}: spec.profiles[${order}]: there is no Profile "${name}"; it allows nothing`);
    return [];
  });
  return policies.length > 0 ? policies : [{ owner: end.owner, tier, order: 0, subject, isolates: BOTH, ingress: [], egress: [] }];
}

function allowProfile(): Pick<Policy, "ingress" | "egress" | "owner"> {
  const owner = { kind: "Profile", name: ALLOW_PROFILE };
  const rule: Rule = { action: "allow", source: ANYONE, destination: ANYONE, traffic: "any", owner: { ...owner, rule: 0 } };
  return { owner, ingress: [rule], egress: [rule] };
}
