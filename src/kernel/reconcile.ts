// The one way down: diffs desired against observed state and brings the kernel there. See README.md for the order of steps.

import type { IptablesOwnership } from "./iptables/diff.ts";
import type { IpvsOwnership } from "./ipvs/lingering.ts";
import type { NetworkNamespace } from "./kernel.ts";
import type { KernelState } from "./state.ts";

/** Which of the objects found in the kernel are ours, so that those no longer wanted are swept. */
export interface Ownership {
  /** Links that Fairlead makes and deletes, by name: for example `cni0`, `flannel.1`. Neighbours, FDB entries and addresses on them are ours too. */
  readonly links: (name: string) => boolean;
  /** Routes and addresses of this protocol number are ours, on whatever link they stand. */
  readonly routeProtocol: number;
  /** nft tables that are ours. */
  readonly tables: readonly { readonly family: "inet" | "ip" | "ip6" | "bridge" | "netdev"; readonly name: string }[];
  /** Chains of iptables that are ours; absent: there are none, and iptables is not looked at. */
  readonly iptables?: IptablesOwnership;
  /** IPVS, its device and its sets; absent: IPVS is not looked at. */
  readonly ipvs?: IpvsOwnership;
}

export interface ReconcileStatus {
  readonly inSync: boolean;
  /** Reconciliations carried out, failures, and objects mended because something else changed them. */
  readonly runs: number;
  readonly failures: number;
  readonly drifts: number;
  /** Objects mended after drift, by kind: "link", "address", "route", "neighbour", "fdb", "rule", "sysctl", "table". */
  readonly mended: Readonly<Record<string, number>>;
  readonly lastError?: string;
  /** Milliseconds that the last run took. */
  readonly lastMs: number;
}

export interface Reconciler {
  /** States what the kernel must hold. Nothing is written before the first call. Runs at once, synchronously; a failure is retried with back-off and does not throw. Accepts the same state twice. */
  set(desired: KernelState): ReconcileStatus;
  readonly status: ReconcileStatus;
  /** Links were changed through the namespace's own handle, which no event tells of: the next run looks at them. */
  linksChanged(): void;
  /** Reads everything back now and mends what differs (what `watch` does by itself after an event). */
  resync(): ReconcileStatus;
  /** Stops watching and retrying. The kernel stays as it is. */
  close(): void;
}

export interface ReconcilerOptions {
  readonly namespace: NetworkNamespace;
  readonly owns: Ownership;
  /** Notice drift by events and mend it within a second. Default true. */
  readonly watch?: boolean;
  readonly onStatus?: (status: ReconcileStatus) => void;
  /** Time; the system's own if not given. */
  readonly clock?: ReconcilerClock;
}

export interface ReconcilerClock {
  /** Milliseconds since whenever, never going back. */
  readonly now: () => number;
  /** Calls once after so many milliseconds, without keeping the process alive. Returns the way to call it off. */
  readonly after: (milliseconds: number, action: () => void) => () => void;
}

export type CreateReconciler = (options: ReconcilerOptions) => Reconciler;
