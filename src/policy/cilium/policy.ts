// Reads CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy at layers 3 and 4.
//
// What a policy denies and what it allows are two policies of the model: denials stand before whatever the default tier
// allows, in any language. Layer 7 is held with the rule (`application`), which allows nothing until a data path sees it.

import type { Owner } from "../../kernel/index.ts";
import type { KubeObject } from "../../resources/index.ts";
import { titleOf } from "../calico/objects.ts";
import { Place, type Remarks } from "../calico/place.ts";
import { ALL_LABELS, NO_LABELS } from "../labels.ts";
import { MAX_RULES } from "../limits.ts";
import {
  DEFAULT_TIER,
  DENY_FIRST,
  type Direction,
  NETWORK_POLICY_ORDER,
  type Policy,
  type ReadPolicy,
  type Rule,
  type Selection,
} from "../rules.ts";
import { readEntry } from "./rule.ts";
import { readNodes, readSubject } from "./selector.ts";

/** Kinds by "apiVersion/Kind", as a snapshot names its parts. */
export const CILIUM_POLICY_KINDS = ["cilium.io/v2/CiliumNetworkPolicy", "cilium.io/v2/CiliumClusterwideNetworkPolicy"] as const;

const FIELDS = [
  "endpointSelector",
  "nodeSelector",
  "ingress",
  "ingressDeny",
  "egress",
  "egressDeny",
  "labels",
  "enableDefaultDeny",
  "description",
  "log",
];
const DIRECTIONS: readonly Direction[] = ["ingress", "egress"];

/**
 * Reads one policy: its `spec`, and each of its `specs`. A subject that can't be read selects every pod of the policy's
 * namespace and allows nothing; that of a clusterwide policy selects nobody. Never throws.
 */
export function readCiliumPolicy(object: KubeObject): ReadPolicy {
  const { name } = object.metadata;
  const namespace = object.kind === "CiliumNetworkPolicy" ? (object.metadata.namespace ?? "default") : undefined;
  const owner: Owner = { kind: object.kind, ...(namespace === undefined ? {} : { namespace }), name };
  const said: string[] = [];
  const say = (path: string, says: string) => said.push(`${titleOf(owner)}: ${path}: ${says}`);
  const remarks: Remarks = { wrong: say, note: say };
  const { spec, specs } = object as { readonly spec?: unknown; readonly specs?: unknown };
  const places: { readonly place: Place; readonly prefix: string }[] = [];
  if (spec !== undefined && spec !== null) places.push({ place: new Place(spec, "spec", remarks), prefix: "" });
  for (const [index, place] of new Place(specs, "specs", remarks).items().entries()) places.push({ place, prefix: `specs.${index}.` });
  if (places.length === 0) say("spec", "there is neither spec nor specs, so it selects nobody");
  const policies = places.flatMap(({ place, prefix }) => readSpec(place, { namespace, owner, remarks, prefix }));
  return { policies, remarks: said };
}

interface SpecContext {
  readonly namespace: string | undefined;
  readonly owner: Owner;
  readonly remarks: Remarks;
  /** Of the rules' numbers: "specs.1.". */
  readonly prefix: string;
}

function readSpec(place: Place, context: SpecContext): Policy[] {
  place.object(FIELDS);
  const subject = readWhom(place, context.namespace);
  const isolates = readIsolation(place);
  const allowed = { ingress: [] as Rule[], egress: [] as Rule[] };
  const denied = { ingress: [] as Rule[], egress: [] as Rule[] };
  for (const direction of DIRECTIONS) {
    for (const [field, action] of [
      [direction, "allow"],
      [`${direction}Deny`, "deny"],
    ] as const) {
      const items = place.at(field).items();
      if (items.length > MAX_RULES) {
        place.at(field).wrong(`${items.length} entries are more than ${MAX_RULES}: none of them is in force`);
        continue;
      }
      for (const [index, item] of items.entries()) {
        const plain = context.prefix === "" && action === "allow";
        const owner = { ...context.owner, rule: plain ? index : `${context.prefix}${field}.${index}` };
        const entry = readEntry(item.value, item.path, {
          direction,
          action,
          namespace: context.namespace,
          owner,
          remarks: context.remarks,
        });
        (action === "allow" ? allowed : denied)[direction].push(...entry.rules);
        denied[direction].push(...entry.denials);
      }
    }
  }
  const nobody = subject === "unreadable";
  const common = { owner: context.owner, tier: DEFAULT_TIER.name, subject: nobody ? whoeverItMayBe(context.namespace) : subject };
  const host = (common.subject.kinds ?? []).includes("node") ? { host: { at: "connection", forwarded: false } as const } : {};
  const allow: Policy = {
    ...common,
    ...host,
    order: NETWORK_POLICY_ORDER,
    isolates: nobody ? DIRECTIONS : isolates,
    ingress: nobody ? [] : allowed.ingress,
    egress: nobody ? [] : allowed.egress,
  };
  if (denied.ingress.length + denied.egress.length === 0) return [allow];
  return [{ ...common, ...host, order: DENY_FIRST, isolates: [], ...denied }, allow];
}

/** An end point is isolated in the directions that have rules, unless the policy says otherwise. */
function readIsolation(place: Place): Direction[] {
  const given = place.at("enableDefaultDeny");
  given.object(["ingress", "egress"]);
  return DIRECTIONS.filter((direction) => {
    const said = given.at(direction);
    const byRules = place.at(direction).items().length + place.at(`${direction}Deny`).items().length > 0;
    if (!said.given) return byRules;
    if (typeof said.value === "boolean") return said.value;
    said.wrong(`${JSON.stringify(said.value)} is neither true nor false; whom the policy selects is isolated`);
    return true;
  });
}

function readWhom(place: Place, namespace: string | undefined): Selection | "unreadable" {
  const [ends, nodes] = [place.at("endpointSelector"), place.at("nodeSelector")];
  if (ends.given === nodes.given) {
    place.wrong(`a policy has one of endpointSelector and nodeSelector${ends.given ? ", not both" : ""}; ${whatFollows(namespace)}`);
    return "unreadable";
  }
  if (nodes.given && namespace !== undefined) {
    nodes.wrong(`nodes are selected by clusterwide policies only; ${whatFollows(namespace)}`);
    return "unreadable";
  }
  if (nodes.given) return readNodes(nodes) ?? "unreadable";
  const subject = readSubject(ends, namespace);
  if (subject === undefined) {
    ends.note(whatFollows(namespace));
    return "unreadable";
  }
  return subject === "nobody" ? { ...(namespace === undefined ? {} : { namespace }), labels: NO_LABELS } : subject;
}

function whoeverItMayBe(namespace: string | undefined): Selection {
  return namespace === undefined ? { labels: NO_LABELS } : { namespace, labels: ALL_LABELS };
}

function whatFollows(namespace: string | undefined): string {
  return namespace === undefined ? "it selects nobody" : "every pod of the namespace is isolated, and nothing is allowed";
}
