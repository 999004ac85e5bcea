// What a neighbour tells: events as they happen, its state when asked, and the lines of a monitor.
import type { Family } from "../../base/index.ts";
import type { LocalRoute } from "../rib/rib.ts";
import type { Phase, SessionFault } from "../session/session.ts";
import type { PeerConfig } from "./peer-config.ts";

export type PeerEvent =
  | { readonly type: "phase"; readonly peer: string; readonly phase: Phase; readonly why: string | undefined }
  | { readonly type: "problem"; readonly peer: string; readonly says: string; readonly action: string }
  | { readonly type: "end-of-rib"; readonly peer: string; readonly family: Family }
  /** What became of the routes of a session that ended: dropped, kept as stale, kept as a last resort; `sweep`: what is still stale went. */
  | { readonly type: "routes"; readonly peer: string; readonly family: Family; readonly what: "drop" | "stale" | "long-lived" | "sweep" }
  /** After a restart, all neighbours have sent their routes, or time is over: what is reported from now on is all there is. */
  | { readonly type: "restarted" };

export interface PeerStatus {
  readonly name: string;
  readonly address: string;
  readonly as: number | "external" | "internal";
  readonly type: "external" | "internal" | "client" | undefined;
  readonly phase: Phase;
  /** Seconds in the phase. */
  readonly forSeconds: number;
  /** Why the session is not up, or why it last went. */
  readonly lastError: string | undefined;
  readonly lastFault: SessionFault | undefined;
  readonly hostName: string | undefined;
  readonly holdSeconds: number | undefined;
  readonly families: readonly { readonly family: Family; readonly received: number; readonly sent: number; readonly kept: boolean }[];
  readonly messagesIn: number;
  readonly messagesOut: number;
  /** Attributes that were wrong but did not end the session (RFC 7606). */
  readonly problems: number;
}

/** One line of a monitor, without its time. */
export type MonitorLine =
  | PeerEvent
  | { readonly type: "message"; readonly direction: "in" | "out"; readonly peer: string; readonly hex: string }
  | { readonly type: "peer"; readonly peer: string; readonly config: PeerConfig }
  | { readonly type: "local"; readonly routes: readonly LocalRoute[] }
  | {
      readonly type: "speaker";
      readonly localAs: number;
      readonly routerId: string;
      readonly clusterId: string;
      readonly families: readonly Family[];
      readonly multipath: number;
      readonly routes: readonly LocalRoute[];
    };
