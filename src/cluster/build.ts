// Builds snapshots from changes: each shares with the one before what did not change.
import type { KubeObject } from "../resources/index.ts";
import { Names } from "./names.ts";
import { ObjectPart, PodObjectPart, SliceObjectPart } from "./parts.ts";
import type { ClusterSnapshot, ObjectChange, ObjectMove } from "./snapshot.ts";

export interface SnapshotBuilder {
  /** Takes changes in; nothing is calculated until `snapshot` is asked. */
  apply(changes: Iterable<ObjectChange>): void;
  /** From now on a snapshot has at least this revision, also where nothing has changed. */
  revise(revision: number): void;
  /** The newest snapshot; the same object while nothing changed. */
  snapshot(): ClusterSnapshot;
}

const OWN_PARTS: Readonly<Record<string, keyof ClusterSnapshot>> = {
  "v1/Namespace": "namespaces",
  "v1/Node": "nodes",
  "v1/Pod": "pods",
  "v1/Service": "services",
  "discovery.k8s.io/v1/EndpointSlice": "endpointSlices",
  "networking.k8s.io/v1/NetworkPolicy": "networkPolicies",
  "v1/ConfigMap": "configMaps",
};

type AnyPart = ObjectPart<KubeObject>;

/** A builder that starts empty. */
export function createSnapshotBuilder(): SnapshotBuilder {
  const parts = new Map<string, AnyPart>();
  /** Kind → namespace → what changed since the last snapshot. */
  const drafts = new Map<string, Map<string, Map<string, KubeObject | undefined>>>();
  let current: ClusterSnapshot | undefined;
  let revision = 0;
  let least = 0;

  function draftOf(kind: string, namespace: string): Map<string, KubeObject | undefined> {
    let draft = drafts.get(kind);
    if (!draft) {
      draft = new Map();
      drafts.set(kind, draft);
    }
    let changes = draft.get(namespace);
    if (!changes) {
      changes = new Map();
      draft.set(namespace, changes);
    }
    return changes;
  }

  function part(kind: string): AnyPart {
    let found = parts.get(kind);
    if (!found) {
      found = makePart(kind, new Map());
      parts.set(kind, found);
    }
    return found;
  }

  return {
    apply(changes) {
      for (const { type, object } of changes) {
        const kind = `${object.apiVersion}/${object.kind}`;
        draftOf(kind, object.metadata.namespace ?? "").set(object.metadata.name, type === "DELETED" ? undefined : object);
      }
    },
    revise(next) {
      least = next;
    },
    snapshot() {
      if (current && drafts.size === 0 && revision >= least) return current;
      for (const [kind, draft] of drafts) {
        const older = part(kind);
        const namespaces = new Map(older.maps);
        const moves: ObjectMove<KubeObject>[] = [];
        for (const [namespace, changes] of draft) {
          const before = older.maps.get(namespace) ?? Names.EMPTY;
          const after = before.with(changes);
          if (after.size > 0) namespaces.set(namespace, after);
          else namespaces.delete(namespace);
          for (const [name, object] of changes) {
            const known: KubeObject | undefined = before.get(name);
            if (known !== object) moves.push({ before: known, after: object });
          }
        }
        const made = makePart(kind, namespaces);
        made.follows(older, moves);
        parts.set(kind, made);
      }
      drafts.clear();
      revision = Math.max(revision + 1, least);
      const own = Object.fromEntries(Object.entries(OWN_PARTS).map(([kind, field]) => [field, part(kind)]));
      const others = new Map([...parts].filter(([kind]) => !(kind in OWN_PARTS)));
      current = { revision, ...own, others } as unknown as ClusterSnapshot;
      return current;
    },
  };
}

function makePart(kind: string, namespaces: ReadonlyMap<string, Names<KubeObject>>): AnyPart {
  const maps = namespaces as unknown as ReadonlyMap<string, Names<never>>;
  if (kind === "v1/Pod") return new PodObjectPart(maps) as unknown as AnyPart;
  if (kind === "discovery.k8s.io/v1/EndpointSlice") return new SliceObjectPart(maps) as unknown as AnyPart;
  return new ObjectPart<KubeObject>(maps);
}

/** A snapshot of a list of objects. */
export function snapshotOf(objects: Iterable<KubeObject>): ClusterSnapshot {
  const builder = createSnapshotBuilder();
  builder.apply([...objects].map((object) => ({ type: "ADDED", object })));
  return builder.snapshot();
}

/** Every object of a snapshot: what `snapshotOf` makes the same snapshot of. */
export function objectsOf(snapshot: ClusterSnapshot): KubeObject[] {
  const { namespaces, nodes, pods, services, endpointSlices, networkPolicies, configMaps, others } = snapshot;
  const parts = [namespaces, nodes, pods, services, endpointSlices, networkPolicies, configMaps, ...others.values()];
  return parts.flatMap((part): KubeObject[] => [...part.values()]);
}
