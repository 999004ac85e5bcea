// End points that are no pods: Calico's host end points and network sets, Cilium's CIDR groups, and nodes, each with labels and addresses.
import type { ClusterSnapshot, Part } from "../cluster/index.ts";
import type { KubeObject, Node } from "../resources/index.ts";
import { readHostEndpoint, readNet, readNetworkSet } from "./calico/ends.ts";
import { calicoParts, fieldsOf, specOf } from "./calico/objects.ts";
import { Place } from "./calico/place.ts";
import { blockOf, nodeAddresses } from "./ends.ts";
import type { EndKind, LabelledEnd } from "./rules.ts";

export interface EndRegistry {
  readonly all: readonly LabelledEnd[];
  readonly remarks: readonly string[];
  ofKinds(kinds: readonly EndKind[]): readonly LabelledEnd[];
}

const CIDR_GROUPS = ["cilium.io/v2/CiliumCIDRGroup", "cilium.io/v2alpha1/CiliumCIDRGroup"] as const;

const registries = new WeakMap<Part<Node>, { readonly parts: readonly unknown[]; readonly registry: EndRegistry }>();

/** The parts of a snapshot that end points other than pods are read from. */
export function endParts(snapshot: ClusterSnapshot): readonly (Part<KubeObject> | undefined)[] {
  return [
    snapshot.nodes,
    ...calicoParts(snapshot, ["HostEndpoint", "NetworkSet", "GlobalNetworkSet", "Profile"]),
    ...CIDR_GROUPS.map((kind) => snapshot.others.get(kind)),
  ];
}

/** Every end point that is no pod; kept while the objects are the same. */
export function endPoints(snapshot: ClusterSnapshot): EndRegistry {
  const parts = endParts(snapshot);
  const known = registries.get(snapshot.nodes);
  if (known && parts.every((part, index) => part === known.parts[index])) return known.registry;
  const registry = makeRegistry(snapshot);
  registries.set(snapshot.nodes, { parts, registry });
  return registry;
}

function makeRegistry(snapshot: ClusterSnapshot): EndRegistry {
  const all: LabelledEnd[] = [];
  const remarks: string[] = [];
  for (const node of snapshot.nodes.values()) all.push(nodeEnd(node));
  const [hosts, profiles, ...sets] = calicoParts(snapshot, ["HostEndpoint", "Profile", "NetworkSet", "GlobalNetworkSet"]);
  const lent = (name: string) => labelsLentBy(profiles?.get(name));
  for (const object of hosts?.values() ?? []) all.push(...readHostEndpoint(object, remarks, lent));
  for (const part of sets) for (const object of part?.values() ?? []) all.push(readNetworkSet(object, remarks));
  const groups = new Map<string, KubeObject>();
  for (const kind of CIDR_GROUPS) for (const object of snapshot.others.get(kind)?.values() ?? []) groups.set(object.metadata.name, object);
  for (const object of groups.values()) all.push(groupEnd(object, remarks));
  const byKind = Map.groupBy(all, ({ kind }) => kind);
  return { all, remarks, ofKinds: (kinds) => kinds.flatMap((kind) => (kind === "pod" ? [] : (byKind.get(kind) ?? []))) };
}

/** The labels that a profile gives to the end points that have it. */
function labelsLentBy(profile: KubeObject | undefined): Readonly<Record<string, string>> {
  const { labelsToApply } = profile ? specOf(profile) : {};
  const entries = Object.entries(fieldsOf(labelsToApply)).filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return Object.fromEntries(entries);
}

function nodeEnd(node: Node): LabelledEnd {
  const { name, labels } = node.metadata;
  return { kind: "node", owner: { kind: "Node", name }, name, labels: labels ?? {}, blocks: nodeAddresses(node).map(blockOf) };
}

function groupEnd(object: KubeObject, remarks: string[]): LabelledEnd {
  const { name, labels } = object.metadata;
  const say = (path: string, says: string) => remarks.push(`CiliumCIDRGroup ${name}: ${path}: ${says}`);
  const place = new Place((object as { spec?: unknown }).spec, "spec", { wrong: say, note: say });
  place.object(["externalCIDRs"]);
  const blocks = place.at("externalCIDRs").items().flatMap(readNet);
  return { kind: "group", owner: { kind: "CiliumCIDRGroup", name }, name, labels: labels ?? {}, blocks };
}
