// How long a routed node keeps its end of the overlay's tunnel after the last node has left the overlay: until the new ways are there.
import type { ClusterSnapshot } from "../cluster/index.ts";
import { isOverlayNode } from "../datapath/overlay/index.ts";
import type { LearnedRoute } from "../datapath/routed/index.ts";
import { ACTIVE_NETWORK, AFFINITY_KIND, type BlockAffinity } from "../ipam/index.ts";
import type { Node } from "../resources/index.ts";

/** Others take a moment to follow, in milliseconds. */
const LEAST_MS = 5000;
/** BGP takes its time to bring the peers' blocks; what it has not brought after this long, it will not. */
const MOST_MS = 60_000;
const LOOK_AGAIN_MS = 1000;

export class OverlayTail {
  readonly #again: () => void;
  /** When a node of the overlay was last seen, in milliseconds. */
  #seen = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  /** `again` is called when the answer may be another. */
  constructor(again: () => void) {
    this.#again = again;
  }

  /** Whether packets may still have to come or go through the tunnel. `learned`: what BGP has brought; undefined where it carries no routes. */
  lingers(snapshot: ClusterSnapshot, node: string, learned: readonly LearnedRoute[] | undefined): boolean {
    const now = performance.now();
    if ([...snapshot.nodes.values()].some(isOverlay)) this.#seen = now;
    const since = now - this.#seen;
    const lingers = since < LEAST_MS || (since < MOST_MS && learned !== undefined && lacksBlocks(snapshot, node, learned));
    if (lingers)
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        this.#again();
      }, LOOK_AGAIN_MS).unref();
    return lingers;
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}

function isOverlay(node: Node): boolean {
  return isOverlayNode(node) && node.metadata.annotations?.[ACTIVE_NETWORK] !== "routed";
}

/** Whether another node has a block that nobody has announced. */
function lacksBlocks(snapshot: ClusterSnapshot, node: string, learned: readonly LearnedRoute[]): boolean {
  const known = new Set(learned.map(({ prefix }) => prefix));
  for (const object of snapshot.others.get(AFFINITY_KIND)?.values() ?? []) {
    const { spec } = object as BlockAffinity;
    if (spec.node !== node && spec.state === "confirmed" && snapshot.nodes.get(spec.node) && !known.has(spec.cidr)) return true;
  }
  return false;
}
