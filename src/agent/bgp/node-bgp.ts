// A node's BGP at work: the plan in, the speaker and BFD kept as it says, learned routes out.
//
//   planBgp ──▶ Speaker (TCP 179, MD5, TTL) ──▶ learned routes ──▶ NodeFacts ──▶ planNode ──▶ kernel
//      ▲    └─▶ Bfd (UDP 3784) ──neighbour lost──┘
//   blocks, Services
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { messageOf } from "../../base/index.ts";
import { type Bfd, type PeerEvent, type PeerStatus, type Speaker, startBfd, startSpeaker } from "../../bgp/index.ts";
import type { ClusterSnapshot } from "../../cluster/index.ts";
import type { LearnedRoute, RoutedExports } from "../../datapath/routed/index.ts";
import { type NetworkNamespace, type SignatureCounters, signatureCounters } from "../../kernel/index.ts";
import { type BgpPlan, bgpParts, isForKernel, type Neighbour, planBgp } from "../../peering/index.ts";
import { type LearnedRoutes, openLearnedRoutes } from "./learned.ts";
import { bfdTransport, bgpTransport } from "./transport.ts";

export interface NodeBgpOptions {
  readonly node: string;
  readonly namespace: NetworkNamespace;
  readonly stateDirectory: string;
  readonly secrets: SecretSource;
  /** The learned routes are other now. */
  readonly changed: () => void;
  readonly log: (message: string) => void;
}

/** Named Secrets of the namespace that the cluster's network lives in; no others are read. */
export interface SecretSource {
  /** From now on these are at hand; `changed` is called when one comes, goes or is other. */
  follow(names: readonly string[], changed: () => void): void;
  /** A Secret's values, decoded; undefined: it is not there. */
  get(name: string): Readonly<Record<string, string>> | undefined;
  close(): void;
}

/** No Secrets at all. */
export const NO_SECRETS: SecretSource = { follow: () => undefined, get: () => undefined, close: () => undefined };

/** A neighbour with what the speaker and BFD say of it. */
export interface NeighbourState {
  readonly neighbour: Neighbour;
  /** Undefined: withheld. */
  readonly status: PeerStatus | undefined;
  readonly bfd: string | undefined;
  /** Refused signatures since the session was last up. */
  readonly signatures: SignatureCounters;
}

/** Seconds that the first sessions have to come up before what is learned counts as all there is. */
const SETTLE_MS = 10_000;
/** Seconds that a restarted agent waits for its neighbours before it speaks. */
const DEFERRAL_SECONDS = 20;
const MULTIPATH = 16;

export class NodeBgp {
  readonly #options: NodeBgpOptions;
  readonly #learned: LearnedRoutes;
  #plan: BgpPlan | undefined;
  /** What the plan was calculated from. */
  #parts: readonly unknown[] = [];
  #exports: RoutedExports | undefined;
  #speaker: Speaker | undefined;
  #speakerKey = "";
  #bfd: Bfd | undefined;
  readonly #signaturesBefore = new Map<string, SignatureCounters>();
  readonly #ended = new Set<string>();
  #settled = false;
  #settling: NodeJS.Timeout | undefined;
  #restarting = false;
  #failure: string | undefined;
  #pushed = false;

  constructor(options: NodeBgpOptions) {
    this.#options = options;
    this.#learned = openLearnedRoutes(join(options.stateDirectory, "learned-routes.json"), bootOf(options.namespace), options.log);
    this.#restarting = this.#learned.kept;
    this.#settled = this.#learned.kept;
  }

