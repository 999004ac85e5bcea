// The relay's heart: every object's line once, and for every agent what it has not been told yet.
//
//   changes ──▶ lines by key ──▶ Needs: which nodes does it concern ──▶ each agent's queue of keys ──▶ its stream, as fast as it takes
//
// A queue holds keys, not lines: what changes often while an agent is slow is told once, as it is then, and a slow agent costs no more
// than the keys of what changed.
import type { ClusterSnapshot, ObjectChange } from "../cluster/index.ts";
import type { KubeObject, Pod } from "../resources/index.ts";
import { isRelayed, peerForm, wholeForm } from "./forms.ts";
import { COMPLETE, goneLine, keyOf, putLine } from "./lines.ts";
import type { Needs } from "./needs.ts";

/** Where an agent's lines go. */
export interface Sink {
  /** False: it takes no more until `drained` is called. */
  write(text: string): boolean;
}

export interface Member {
  /** It takes more again. */
  drained(): void;
  leave(): void;
  /** Keys that wait. */
  readonly waiting: number;
  /** For how long it has taken nothing, in milliseconds; 0: it takes what comes. */
  blockedFor(): number;
}

/** An object with its lines, each made when it is first needed. */
class Entry {
  readonly object: KubeObject;
  readonly #lines: { whole?: ReturnType<typeof putLine>; peer?: ReturnType<typeof putLine> } = {};

  constructor(object: KubeObject) {
    this.object = object;
  }

  line(form: "whole" | "peer"): ReturnType<typeof putLine> {
    const line = this.#lines[form] ?? putLine(form === "whole" ? this.object : peerForm(this.object as Pod));
    this.#lines[form] = line;
    return line;
  }
}

/** So many characters go to a stream at once. */
const CHUNK = 64 * 1024;

export class Fanout {
  readonly #needs: Needs;
  readonly #entries = new Map<string, Entry>();
  readonly #members = new Map<string, Set<Joined>>();
  readonly #stirred = new Set<Joined>();
  #scheduled: NodeJS.Immediate | undefined;

  constructor(needs: Needs) {
    this.#needs = needs;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Takes changes in, of which the snapshot is the outcome. */
  apply(changes: readonly ObjectChange[], snapshot: ClusterSnapshot): void {
    const relayed = changes.filter(({ object }) => isRelayed(object));
    for (const { type, object } of relayed) {
      const key = keyOf(object);
      if (type === "DELETED") this.#entries.delete(key);
      else this.#entries.set(key, new Entry(wholeForm(object)));
      if (!isPod(object)) for (const member of this.#everybody()) this.#stir(member, key);
    }
    this.#needs.apply(relayed, snapshot, {
      isWatched: (node) => this.#members.has(node),
      watched: () => this.#members.keys(),
      touch: (node, key) => {
        for (const member of this.#members.get(node) ?? []) this.#stir(member, key);
      },
    });
  }

  /** An agent comes: it is told all that its node needs, then what changes. */
  join(node: string, sink: Sink): Member {
    const member = new Joined(node, sink);
    const members = this.#members.get(node) ?? new Set();
    members.add(member);
    this.#members.set(node, members);
    for (const [key, { object }] of this.#entries) if (!isPod(object)) member.queue.add(key);
    for (const key of this.#needs.of(node)) member.queue.add(key);
    this.#flush(member);
    return {
      drained: () => {
        member.blockedSince = undefined;
        this.#flush(member);
      },
      leave: () => {
        members.delete(member);
        if (members.size === 0) this.#members.delete(node);
        this.#stirred.delete(member);
      },
      get waiting() {
        return member.queue.size;
      },
      blockedFor: () => (member.blockedSince === undefined ? 0 : performance.now() - member.blockedSince),
    };
  }

  *#everybody(): Iterable<Joined> {
    for (const members of this.#members.values()) yield* members;
  }

  #stir(member: Joined, key: string): void {
    member.queue.add(key);
    this.#stirred.add(member);
    this.#scheduled ??= setImmediate(() => {
      this.#scheduled = undefined;
      const stirred = [...this.#stirred];
      this.#stirred.clear();
      for (const each of stirred) this.#flush(each);
    });
  }

  #flush(member: Joined): void {
    while (member.blockedSince === undefined && member.queue.size > 0) {
      let chunk = "";
      for (const key of member.queue) {
        member.queue.delete(key);
        chunk += this.#lineFor(member, key);
        if (chunk.length >= CHUNK) break;
      }
      if (chunk !== "") this.#write(member, chunk);
    }
    // What was there when it came is told; later changes may already be among it.
    if (!member.complete && member.queue.size === 0 && member.blockedSince === undefined) {
      member.complete = true;
      this.#write(member, COMPLETE);
    }
  }

  #write(member: Joined, text: string): void {
    if (!member.sink.write(text)) member.blockedSince = performance.now();
  }

  /** What the agent must be told of a key; nothing if it knows. */
  #lineFor(member: Joined, key: string): string {
    const entry = this.#entries.get(key);
    if (!isPodKey(key)) return entry ? entry.line("whole").text : goneLine(key);
    const form = entry && this.#needs.formFor(member.node, key);
    if (!entry || form === undefined) return member.told.delete(key) ? goneLine(key) : "";
    const line = entry.line(form);
    if (member.told.get(key) === line.digest) return "";
    member.told.set(key, line.digest);
    return line.text;
  }
}

class Joined {
  readonly node: string;
  readonly sink: Sink;
  readonly queue = new Set<string>();
  /** Digests of the pods that it has been told of, by key. */
  readonly told = new Map<string, string>();
  blockedSince: number | undefined;
  complete = false;

  constructor(node: string, sink: Sink) {
    this.node = node;
    this.sink = sink;
  }
}

function isPodKey(key: string): boolean {
  return key.startsWith("v1|Pod|");
}

function isPod({ kind, apiVersion }: KubeObject): boolean {
  return kind === "Pod" && apiVersion === "v1";
}
