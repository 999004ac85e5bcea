// What is known here of an API server's objects: one reflector per kind, read at once.
import { deadline, FairleadError } from "../../base/index.ts";
import type { KubeObject } from "../../resources/index.ts";
import type { ReadableStore } from "../objects.ts";
import type { ObjectChange } from "../snapshot.ts";
import { NETWORK_RESOURCES, type WatchedResource } from "../source.ts";
import { followKubernetes, type KubernetesOptions } from "./kubernetes.ts";
import { keyOf } from "./paths.ts";

export interface KubernetesMirror extends ReadableStore {
  /** Whether the kind is followed. */
  holds(resource: WatchedResource): boolean;
  /** Resolves when the mirror knows the object as the server answered it, or newer; or that it is gone; after a while in any case. */
  caughtUp(resource: WatchedResource, answer: KubeObject): Promise<void>;
  close(): void;
}

/** How long the first lists may take, in milliseconds. */
const SYNC_MS = 30_000;
/** A watch is rarely so late, in milliseconds; whoever waits for it has waited long enough. */
const CATCH_UP_MS = 2000;

type Listener = (change: ObjectChange) => void;

/** Resolves when every kind has been listed. @throws FairleadError `not-synced` with the last problem */
export async function mirrorKubernetes(options: KubernetesOptions): Promise<KubernetesMirror> {
  const kinds = new Map<string, Kind>();
  for (const resource of options.resources ?? NETWORK_RESOURCES) kinds.set(nameOf(resource), new Kind());
  let problem = "";
  const onProblem = (message: string) => {
    problem = message;
    options.onProblem?.(message);
  };
  const stop = await new Promise<() => void>((resolve, reject) => {
    const change = (resource: WatchedResource, changes: readonly ObjectChange[]) => kinds.get(nameOf(resource))?.take(changes);
    const end = followKubernetes({ ...options, onProblem }, change, () => {
      endWait();
      resolve(end);
    });
    const endWait = deadline(SYNC_MS, () => {
      end();
      reject(
        new FairleadError("not-synced", `the API server did not list its objects within ${SYNC_MS / 1000} s${problem && `: ${problem}`}`),
      );
    });
  });
  return {
    holds: (resource) => kinds.has(nameOf(resource)),
    get: <T extends KubeObject>(resource: WatchedResource, namespace: string | undefined, name: string) =>
      kinds.get(nameOf(resource))?.objects.get(`${namespace ?? ""}/${name}`) as T | undefined,
    list: <T extends KubeObject>(resource: WatchedResource, { namespace }: { readonly namespace?: string } = {}) => {
      const all = [...(kinds.get(nameOf(resource))?.objects.values() ?? [])] as T[];
      return { items: namespace === undefined ? all : all.filter((object) => object.metadata.namespace === namespace) };
    },
    watch: (resource, _options, listener) => kinds.get(nameOf(resource))?.watch(listener) ?? (() => {}),
    caughtUp: async (resource, answer) => kinds.get(nameOf(resource))?.caughtUp(answer),
    close: () => stop(),
  };
}

/** The objects of one kind, and who follows them. */
class Kind {
  readonly objects = new Map<string, KubeObject>();
  readonly #listeners = new Set<Listener>();

  take(changes: readonly ObjectChange[]): void {
    for (const change of changes) {
      if (change.type === "DELETED") this.objects.delete(keyOf(change.object));
      else this.objects.set(keyOf(change.object), change.object);
      for (const listener of [...this.#listeners]) listener(change);
    }
  }

  watch(listener: Listener): () => void {
    this.#listeners.add(listener);
    for (const object of [...this.objects.values()]) listener({ type: "ADDED", object });
    return () => this.#listeners.delete(listener);
  }

  caughtUp(answer: KubeObject): Promise<void> {
    const { uid, resourceVersion = "" } = answer.metadata;
    const key = keyOf(answer);
    const before = this.objects.get(key);
    if (before && before.metadata.uid === uid && !isOlder(before, resourceVersion)) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        endWait();
        this.#listeners.delete(listener);
        resolve();
      };
      const listener: Listener = ({ type, object }) => {
        if (keyOf(object) === key && (type === "DELETED" || !isOlder(object, resourceVersion))) done();
      };
      const endWait = deadline(CATCH_UP_MS, done);
      this.#listeners.add(listener);
    });
  }
}

/** Versions of one kind are numbers that grow (KEP-5504); of a server that has others, the same version alone is known. */
function isOlder({ metadata: { resourceVersion = "" } }: KubeObject, than: string): boolean {
  if (/^\d+$/.test(resourceVersion) && /^\d+$/.test(than)) return BigInt(resourceVersion) < BigInt(than);
  return resourceVersion !== than;
}

function nameOf({ group, version, plural }: WatchedResource): string {
  return `${group}/${version}/${plural}`;
}
