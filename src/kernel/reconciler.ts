// Keeps a namespace's kernel at the desired state: writes the difference, notices what others change, and mends it.
//
//   set(desired) ─────────────┐
//   event ▶ debounce ▶ stale ─┼▶ read stale parts ▶ diffState ▶ write each step ▶ believe it ┬▶ in sync
//   retry timer ──────────────┘          ▲                                                  │
//                                        └── what changed by itself, or failed (once) ◀─────┴▶ back-off
import { messageOf } from "../base/index.ts";
import { Alarm } from "./alarm.ts";
import { Belief, PARTS, type Part, partOf } from "./belief.ts";
import { diffState } from "./diff.ts";
import { Flapping } from "./flapping.ts";
import { nodePortProtocol } from "./ipvs/lingering.ts";
import type { WatchTopic } from "./kernel.ts";
import { interfaceOfSysctl } from "./keys.ts";
import { isMade } from "./link-diff.ts";
import { listChanges } from "./list-changes.ts";
import type { CreateReconciler, Ownership, Reconciler, ReconcilerClock, ReconcilerOptions, ReconcileStatus } from "./reconcile.ts";
import { diffSince } from "./since.ts";
import { type KernelState, MAIN_TABLE } from "./state.ts";
import { type ChangeStep, carryOut, type ObjectKind } from "./steps.ts";

const DEBOUNCE_MS = 20;
const LONGEST_DEBOUNCE_MS = 200;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5000;
/** Most sysctls tell nobody when they change. */
const SYSCTL_CHECK_MS = 1000;
/** Looking at IPVS takes one part in so many of the time. */
const IPVS_SHARE = 50;
/** Of so many services, one is read by itself for less than all. */
const READ_SINGLY = 8;
/** After a mend that took t, rest for 4 t, but no longer than this: a noisy neighbour table must not eat a core. */
const LONGEST_REST_MS = 500;
/** Rounds of write and read back in one run: structure first, then what hangs on it, then a proof. */
const ROUNDS = 4;

/** Steps that are written with one look at the kernel's events before and after. */
const BATCH = 256;
const IN_BATCHES: ReadonlySet<ObjectKind> = new Set(["address", "route", "neighbour", "fdb", "ipset", "ipvs"]);

/** What stands on no link. */
const UNLINKED: ReadonlySet<ObjectKind> = new Set(["sysctl", "table", "rule", "iptables", "ipset", "ipvs"]);

const STALE_BY: Readonly<Record<WatchTopic, readonly Part[]>> = {
  link: ["link"],
  address: ["address"],
  route: ["route"],
  local: ["local"],
  rule: ["rule"],
  neighbour: ["neighbour"],
  netconf: ["sysctl"],
  nft: ["table"],
  iptables: ["iptables"],
};

/** Parts of a state that most nodes have nothing of. */
const RARE = [
  ["iptables", "iptables"],
  ["ipsets", "ipset"],
  ["ipvs", "ipvs"],
] as const;

