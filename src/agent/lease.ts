// One of many: a Lease in the API is held by one agent at a time, which does what is to be done once for a cluster.
import { messageOf } from "../base/index.ts";
import type { ClusterWriter, ObjectPlace } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";

export interface LeaseOptions {
  readonly writer: ClusterWriter;
  readonly place: ObjectPlace;
  readonly identity: string;
  /** Called while the lease is held; what it gives back is called when it is held no more. */
  readonly held: () => () => void;
  readonly log: (message: string) => void;
  /** Seconds that a holder may be silent. Default 15. */
  readonly seconds?: number;
}

interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

/**
 * Tries to hold the lease until closed. Time is this node's own: a holder counts as gone when its lease has not changed here for its
 * duration. Where a look comes late, this process or the API stood still, and the holder may not have been silent: little of it counts.
 */
export function holdLease(options: LeaseOptions): { close(): Promise<void> } {
  const { writer, place, identity, log, seconds = 15 } = options;
  const every = (seconds * 1000) / 5;
  let end: (() => void) | undefined;
  let timer: NodeJS.Timeout | undefined;
  let renewed = 0;
  let looked = performance.now();
  let seen: { readonly version: string | undefined; readonly silent: number } = { version: undefined, silent: 0 };
  let closed = false;

  const specOf = (transitions: number) => ({
    holderIdentity: identity,
    leaseDurationSeconds: seconds,
    renewTime: new Date().toISOString().replace("Z", "000Z"),
    leaseTransitions: transitions,
  });

  async function attempt(): Promise<boolean> {
    const found = (await writer.get(place)) as Lease | undefined;
    if (!found) {
      const object = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: metadataOf(place), spec: specOf(0) } as KubeObject;
      return (await writer.create(place, object)) !== undefined;
    }
    const { holderIdentity = "", leaseTransitions = 0, leaseDurationSeconds = seconds } = found.spec ?? {};
    const version = found.metadata.resourceVersion;
    const since = Math.min(performance.now() - looked, 2 * every);
    looked = performance.now();
    seen = { version, silent: version === seen.version ? seen.silent + since : 0 };
    const free = holderIdentity === "" || seen.silent > leaseDurationSeconds * 1000;
    if (holderIdentity !== identity && !free) return false;
    const transitions = holderIdentity === identity ? leaseTransitions : leaseTransitions + 1;
    const patch = { metadata: { resourceVersion: version }, spec: specOf(transitions) };
    return (await writer.patch(place, patch)) !== undefined;
  }

  async function run(): Promise<void> {
    let holds = end !== undefined && performance.now() - renewed < (seconds * 1000 * 2) / 3;
    try {
      holds = await attempt();
      if (holds) renewed = performance.now();
    } catch (error) {
      log(`lease ${place.name}: ${messageOf(error)}`);
    }
    if (closed) return;
    if (holds && !end) end = options.held();
    else if (!holds && end) {
      end();
      end = undefined;
    }
    timer = setTimeout(() => void run(), every).unref();
  }

  void run();
  return {
    async close() {
      closed = true;
      clearTimeout(timer);
      if (!end) return;
      end();
      await writer.patch(place, { spec: { holderIdentity: "" } }).catch(() => undefined);
    },
  };
}

function metadataOf({ namespace, name }: ObjectPlace): KubeObject["metadata"] {
  return { name, ...(namespace === undefined ? {} : { namespace }) };
}