  /**
   * What the kernel's routes are made of; undefined while no speaker has had its time to hear of any: routes come from the blocks'
   * affinities then, so that pods need not wait for sessions.
   */
  get learned(): readonly LearnedRoute[] | undefined {
    if (!this.#settled) return undefined;
    const reaching = this.#plan?.reaching ?? [];
    const plan = this.#plan;
    const learned = plan ? this.#learned.list.filter(({ prefix }) => isForKernel(plan, prefix)) : this.#learned.list;
    return reaching.length === 0 ? learned : [...learned, ...reaching];
  }

  get plan(): BgpPlan | undefined {
    return this.#plan;
  }

  get speaker(): Speaker | undefined {
    return this.#speaker;
  }

  get restarting(): boolean {
    return this.#restarting && this.#speaker !== undefined;
  }

  get follows(): readonly string[] {
    return this.#plan?.follows ?? [];
  }

  get remarks(): readonly string[] {
    return [...(this.#plan?.remarks ?? []), ...(this.#failure === undefined ? [] : [`BGP: ${this.#failure}`])];
  }

  /** For the agent's status; null: BGP is off. */
  get summary(): { readonly as: number; readonly neighbours: number; readonly established: number } | null {
    if (!this.#plan) return null;
    const statuses = this.#speaker?.status() ?? [];
    const established = statuses.filter(({ phase }) => phase === "Established").length;
    return { as: this.#plan.localAs, neighbours: this.#plan.neighbours.length, established };
  }

  /** Follows what the node now answers for; undefined: BGP is off. */
  follow(snapshot: ClusterSnapshot, exports: RoutedExports | undefined): void {
    const parts = bgpParts(snapshot);
    if (parts.every((part, index) => part === this.#parts[index]) && isDeepStrictEqual(exports, this.#exports)) return;
    [this.#parts, this.#exports] = [parts, exports];
    const plan = exports?.bgp ? this.#planOf(snapshot, exports) : undefined;
    if (plan && this.#plan && isDeepStrictEqual(plan, this.#plan)) return;
    const before = this.#plan;
    this.#plan = plan;
    if (!plan) {
      this.#stop();
      return;
    }
    this.#options.secrets.follow(plan.secrets, () => {
      this.#parts = [];
      this.#options.changed();
    });
    try {
      this.#speak(plan);
      this.#failure = undefined;
    } catch (error) {
      this.#failure = messageOf(error);
      this.#options.log(`BGP: ${this.#failure}`);
    }
    if (!isDeepStrictEqual(before?.reaching, plan.reaching) || !isDeepStrictEqual(before?.notForKernel, plan.notForKernel)) this.#push();
  }

  neighbours(): NeighbourState[] {
    const statuses = new Map(this.#speaker?.status().map((status) => [status.name, status]));
    const bfd = new Map(this.#bfd?.status().map(({ address, state }) => [address, state]));
    const now = signatureCounters(this.#options.namespace);
    return (this.#plan?.neighbours ?? []).map((neighbour) => {
      const before = this.#signaturesBefore.get(neighbour.peer.name) ?? now;
      return {
        neighbour,
        status: statuses.get(neighbour.peer.name),
        bfd: bfd.get(neighbour.peer.address),
        signatures: {
          missing: now.missing - before.missing,
          unexpected: now.unexpected - before.unexpected,
          wrong: now.wrong - before.wrong,
        },
      };
    });
  }

  /** Stops without a word: the neighbours keep sending here, and the kernel goes on forwarding. */
  close(): void {
    clearTimeout(this.#settling);
    this.#bfd?.close();
    this.#speaker?.close({ restarting: true });
    this.#learned.close();
    this.#options.secrets.close();
  }

  #planOf(snapshot: ClusterSnapshot, { blocks, localPrefixes }: RoutedExports): BgpPlan | undefined {
    const { node, secrets } = this.#options;
    return planBgp(snapshot, {
      node,
      prefixes: [...blocks, ...localPrefixes],
      secret: ({ name, key }) => secrets.get(name)?.[key],
    });
  }

  #speak(plan: BgpPlan): void {
    const { namespace, node, log } = this.#options;
    const key = JSON.stringify([plan.localAs, plan.routerId, plan.clusterId, plan.listenPort, plan.addresses]);
    if (!this.#speaker || key !== this.#speakerKey) {
      this.#speaker?.close({ words: "settings changed" });
      this.#speakerKey = key;
      this.#speaker = startSpeaker({
        localAs: plan.localAs,
        routerId: plan.routerId,
        ...(plan.clusterId === undefined ? {} : { clusterId: plan.clusterId }),
        addresses: plan.addresses,
        hostName: node,
        multipath: MULTIPATH,
        transport: bgpTransport(namespace, { port: plan.listenPort, log }),
        restarting: this.#restarting,
        deferralSeconds: DEFERRAL_SECONDS,
        onRoutes: (changes) => {
          if (!this.#restarting && this.#learned.take(changes)) this.#push();
        },
        onEvent: (event) => this.#event(event),
      });
      if (!this.#settled) this.#settling ??= setTimeout(() => this.#settle(), SETTLE_MS).unref();
    }
    this.#speaker.setLocalRoutes(plan.routes);
    this.#speaker.setPeers(plan.peers);
    this.#watch(plan);
    const counters = signatureCounters(namespace);
    for (const { name } of plan.peers) if (!this.#signaturesBefore.has(name)) this.#signaturesBefore.set(name, counters);
    this.#checkSettled();
  }

  /** BFD runs only where it is asked for. */
  #watch(plan: BgpPlan): void {
    if (plan.bfd.length === 0 && !this.#bfd) return;
    this.#bfd ??= startBfd({
      transport: bfdTransport(this.#options.namespace, this.#options.log),
      onChange: (address, up, why) => {
        this.#options.log(`BFD: ${address} is ${up ? "up" : `down: ${why}`}`);
        if (!up) this.#speaker?.neighbourLost(address);
      },
    });
    this.#bfd.setPeers(plan.bfd);
  }

  #event(event: PeerEvent): void {
    const { log } = this.#options;
    if (event.type === "phase") {
      if (event.phase === "Established") log(`BGP: ${event.peer} is up`);
      else if (this.#up.delete(event.peer)) {
        this.#signaturesBefore.set(event.peer, signatureCounters(this.#options.namespace));
        log(`BGP: ${event.peer} is down: ${event.why ?? "no reason given"}`);
      }
      if (event.phase === "Established") this.#up.add(event.peer);
    } else if (event.type === "problem") log(`BGP: ${event.peer}: ${event.says}; ${event.action}`);
    else if (event.type === "end-of-rib") {
      this.#ended.add(event.peer);
      this.#checkSettled();
    } else if (event.type === "restarted") {
      // What was kept and nobody told again is gone.
      this.#restarting = false;
      if (this.#learned.replace(this.#speaker?.bestRoutes() ?? [])) this.#push();
    }
  }
  readonly #up = new Set<string>();

  /** Once all neighbours have told all they have, there is nothing more to wait for. */
  #checkSettled(): void {
    if (this.#settled || !this.#plan) return;
    if (this.#plan.peers.every(({ name }) => this.#ended.has(name))) this.#settle();
  }

  #settle(): void {
    clearTimeout(this.#settling);
    this.#settling = undefined;
    if (this.#settled) return;
    this.#settled = true;
    this.#push();
  }

  /** Tells of changes after this turn: a plan may be under way. */
  #push(): void {
    if (this.#pushed) return;
    this.#pushed = true;
    setImmediate(() => {
      this.#pushed = false;
      this.#options.changed();
    });
  }

  #stop(): void {
    clearTimeout(this.#settling);
    this.#settling = undefined;
    this.#settled = false;
    this.#restarting = false;
    this.#ended.clear();
    this.#bfd?.close();
    this.#bfd = undefined;
    this.#speaker?.close({ words: "BGP is off here" });
    this.#speaker = undefined;
    this.#speakerKey = "";
    this.#learned.replace([]);
  }
}

/** One life of a node's routes: they go with the kernel, and with the namespace. */
function bootOf(namespace: NetworkNamespace): string {
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${namespace.inode}`;
  } catch {
    return String(namespace.inode);
  }
}
