// Bytes of a query in, bytes of its answer out: at once where the chain answers at once, else by a promise.
//
//   bytes ─▶ readQuery ─▶ block of the longest zone ─▶ chain of plugins ─▶ writeReply ─▶ bytes
//                └─ no query ─▶ a refusal, or nothing
import { messageOf } from "../../base/index.ts";
import type { Name } from "../message.ts";
import { CLASS, RCODE, TYPE } from "../message.ts";
import type { Answered, DnsLog } from "../plugin.ts";
import { alter, DROPPED, type Origin, type Outcome, type Query, type Reply, reply } from "../query.ts";
import type { Block, Listening } from "./configuration.ts";
import { readQuery, WireQuery } from "./query-reader.ts";
import { writeRefusal, writeReply } from "./reply-writer.ts";

/** Largest answer by UDP unless the plugin bufsize says otherwise: it fits every path's MTU, so no fragment is ever sent (DNS flag day 2020). */
const UDP_LIMIT = 1232;

export interface ResponderOptions {
  readonly now: () => number;
  readonly log?: DnsLog | undefined;
  /** Told of every answer, beside the blocks' own observers. */
  readonly observe?: ((answered: Answered) => void) | undefined;
}

export interface Counts {
  queries: number;
  /** Queries that wait for another server. */
  waiting: number;
  /** Bytes that were no query, or one that no plugin is asked about. */
  malformed: number;
}

/** Answers by one configuration's listener. */
export class Responder {
  readonly listening: Listening;
  readonly #options: ResponderOptions;
  readonly #counts: Counts;
  /** The block of the root zone, where it is the only one: the usual Corefile. */
  readonly #single: Block | undefined;

  constructor(listening: Listening, counts: Counts, options: ResponderOptions) {
    this.listening = listening;
    this.#options = options;
    this.#counts = counts;
    const [only] = listening.zones.get(".") ?? [];
    this.#single = listening.zones.size === 1 && only && only.filters.length === 0 ? only : undefined;
  }

  /** Undefined: no answer. Never throws, and its promise never rejects. */
  answer(bytes: Uint8Array, origin: Origin): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    try {
      return this.#answer(bytes, origin);
    } catch (error) {
      return this.#broken(error);
    }
  }

  /** A fault of the server's own: this query is lost, no other. */
  #broken(error: unknown): undefined {
    this.#options.log?.("error", "", `a query was lost: ${error instanceof Error ? error.stack : String(error)}`);
  }

  #answer(bytes: Uint8Array, origin: Origin): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    const query = readQuery(bytes, origin, UDP_LIMIT);
    this.#counts.queries++;
    if (!(query instanceof WireQuery)) {
      this.#counts.malformed++;
      return query.rcode === undefined ? undefined : writeRefusal(bytes, query.rcode, query.questionEnd);
    }
    const block = this.#blockOf(query);
    if (!block) return writeReply(query, REFUSED);
    const observed = block.observers.length > 0 || this.#options.observe !== undefined;
    const start = observed ? this.#options.now() : 0;
    const outcome = serve(block, query);
    if (!(outcome instanceof Promise)) return this.#finish(query, outcome, block, start);
    this.#counts.waiting++;
    return outcome
      .catch((error: unknown) => failed(error))
      .then((given) => {
        this.#counts.waiting--;
        return this.#finish(query, given, block, start);
      })
      .catch((error: unknown) => this.#broken(error));
  }

  #finish(query: WireQuery, given: Reply, block: Block, start: number): Uint8Array | undefined {
    let final = given;
    let bytes: Uint8Array | undefined;
    if (final !== DROPPED) {
      try {
        bytes = writeReply(query, final);
      } catch (error) {
        final = failed(error);
        bytes = writeReply(query, final);
      }
    }
    const { observe } = this.#options;
    if (block.observers.length > 0 || observe) {
      const answered = { query, reply: final, size: bytes?.length ?? 0, milliseconds: this.#options.now() - start };
      for (const each of block.observers) each(answered);
      observe?.(answered);
    }
    return bytes;
  }

  /** Answers a question of the server's own. */
  resolve(query: Query): Outcome {
    const own = alter(query, {});
    const block = this.#blockOf(own);
    return block ? serve(block, own) : REFUSED;
  }

  /** The block of the longest zone that takes the query; undefined where none does. Puts the zone into the query. */
  #blockOf(query: { -readonly [K in keyof Query]: Query[K] }): Block | undefined {
    if (query.class !== CLASS.IN && query.class !== CLASS.CH) return undefined;
    if (this.#single) return this.#single;
    const { zones } = this.listening;
    let parent: Block | undefined;
    for (let suffix: Name | undefined = query.name; suffix !== undefined; suffix = upwards(suffix)) {
      const block = zones.get(suffix)?.find((each) => each.filters.every((takes) => takes(query)));
      if (!block) continue;
      // A DS record lives above the cut, so the zone itself is asked only where nobody serves its parent (RFC 4035 §3.1.4.1).
      const above = query.type === TYPE.DS && suffix === query.name && suffix !== ".";
      if (!parent) query.zone = suffix;
      if (!above) {
        query.zone = suffix;
        return block;
      }
      parent ??= block;
    }
    return parent;
  }
}

const REFUSED = reply("", { rcode: RCODE.REFUSED });

function serve(block: Block, query: Query): Outcome {
  try {
    return block.chain.serve(query);
  } catch (error) {
    return failed(error);
  }
}

function failed(error: unknown): Reply {
  return reply("", { rcode: RCODE.SERVFAIL, error: messageOf(error) });
}

/** The name without its first label; undefined above the root. */
function upwards(name: Name): Name | undefined {
  if (name === ".") return undefined;
  let dot = name.indexOf(".");
  while (dot > 0 && name[dot - 1] === "\\") dot = name.indexOf(".", dot + 1);
  return dot + 1 >= name.length ? "." : name.slice(dot + 1);
}
