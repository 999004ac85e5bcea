// Announces load balancers' addresses on the node's outer link, and listens whether the other announcers are still there.
//
//   plan.announcement ─▶ own addresses: gratuitous ARP and neighbour advertisements, a heartbeat every 150 ms (UDP, multicast)
//   heartbeats of others ─▶ who is lost ─▶ the next plan
//
// The addresses themselves are put on the link by the reconciler, and answered by the kernel: an agent that stops leaves
// them answered.
import { createSocket, type Socket } from "node:dgram";
import { messageOf } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { NetworkNamespace } from "../kernel/index.ts";
import type { NodeFacts } from "../plan/index.ts";
import { type Announcement, announceFrame, electAnnouncer } from "../services/index.ts";
import { BEAT_MS, decodeBeat, encodeBeat, type Hearing, type HearingEvent, hear, SILENCE } from "./heartbeat.ts";

export interface AnnouncerOptions {
  readonly node: string;
  readonly namespace: NetworkNamespace;
  /** Other nodes are lost, or are back. */
  readonly changed: () => void;
  readonly log: (message: string) => void;
}

export interface Announcer {
  /** Nodes that are not heard any more. */
  readonly lost: ReadonlySet<string>;
  /** An agent that starts where addresses stand goes on with them, until those who should have them are heard. */
  adopt(snapshot: ClusterSnapshot, underlay: NodeFacts["underlay"], standing: readonly string[]): void;
  /** The kernel holds this now. */
  follow(announcement: Announcement, underlay: NodeFacts["underlay"], cluster: string): void;
  close(): void;
}

/** Link-local scope by its TTL; organisation-local groups that nobody assigns. */
const GROUPS = { 4: "239.255.84.84", 6: "ff12::8454" } as const;
/** Beside the tunnel's. */
const PORT = 8473;
/** An announcement may be lost: it is made again after so many milliseconds. */
const AGAIN_MS = [0, 100, 400, 1500] as const;

/** Starts with the first address that anybody on the link announces. */
export function createAnnouncer(options: AnnouncerOptions): Announcer {
  const { node, namespace, log } = options;
  const timers = new Set<NodeJS.Timeout>();
  let hearing: Hearing = SILENCE;
  let own: readonly string[] = [];
  let link = "";
  let cluster = "";
  let socket: Socket | undefined;
  let ticking: NodeJS.Timeout | undefined;
  let group = "";

  function happened(event: HearingEvent): void {
    const before = hearing.lost;
    hearing = hear(hearing, event);
    if (hearing.lost === before) return;
    for (const name of hearing.lost) if (!before.has(name)) log(`node ${name} is not heard any more: others announce its addresses`);
    for (const name of before) if (!hearing.lost.has(name)) log(`node ${name} is heard again`);
    options.changed();
  }

  function announce(addresses: readonly string[]): void {
    for (const after of AGAIN_MS) {
      const timer = setTimeout(() => {
        timers.delete(timer);
        try {
          const mac = namespace.listLinks().find((each) => each.name === link)?.mac;
          for (const address of addresses)
            if (mac !== undefined && own.includes(address)) namespace.sendFrame(link, announceFrame(address, mac));
        } catch (error) {
          log(`announcing ${addresses.join(", ")}: ${messageOf(error)}`);
        }
      }, after);
      timers.add(timer.unref());
    }
  }

  function tick(): void {
    // Whoever announces nothing need not be heard.
    if (own.length > 0) socket?.send(encodeBeat({ cluster, node }), PORT, group, () => {});
    happened({ type: "look", now: performance.now() });
  }

  function listen(underlay: NodeFacts["underlay"]): void {
    const first = underlay.addresses.find((address) => !address.includes(":")) ?? underlay.addresses[0];
    if (first === undefined) return;
    const family = first.includes(":") ? 6 : 4;
    const at = family === 4 ? first.replace(/\/.*/, "") : `::%${underlay.link}`;
    group = family === 4 ? GROUPS[4] : `${GROUPS[6]}%${underlay.link}`;
    try {
      const any = family === 4 ? "0.0.0.0" : "::";
      const fd = namespace.bindSocket({ protocol: "udp", address: any, port: PORT, reuseAddress: true });
      const made = createSocket({ type: family === 4 ? "udp4" : "udp6" });
      made.on("error", (error) => log(`heartbeats: ${messageOf(error)}`));
      made.on("message", (bytes) => {
        const beat = decodeBeat(bytes);
        if (beat?.cluster === cluster && beat.node !== node) happened({ type: "heard", node: beat.node, now: performance.now() });
      });
      made.bind({ fd }, () => {
        try {
          namespace.run(() => {
            made.addMembership(GROUPS[family], at);
            made.setMulticastInterface(at);
            made.setMulticastTTL(1);
          });
        } catch (error) {
          log(`heartbeats on ${underlay.link}: ${messageOf(error)}`);
        }
      });
      made.unref();
      socket = made;
      ticking = setInterval(tick, BEAT_MS).unref();
    } catch (error) {
      log(`heartbeats: ${messageOf(error)}`);
    }
  }

  return {
    get lost() {
      return hearing.lost;
    },
    adopt(snapshot, underlay, standing) {
      if (standing.length === 0) return;
      const { winners } = electAnnouncer(snapshot, { node, prefixes: underlay.addresses, lost: hearing.lost });
      const nodes = new Set(standing.flatMap((address) => winners.get(address) ?? []).filter((winner) => winner !== node));
      hearing = hear(hearing, { type: "presume", nodes, now: performance.now() });
    },
    follow(announcement, underlay, name) {
      link = underlay.link;
      cluster = name;
      const fresh = announcement.own.filter((address) => !own.includes(address));
      own = announcement.own;
      const expected = new Set([...announcement.winners.values()].filter((winner) => winner !== node));
      hearing = hear(hearing, { type: "expect", nodes: expected, now: performance.now() });
      if (announcement.winners.size > 0 && !socket) listen(underlay);
      if (fresh.length > 0) announce(fresh);
    },
    close() {
      clearInterval(ticking);
      for (const timer of timers) clearTimeout(timer);
      socket?.close();
    },
  };
}
