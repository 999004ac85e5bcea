// One kind of an API server followed: list, then watch from there, and list again where the watch's history is gone.
//
//   list ──▶ differences to what is known ──▶ watch ─┬─ event ──▶ change
//    ▲                                         ▲     ├─ ended ──▶ watch again from the last version
//    └──────── 410, or an unknown fault ───────┼─────┘
//                                       back-off with jitter
import { messageOf } from "../../base/index.ts";
import { apiVersionOf, type KubeObject } from "../../resources/index.ts";
import { KubernetesApiError } from "../errors.ts";
import type { ObjectChange } from "../snapshot.ts";
import type { WatchedResource } from "../source.ts";
import type { ApiClient } from "./client.ts";
import { keyOf, pathOf } from "./paths.ts";
import { pause } from "./pause.ts";

export interface ReflectorOptions {
  readonly client: ApiClient;
  readonly resource: WatchedResource;
  readonly signal: AbortSignal;
  readonly change: (changes: readonly ObjectChange[]) => void;
  readonly keep?: (object: KubeObject) => KubeObject;
  /** Called after the first list. */
  readonly listed: () => void;
  readonly problem: (message: string) => void;
  /** Milliseconds to wait before the attempt with this number, from 1, since the last success. */
  readonly pause: (attempt: number) => number;
}

const PAGE = 500;
/** How long one watch lives, in seconds; more or less, so that not all end at once. */
const WATCH_SECONDS = 300;
/** A kind that the server does not have is looked for again after so many milliseconds. */
const ABSENT_PAUSE = 60_000;

interface List {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
  readonly metadata?: { readonly resourceVersion?: unknown; readonly continue?: unknown };
  readonly items?: unknown;
}

/** Follows the kind until the signal. Never throws: what goes wrong is told to `problem` and tried again. */
export async function reflect(options: ReflectorOptions): Promise<void> {
  const { signal } = options;
  const known = new Map<string, KubeObject>();
  let version: string | undefined;
  let attempt = 0;
  while (!signal.aborted) {
    try {
      if (version === undefined) {
        const listed = await list(options);
        replace(known, listed.objects, options);
        version = listed.version;
        options.listed();
      }
      const from = version;
      for await (const next of watch(options, known, from)) {
        version = next;
        attempt = 0;
      }
      // A server that ends watches at once is not asked without pause.
      attempt = version === from ? attempt + 1 : 0;
      if (attempt > 1) await pause(options.pause(attempt), signal);
    } catch (error) {
      if (signal.aborted) return;
      const status = error instanceof KubernetesApiError ? error.status : 0;
      if (status === 410) {
        // The history before this version is gone. The first time is ordinary; a server that says it again and again is spared.
        version = undefined;
        attempt += 1;
        if (attempt > 1) await pause(options.pause(attempt), signal);
        continue;
      }
      attempt += 1;
      // Only where nothing was known: what is known does not go because a proxy answers for a server that is away.
      if (status === 404 && version === undefined && known.size === 0) {
        replace(known, [], options);
        options.listed();
        await pause(ABSENT_PAUSE, signal);
        continue;
      }
      options.problem(`${options.resource.plural}: ${messageOf(error)}`);
      // A watch that broke goes on from its version; one that is refused again and again begins anew.
      if (attempt > 2) version = undefined;
      await pause(options.pause(attempt), signal);
    }
  }
}

async function list(options: ReflectorOptions): Promise<{ readonly objects: KubeObject[]; readonly version: string }> {
  const objects: KubeObject[] = [];
  let token = "";
  for (;;) {
    const query = new URLSearchParams({ limit: String(PAGE), ...(token ? { continue: token } : {}) });
    const answer = (await options.client.fetch({ path: `${pathOf(options.resource)}?${query}`, signal: options.signal })) as List | null;
    const version = answer?.metadata?.resourceVersion;
    if (typeof version !== "string" || !(Array.isArray(answer?.items) || answer?.items === null || answer?.items === undefined))
      throw new KubernetesApiError(0, "the answer is no list", { where: pathOf(options.resource) });
    for (const item of answer?.items ?? []) {
      const object = adopt(item, options.resource, answer?.kind);
      if (object) objects.push(options.keep?.(object) ?? object);
    }
    const next = answer?.metadata?.continue;
    if (typeof next !== "string" || next === "") return { objects, version };
    token = next;
  }
}

/** Takes a whole list in: only what differs from what is known is a change. */
function replace(known: Map<string, KubeObject>, objects: readonly KubeObject[], { change }: ReflectorOptions): void {
  const changes: ObjectChange[] = [];
  const gone = new Map(known);
  for (const object of objects) {
    const key = keyOf(object);
    const before = gone.get(key);
    gone.delete(key);
    if (before && before.metadata.uid === object.metadata.uid && before.metadata.resourceVersion === object.metadata.resourceVersion)
      continue;
    known.set(key, object);
    changes.push({ type: before ? "MODIFIED" : "ADDED", object });
  }
  for (const [key, object] of gone) {
    known.delete(key);
    changes.push({ type: "DELETED", object });
  }
  change(changes);
}

/** Takes events in; yields the version that each leads to. @throws KubernetesApiError */
async function* watch(options: ReflectorOptions, known: Map<string, KubeObject>, from: string): AsyncGenerator<string, void, void> {
  const { client, resource, signal, change } = options;
  const seconds = Math.round(WATCH_SECONDS * (0.75 + Math.random() / 2));
  const query = new URLSearchParams({
    watch: "true",
    resourceVersion: from,
    allowWatchBookmarks: "true",
    timeoutSeconds: String(seconds),
  });
  const path = `${pathOf(resource)}?${query}`;
  for await (const line of client.lines({ path, signal, idleMilliseconds: (seconds + 30) * 1000 })) {
    const event = (line ?? {}) as { readonly type?: unknown; readonly object?: unknown };
    if (event.type === "ERROR") {
      const { code, message } = (event.object ?? {}) as { readonly code?: unknown; readonly message?: unknown };
      throw new KubernetesApiError(typeof code === "number" ? code : 0, String(message ?? "the watch failed"), {
        where: path.split("?")[0] ?? "",
      });
    }
    const version = (event.object as KubeObject | null | undefined)?.metadata?.resourceVersion;
    if (event.type !== "BOOKMARK") {
      const whole = adopt(event.object, resource, undefined, known);
      if (!whole) continue;
      const object = options.keep?.(whole) ?? whole;
      if (event.type === "DELETED") {
        known.delete(keyOf(object));
        change([{ type: "DELETED", object }]);
      } else if (event.type === "ADDED" || event.type === "MODIFIED") {
        const type = known.has(keyOf(object)) ? "MODIFIED" : "ADDED";
        known.set(keyOf(object), object);
        change([{ type, object }]);
      } else continue;
    }
    if (typeof version === "string" && version !== "") yield version;
  }
}

/** An object of a list or an event, with apiVersion and kind, which the items of lists leave out; undefined if it is none. */
function adopt(
  value: unknown,
  resource: WatchedResource,
  listKind?: unknown,
  known?: ReadonlyMap<string, KubeObject>,
): KubeObject | undefined {
  const object = value as KubeObject | null | undefined;
  if (typeof object !== "object" || object === null || typeof object.metadata?.name !== "string") return undefined;
  if (object.apiVersion && object.kind) return object;
  const kind = typeof listKind === "string" ? listKind.replace(/List$/, "") : known?.values().next().value?.kind;
  if (!kind) return undefined;
  return { ...object, apiVersion: apiVersionOf(resource), kind };
}
