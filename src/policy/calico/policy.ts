// Reads Calico's NetworkPolicy and GlobalNetworkPolicy, and their staged kinds.

import type { KubeObject } from "../../resources/index.ts";
import { ALL_LABELS, NO_LABELS } from "../labels.ts";
import { MAX_RULES } from "../limits.ts";
import { DEFAULT_TIER, type Direction, type HostPart, type Policy, type ReadPolicy, type Rule, type Selection } from "../rules.ts";
import { type About, readCondition } from "./condition.ts";
import { ownerOf, specOf, titleOf } from "./objects.ts";
import { Place, type Remarks } from "./place.ts";
import { readRule } from "./rule.ts";

const FIELDS = ["tier", "order", "selector", "types", "ingress", "egress", "serviceAccountSelector", "performanceHints"];
const GLOBAL_FIELDS = [...FIELDS, "namespaceSelector", "doNotTrack", "preDNAT", "applyOnForward"];

/**
 * Reads one policy. A subject that can't be read selects nobody; a rule that is not understood fails closed (see readRule);
 * a policy that is too large denies everything to whom it selects. Never throws.
 */
export function readCalicoPolicy(object: KubeObject): ReadPolicy {
  const owner = ownerOf(object);
  const staged = object.kind.startsWith("Staged");
  const namespace = object.kind.includes("Global") ? undefined : (object.metadata.namespace ?? "default");
  const said: string[] = [];
  const remarks: Remarks = {
    wrong: (path, says) => said.push(`${titleOf(owner)}: ${path}: ${says}`),
    note: (path, says) => said.push(`${titleOf(owner)}: ${path}: ${says}`),
  };
  const place = new Place(specOf(object), "spec", remarks);
  place.object([...(namespace === undefined ? GLOBAL_FIELDS : FIELDS), ...(staged ? ["stagedAction"] : [])]);
  const isolates = readTypes(place);
  const rules = (direction: Direction): Rule[] => {
    const items = place.at(direction).items();
    if (items.length > 0 && !isolates.includes(direction)) {
      place.at(direction).note("these rules have no effect, because types does not name their direction");
      return [];
    }
    if (items.length > MAX_RULES) {
      place.at(direction).wrong(`${items.length} rules are more than ${MAX_RULES}: none of them is in force, so nothing is allowed`);
      return [];
    }
    return items.map((item, index) => readRule(item.value, item.path, { namespace, direction, owner: { ...owner, rule: index }, remarks }));
  };
  const host = namespace === undefined ? readHostPart(place) : undefined;
  const policy: Policy = {
    owner,
    tier: place.at("tier").text() ?? DEFAULT_TIER.name,
    order: readOrder(place.at("order")),
    subject: readSubject(place, namespace),
    isolates,
    ingress: rules("ingress"),
    egress: rules("egress"),
    ...(staged ? { staged: true as const } : {}),
    ...(host ? { host } : {}),
  };
  return { policies: [policy], remarks: said };
}

/** Without types: the directions that have rules, and ingress where there are none at all. */
function readTypes(place: Place): readonly Direction[] {
  const types = place.at("types").items();
  if (types.length === 0) {
    const [ingress, egress] = [place.at("ingress").items().length > 0, place.at("egress").items().length > 0];
    return [...(ingress || !egress ? (["ingress"] as const) : []), ...(egress ? (["egress"] as const) : [])];
  }
  const found = new Set<Direction>();
  for (const type of types) {
    if (type.value === "Ingress") found.add("ingress");
    else if (type.value === "Egress") found.add("egress");
    else {
      type.wrong(`${JSON.stringify(type.value)} is neither Ingress nor Egress; whom the policy selects is isolated both ways`);
      found.add("ingress").add("egress");
    }
  }
  return [...found];
}

/** Without an order a policy comes after all that have one. */
function readOrder(place: Place): number {
  if (!place.given) return Number.POSITIVE_INFINITY;
  if (typeof place.value === "number" && Number.isFinite(place.value)) return place.value;
  place.wrong(`${JSON.stringify(place.value)} is no number; the policy stands last in its tier`);
  return Number.POSITIVE_INFINITY;
}

function readSubject(place: Place, namespace: string | undefined): Selection {
  const read = (field: string, about: About) => {
    const text = place.at(field).text();
    if (text === undefined || text === "") return "all" as const;
    return place.at(field).understood(readCondition(text, about)) ?? "nobody";
  };
  const labels = read("selector", "ends");
  const accounts = read("serviceAccountSelector", "accounts");
  const namespaces = namespace === undefined ? read("namespaceSelector", "namespaces") : "all";
  if (labels === "nobody" || accounts === "nobody" || namespaces === "nobody") {
    place.note("its subject can't be read, so it selects nobody");
    return { ...(namespace === undefined ? {} : { namespace }), labels: NO_LABELS };
  }
  return {
    kinds: namespace === undefined ? ["pod", "host"] : ["pod"],
    view: "calico",
    ...(namespace === undefined ? {} : { namespace }),
    ...(namespaces === "all" ? {} : { namespaceSelector: namespaces }),
    ...(accounts === "all" ? {} : { serviceAccountSelector: accounts }),
    labels: labels === "all" ? ALL_LABELS : labels,
  };
}

function readHostPart(place: Place): HostPart {
  const flag = (field: string): boolean => {
    const { value } = place.at(field);
    if (value === undefined || value === null || typeof value === "boolean") return value === true;
    place.at(field).wrong(`${JSON.stringify(value)} is neither true nor false; it is taken as false`);
    return false;
  };
  const [untracked, beforeNat, forwarded] = [flag("doNotTrack"), flag("preDNAT"), flag("applyOnForward")];
  if (untracked && beforeNat) place.at("preDNAT").wrong("preDNAT and doNotTrack do not go together; the policy is taken as doNotTrack");
  if ((untracked || beforeNat) && !forwarded)
    place.at("applyOnForward").note("with preDNAT and doNotTrack it must be true: such a policy sees what is forwarded too");
  if (beforeNat && !untracked && place.at("egress").items().length > 0)
    place.at("egress").note("a preDNAT policy is about what comes in: these rules have no effect");
  return { at: untracked ? "untracked" : beforeNat ? "before-nat" : "connection", forwarded: forwarded || untracked || beforeNat };
}
