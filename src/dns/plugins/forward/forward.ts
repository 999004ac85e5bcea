// Asks other servers, in the order of a policy, until one answers or the time is over.
import { messageOf } from "../../../base/index.ts";
import { type Message, type Name, RCODE } from "../../message.ts";
import { alter, type Handler, type Outcome, type Query, type Reply, reply, replyOf } from "../../query.ts";
import { queryMessage } from "../../wire/codec.ts";
import { inZone } from "../../wire/names.ts";
import type { Upstream } from "./upstream.ts";

export interface ForwardOptions {
  readonly from: Name;
  readonly except: readonly Name[];
  readonly policy: "random" | "round_robin" | "sequential";
  readonly forceTcp: boolean;
  readonly preferUdp: boolean;
  /** Milliseconds for one answer. */
  readonly readTimeout: number;
  /** Queries at work; more are refused. */
  readonly maxConcurrent: number;
  /** Times that one query is tried; 0: as often as the time allows. */
  readonly maxAttempts: number;
  readonly failFast: boolean;
  /** Answers with these rcodes are asked for again at the next server. */
  readonly failover: readonly number[];
  /** With these rcodes the next forward of the block is asked. */
  readonly next: readonly number[];
  readonly nextOnNodata: boolean;
}

export interface ForwardTools {
  readonly upstreams: () => readonly Upstream[];
  readonly now: () => number;
  readonly random: () => number;
  /** Called where every upstream is down. */
  readonly allDown: () => void;
  readonly tooMany: () => void;
}

/** Milliseconds for one query over all attempts. */
const DEADLINE = 5000;

export function createForward(options: ForwardOptions, tools: ForwardTools, next: Handler): Handler {
  return new Forward(options, tools, next);
}

class Forward implements Handler {
  readonly name = "forward";
  readonly #options: ForwardOptions;
  readonly #tools: ForwardTools;
  readonly #next: Handler;
  #working = 0;
  #turn = 0;

  constructor(options: ForwardOptions, tools: ForwardTools, next: Handler) {
    this.#options = options;
    this.#tools = tools;
    this.#next = next;
  }

  serve(query: Query): Outcome {
    const { from, except, maxConcurrent } = this.#options;
    const excepted = query.name !== from && except.some((zone) => inZone(query.name, zone));
    if (!inZone(query.name, from) || excepted) return this.#next.serve(query);
    if (this.#working >= maxConcurrent) {
      this.#tools.tooMany();
      return reply("forward", { rcode: RCODE.REFUSED, error: `${maxConcurrent} queries are at work already` });
    }
    this.#working++;
    return this.#forward(query).finally(() => {
      this.#working--;
    });
  }

  async #forward(query: Query): Promise<Reply> {
    const answer = await this.#ask(query);
    if ("by" in answer) return answer;
    const { next, nextOnNodata } = this.#options;
    const onwards = next.includes(answer.rcode) || (nextOnNodata && answer.rcode === RCODE.NOERROR && answer.answers.length === 0);
    return onwards && this.#next.name === "forward" ? this.#next.serve(alter(query, {})) : replyOf("forward", answer);
  }

  async #ask(query: Query): Promise<Message | Reply> {
    const { maxAttempts, readTimeout, failover, failFast } = this.#options;
    const { now, random, allDown } = this.#tools;
    const list = this.#list();
    const end = now() + DEADLINE;
    const most = maxAttempts === 0 ? Number.POSITIVE_INFINITY : maxAttempts;
    let problem = "no upstream";
    let last: Message | undefined;
    for (let attempt = 0; attempt < most && list.length > 0; attempt++) {
      const left = end - now();
      if (left <= 0) break;
      const well = list.filter((each) => !each.down);
      if (well.length === 0) {
        allDown();
        if (failFast) return reply("forward", { rcode: RCODE.SERVFAIL, error: "every upstream is down" });
      }
      // Where all seem down the checks may be what is broken: any of them is tried.
      const upstream = well.length > 0 ? well[attempt % well.length] : list[Math.floor(random() * list.length)];
      if (!upstream) break;
      try {
        last = await this.#exchange(upstream, query, Math.min(readTimeout, left));
        if (!failover.includes(last.rcode) || attempt + 1 >= list.length) return last;
      } catch (error) {
        problem = messageOf(error);
        upstream.check();
      }
    }
    return last ?? reply("forward", { rcode: RCODE.SERVFAIL, error: problem });
  }

  async #exchange(upstream: Upstream, query: Query, timeout: number): Promise<Message> {
    const { forceTcp, preferUdp } = this.#options;
    const overTcp = forceTcp || (query.origin.transport === "tcp" && !preferUdp);
    const message = onwards(query);
    const answer = await upstream.ask(message, overTcp ? "tcp" : "udp", timeout);
    return answer.truncated && preferUdp && !overTcp ? upstream.ask(message, "tcp", timeout) : answer;
  }

  /** The upstreams in the order in which this query tries them. */
  #list(): readonly Upstream[] {
    const all = this.#tools.upstreams();
    if (all.length < 2 || this.#options.policy === "sequential") return all;
    if (this.#options.policy === "round_robin") {
      const first = this.#turn++ % all.length;
      return [...all.slice(first), ...all.slice(0, first)];
    }
    const mixed = [...all];
    for (let i = mixed.length - 1; i > 0; i--) {
      const j = Math.floor(this.#tools.random() * (i + 1));
      const [a, b] = [mixed[i], mixed[j]];
      if (a && b) [mixed[i], mixed[j]] = [b, a];
    }
    return mixed;
  }
}

/** The query as it goes to the upstream: what the asker wants to know and can take. */
function onwards(query: Query): Message {
  const { recursionDesired, authenticData, checkingDisabled, edns } = query;
  const flags = { recursionDesired, authenticData, checkingDisabled };
  const own = edns ? { edns: { ...edns, udpSize: query.udpSize } } : {};
  return queryMessage({ name: query.name, type: query.type, class: query.class }, { ...flags, ...own });
}