const SYSTEM_CLOCK: ReconcilerClock = {
  now: () => performance.now(),
  after: (milliseconds, action) => {
    const timer = setTimeout(action, milliseconds);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

export const createReconciler: CreateReconciler = (options) => new KernelReconciler(options);

const READING = "reading the kernel";

/** An object's failure or drift, told apart by kind and key. */
const nameOf = (step: ChangeStep): string => `${step.kind} ${step.object}`;

class KernelReconciler implements Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #clock: ReconcilerClock;
  readonly #belief = new Belief();
  readonly #flapping: Flapping;
  readonly #mend: Alarm;
  readonly #retry: Alarm;
  readonly #sysctlCheck: Alarm;
  readonly #quiet: Alarm;
  #desired: KernelState | undefined;
  /** What the kernel held when the last run ended; undefined if that failed. */
  #held: KernelState | undefined;
  #stopWatching: (() => void) | undefined;
  #closed = false;
  #firstEventAt: number | undefined;
  #restUntil = 0;
  #ipvsNext = 0;
  /** Of iptables, after the last run. */
  #iptablesStamp = "";
  #retryMs = FIRST_RETRY_MS;
  /** Failures of the last run by object. */
  #errors = new Map<string, string>();
  #status: ReconcileStatus = { inSync: false, runs: 0, failures: 0, drifts: 0, mended: {}, lastMs: 0 };

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#flapping = new Flapping(this.#clock);
    this.#mend = new Alarm(this.#clock, () => this.#onMend());
    this.#retry = new Alarm(this.#clock, () => this.#run("retry"));
    this.#sysctlCheck = new Alarm(this.#clock, () => this.#onSysctlCheck());
    this.#quiet = new Alarm(this.#clock, () => this.#tell({}));
  }

  get status(): ReconcileStatus {
    return this.#status;
  }

  set(desired: KernelState): ReconcileStatus {
    if (this.#closed) return this.#status;
    if (desired === this.#held && this.#belief.stale.size === 0) return this.#status;
    this.#recount(desired);
    // Where nothing else is wanted, all that differs is drift, also if it is looked at before its time.
    const why = desired === this.#desired ? "event" : "set";
    // Where nothing was wanted, others' changes were not listened to.
    for (const [key, part] of RARE) if (desired[key].length > 0 && this.#desired?.[key].length === 0) this.#belief.stale.add(part);
    this.#desired = desired;
    // Listening begins before the first reading, so that no change falls between them.
    this.#watch();
    this.#run(why);
    return this.#status;
  }

  /** Whether an end point may go at once depends on its connections, which the kernel counts and does not tell. */
  #recount(desired: KernelState): void {
    const { ipvs, stale } = this.#belief;
    if (ipvs.size === 0 || stale.has("ipvs") || desired.ipvs === this.#held?.ipvs) return;
    const { gone } = this.#held ? listChanges(this.#held.ipvs, desired.ipvs) : { gone: undefined };
    if (!gone || gone.length > ipvs.size / READ_SINGLY) stale.add("ipvs");
    else
      try {
        ipvs.recount(gone, this.#options.namespace);
      } catch {
        stale.add("ipvs");
      }
  }

  linksChanged(): void {
    this.#belief.stale.add("link").add("route").add("sysctl");
  }

  resync(): ReconcileStatus {
    if (this.#closed || !this.#desired) return this.#status;
    this.#mend.off();
    this.#firstEventAt = undefined;
    for (const part of PARTS) this.#belief.stale.add(part);
    this.#run("resync");
    return this.#status;
  }

  close(): void {
    this.#closed = true;
    this.#stopWatching?.();
    this.#stopWatching = undefined;
    for (const alarm of [this.#mend, this.#retry, this.#sysctlCheck, this.#quiet]) alarm.off();
  }

  #watch(): void {
    if (this.#options.watch === false || this.#stopWatching) return;
    const topics = Object.keys(STALE_BY) as WatchTopic[];
    this.#stopWatching = this.#options.namespace.watch(topics, (topic) => this.#onEvent(topic));
    this.#sysctlCheck.ring(SYSCTL_CHECK_MS);
  }

  #onEvent(topic: WatchTopic): void {
    if (this.#closed || !this.#desired || this.#isIdle(topic)) return;
    for (const part of STALE_BY[topic]) this.#belief.stale.add(part);
    const now = this.#clock.now();
    this.#firstEventAt ??= now;
    const debounced = Math.min(DEBOUNCE_MS, this.#firstEventAt + LONGEST_DEBOUNCE_MS - now);
    this.#mend.ring(Math.max(0, debounced, this.#restUntil - now, this.#flapping.hold));
  }

  /** Neighbours come and go with every conversation: where none are wanted, their events are not worth a listing. */
  #isIdle(topic: WatchTopic): boolean {
    const desired = this.#desired;
    if (topic === "neighbour") return desired?.neighbours.length === 0 && desired.fdb.length === 0;
    if (topic === "iptables") return desired?.iptables.length === 0;
    return topic === "nft" && desired?.tables.length === 0 && this.#options.owns.tables.length === 0;
  }

  #onMend(): void {
    this.#firstEventAt = undefined;
    this.#run("event");
  }

  #onSysctlCheck(): void {
    if (this.#closed) return;
    try {
      if (!this.#mend.isSet && this.#belief.sysctlsMoved(this.#options.namespace)) this.#onEvent("netconf");
    } catch {
      this.#onEvent("netconf");
    }
    this.#checkIptables();
    this.#checkIpvs();
    this.#sysctlCheck.ring(SYSCTL_CHECK_MS);
  }

  /** iptables-legacy tells nobody when it changes. */
  #checkIptables(): void {
    if (this.#desired?.iptables.length === 0 || this.#mend.isSet) return;
    const stamp = this.#options.namespace.iptables.stamp();
    if (stamp !== this.#iptablesStamp) this.#onEvent("iptables");
  }

  /** IPVS tells nobody when it changes, nor when the last connection to what is to end has ended. A long list is looked at less often. */
  #checkIpvs(): void {
    if (!this.#options.owns.ipvs || !(this.#belief.ipvs.size > 0 || (this.#desired?.ipvs.length ?? 0) > 0)) return;
    const start = this.#clock.now();
    if (this.#mend.isSet || start < this.#ipvsNext) return;
    try {
      if (this.#belief.ipvs.moved(this.#options.namespace)) {
        this.#held = undefined;
        this.#mend.ring(0);
      }
    } catch {
      this.#belief.stale.add("ipvs");
      this.#mend.ring(0);
    }
    this.#ipvsNext = start + (this.#clock.now() - start) * IPVS_SHARE;
  }

  /** One reconciliation. Never throws: what fails is in the status and is tried again. */
  #run(why: "set" | "resync" | "event" | "retry"): void {
    const desired = this.#desired;
    if (this.#closed || !desired) return;
    const start = this.#clock.now();
    this.#retry.off();
    const before = this.#errors;
    const errors = new Map<string, string>();
    const drift: ChangeStep[] = [];
    let wrote = 0;
    const held = this.#held;
    this.#held = undefined;
    try {
      wrote = this.#converge(
        desired,
        errors,
        (first) => {
          if (why !== "set" && this.#status.runs > 0) drift.push(...this.#driftIn(first, desired, before));
        },
        held,
      );
      if (errors.size === 0) this.#held = desired;
      if (desired.iptables.length > 0) this.#iptablesStamp = this.#options.namespace.iptables.stamp();
    } catch (error) {
      // Reading back failed: nothing is known for certain.
      for (const part of PARTS) this.#belief.stale.add(part);
      errors.set(READING, messageOf(error));
    }
    this.#errors = errors;
    const mended = drift.filter((step) => !errors.has(nameOf(step)));
    this.#flapping.note(mended.map(nameOf));
    const lastMs = this.#clock.now() - start;
    this.#restUntil = start + lastMs + Math.min(4 * lastMs, LONGEST_REST_MS);
    if (errors.size > 0) {
      this.#retry.ring(this.#retryMs);
      this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
    } else this.#retryMs = FIRST_RETRY_MS;
    if (this.#flapping.quietIn > 0) this.#quiet.ring(this.#flapping.quietIn + 1);
    // An event that concerned none of ours is no news.
    if (why === "event" && wrote === 0 && errors.size === 0 && before.size === 0) return;
    this.#tell({ mended, lastMs, ran: true });
  }

  /** Reads, diffs and writes until nothing differs or nothing more can be done. Returns the number of steps written. */
  #converge(
    desired: KernelState,
    errors: Map<string, string>,
    onFirst: (steps: readonly ChangeStep[]) => void,
    held: KernelState | undefined,
  ): number {
    const { namespace, owns } = this.#options;
    let wrote = 0;
    let failedRounds = 0;
    let known = held;
    for (let round = 0; ; round++) {
      const read = this.#belief.refresh(namespace, {
        neighboursMatter: (links) => concernsNeighbours(desired, links, owns),
        routeTables: () => [MAIN_TABLE, ...desired.routes.map(({ table }) => table)],
        iptables: owns.iptables !== undefined,
        ipvs: owns.ipvs,
      });
      this.#belief.follow(Object.keys(desired.sysctls), [...owns.tables, ...desired.tables], namespace);
      const steps = known ? diffSince({ held: known, read }, desired, this.#belief, owns) : diffState(desired, this.#belief.state(), owns);
      errors.clear();
      if (round === 0) onFirst(steps);
      if (steps.length === 0) return wrote;
      if (round === ROUNDS) {
        for (const step of steps) errors.set(nameOf(step), "the kernel took what was written but does not hold it");
        return wrote;
      }
      wrote += this.#write(steps, errors);
      // What was refused is read again.
      known = desired;
      if (errors.size > 0 && ++failedRounds === 2) return wrote;
      if (errors.size === 0 && this.#belief.stale.size === 0) return wrote;
    }
  }

  #write(steps: readonly ChangeStep[], errors: Map<string, string>): number {
    let wrote = 0;
    for (let at = 0; at < steps.length; ) {
      // A node's peers come by the thousand, and all that is announced of one batch must fit into the listening sockets.
      const batch = steps.slice(at, at + BATCH);
      const end = batch.findIndex((step) => !IN_BATCHES.has(step.kind));
      const taken = end < 0 ? batch : batch.slice(0, Math.max(1, end));
      at += taken.length;
      const write = () => {
        wrote += this.#writeEach(taken, errors);
      };
      if (taken.length > 1) this.#options.namespace.together(write);
      else write();
    }
    return wrote;
  }

  #writeEach(steps: readonly ChangeStep[], errors: Map<string, string>): number {
    let wrote = 0;
    for (const step of steps) {
      try {
        carryOut(this.#options.namespace, step);
        this.#belief.take(step);
        wrote++;
      } catch (error) {
        // The first refusal is the cause; what comes after on the same object follows from it.
        if (!errors.has(nameOf(step))) errors.set(nameOf(step), messageOf(error));
        this.#belief.stale.add(partOf(step));
        // The link that it stands on may be gone.
        if (!UNLINKED.has(step.kind)) this.#belief.stale.add("link");
      }
    }
    return wrote;
  }

  /** Which of the steps mend what others changed, rather than what failed before or has just arrived. */
  #driftIn(steps: readonly ChangeStep[], desired: KernelState, failedBefore: ReadonlyMap<string, string>): ChangeStep[] {
    // What could not be read, or not written since, nobody else has changed.
    if (failedBefore.has(READING)) return [];
    const others = new Set(desired.links.filter((link) => !isMade(link.kind)).map((link) => link.name));
    const arrived = (name: string) => others.has(name) && this.#belief.arrived.has(name);
    const device = this.#options.owns.ipvs?.device;
    // What had to wait for the end of connections.
    const expected = (step: ChangeStep) => {
      if (step.kind === "ipvs") return step.expected === true;
      if (step.kind === "ipset")
        return nodePortProtocol(step.set.name) !== undefined && (step.op === "delete" || step.delete !== undefined);
      return device !== undefined && "change" in step && step.change.op === "delete" && linksOf(step).includes(device);
    };
    return steps.filter((step) => !expected(step) && !failedBefore.has(nameOf(step)) && !linksOf(step).some(arrived));
  }

  #tell(news: { readonly mended?: readonly ChangeStep[]; readonly lastMs?: number; readonly ran?: boolean }): void {
    const { lastError: _old, ...status } = this.#status;
    const mended = { ...status.mended };
    for (const step of news.mended ?? []) mended[step.kind] = (mended[step.kind] ?? 0) + 1;
    const [first] = this.#errors;
    const rest = this.#errors.size - 1;
    const failure = first === undefined ? undefined : `${first[0]}: ${first[1]}${rest > 0 ? ` (and ${rest} more)` : ""}`;
    const lastError = failure ?? this.#flapping.says;
    this.#status = {
      ...status,
      inSync: lastError === undefined,
      runs: status.runs + (news.ran ? 1 : 0),
      failures: status.failures + (news.ran && failure !== undefined ? 1 : 0),
      drifts: status.drifts + (news.mended?.length ?? 0),
      mended,
      lastMs: news.lastMs ?? status.lastMs,
      ...(lastError === undefined ? {} : { lastError }),
    };
    this.#options.onStatus?.(this.#status);
  }
}

/** Whether neighbours and forwarding entries are wanted, or can be in the way, on a namespace's links. */
function concernsNeighbours(desired: KernelState, links: Iterable<string>, owns: Ownership): boolean {
  return desired.neighbours.length > 0 || desired.fdb.length > 0 || [...links].some(owns.links);
}

function linksOf(step: ChangeStep): readonly string[] {
  if (step.kind === "sysctl") return [interfaceOfSysctl(step.key) ?? ""];
  if (step.kind === "table" || step.kind === "iptables" || step.kind === "ipset" || step.kind === "ipvs") return [];
  const { change } = step;
  if ("link" in change) return [change.link.name];
  if ("address" in change) return [change.address.link];
  if ("neighbour" in change) return [change.neighbour.link];
  if ("fdb" in change) return [change.fdb.link];
  return "route" in change ? change.route.nexthops.flatMap((hop) => hop.link ?? []) : [];
}
