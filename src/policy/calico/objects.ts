// Calico's objects in a snapshot: as its API server has them, or as they lie in the store where none runs.
import type { ClusterSnapshot, Part } from "../../cluster/index.ts";
import type { Owner } from "../../kernel/index.ts";
import type { KubeObject } from "../../resources/index.ts";

/** What stands in an object that no API server checked: anything. */
export type Fields = Readonly<Record<string, unknown>>;

/** One part for each kind. Where Calico's API serves a kind, the store's objects are the same ones once more, and are left out. */
export function calicoParts(snapshot: ClusterSnapshot, kinds: readonly string[]): readonly (Part<KubeObject> | undefined)[] {
  return kinds.map((kind) => {
    const served = snapshot.others.get(`projectcalico.org/v3/${kind}`);
    return served && served.size > 0 ? served : (snapshot.others.get(`crd.projectcalico.org/v1/${kind}`) ?? served);
  });
}

/** Calico's NetworkPolicy shares its kind's name with Kubernetes': its owner's kind is "NetworkPolicy.projectcalico.org", as kubectl takes it. */
export function ownerOf(object: KubeObject): Owner {
  const { name, namespace } = object.metadata;
  const kind = object.kind === "NetworkPolicy" ? "NetworkPolicy.projectcalico.org" : object.kind;
  return namespace === undefined ? { kind, name } : { kind, namespace, name };
}

/** Where the store keeps an object's own labels, which Kubernetes' are not. */
const METADATA = "projectcalico.org/metadata";

/** An object's labels, as Calico's API shows them. */
export function labelsOf({ metadata }: KubeObject): Readonly<Record<string, string>> {
  const stored = metadata.annotations?.[METADATA];
  if (stored === undefined) return metadata.labels ?? {};
  try {
    const { labels } = fieldsOf(JSON.parse(stored));
    const given = Object.entries(fieldsOf(labels)).filter((entry): entry is [string, string] => typeof entry[1] === "string");
    return { ...metadata.labels, ...Object.fromEntries(given) };
  } catch {
    return metadata.labels ?? {};
  }
}

/** How remarks call an object: "NetworkPolicy.projectcalico.org production/db". */
export function titleOf(owner: Owner): string {
  return `${owner.kind} ${owner.namespace === undefined ? "" : `${owner.namespace}/`}${owner.name}`;
}

export function specOf(object: KubeObject): Fields {
  return fieldsOf((object as { spec?: unknown }).spec);
}

export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
