// Walks a look-up to its end, by whatever carries the questions: sockets in a pod's namespace, or a calculation.
import { glibc } from "./glibc.ts";
import type { Ask, LookupEvent, LookupOptions, LookupResult, LookupStep, Resolver } from "./lookup.ts";
import { musl } from "./musl.ts";
import { formatResolvConf, parseResolvConf, type ResolvConf } from "./resolv-conf.ts";

/** What came back to one question. */
export interface Reply {
  readonly rcode: number;
  /** Records in the answer section. */
  readonly records: number;
  readonly truncated?: boolean;
}

/** Carries one question; undefined when no answer came within `waitMs`. */
export type Exchange<R extends Reply> = (ask: Ask, waitMs: number) => Promise<R | undefined>;

export interface WalkStep<R extends Reply> {
  readonly ask: Ask;
  /** undefined: nobody answered, or the look-up was over before. */
  readonly reply: R | undefined;
}

export interface Walk<R extends Reply> {
  /** In the order in which the questions went out. */
  readonly steps: readonly WalkStep<R>[];
  readonly result: LookupResult;
}

/** Asks what the resolver asks, until it has its answer. */
export async function walkLookup<R extends Reply>(options: LookupOptions, exchange: Exchange<R>): Promise<Walk<R>> {
  // musl reads the same file differently.
  const conf = parseResolvConf(formatResolvConf(options.conf), options.resolver);
  return options.resolver === "glibc" ? follow(glibc, { ...options, conf }, exchange) : follow(musl, { ...options, conf }, exchange);
}

async function follow<State, R extends Reply>(resolver: Resolver<State>, options: LookupOptions, exchange: Exchange<R>): Promise<Walk<R>> {
  const asked: Ask[] = [];
  const replies = new Map<number, R>();
  const events: LookupEvent[] = [];
  let open = 0;
  let wake = () => {};
  const send = (step: LookupStep<State>) => {
    for (const ask of step.asks) {
      asked.push(ask);
      open++;
      void exchange(ask, step.waitMs).then((reply) => {
        open--;
        if (reply) {
          replies.set(ask.id, reply);
          events.push({ type: "answer", ask, rcode: reply.rcode, records: reply.records, truncated: reply.truncated ?? false });
        }
        // All of the step were waited for, and not all answered.
        if (open === 0) events.push({ type: "timeout" });
        wake();
      });
    }
  };
  let step = resolver.start(options);
  send(step);
  while (!step.result) {
    const event = events.shift();
    if (!event) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      continue;
    }
    // New questions went out since: their time is not over.
    if (event.type === "timeout" && open > 0) continue;
    step = resolver.step(step.state, event);
    send(step);
  }
  return { steps: asked.map((ask) => ({ ask, reply: replies.get(ask.id) })), result: step.result };
}

/** One way of asking for less. */
export interface Alternative {
  readonly way: "as configured" | "trailing dot" | "ndots" | "autopath";
  /** What to change: "ndots:2", "mysql.production.svc.cluster.local." */
  readonly change: string;
  readonly questions: number;
}

/**
 * What a trailing dot, another ndots or autopath would save: the same look-up walked again, with answers by name and type
 * (`exchange` should remember them, as questions may repeat). Only ways that find the same name are listed, the sparest first.
 */
export async function alternatives<R extends Reply>(
  options: LookupOptions,
  walk: Walk<R>,
  exchange: Exchange<R>,
): Promise<readonly Alternative[]> {
  const found = walk.result.name;
  const now: Alternative = { way: "as configured", change: "", questions: walk.steps.length };
  if (found === undefined) return [now];
  const others: Alternative[] = [];
  const tryWay = async (way: Alternative["way"], change: string, changed: LookupOptions) => {
    const other = await walkLookup(changed, exchange);
    if (other.result.name?.toLowerCase() === found.toLowerCase() && other.steps.length < now.questions)
      others.push({ way, change, questions: other.steps.length });
  };
  await tryWay("trailing dot", found, { ...options, name: found });
  let sparest: number | undefined;
  for (let ndots = 1; ndots <= 5; ndots++) {
    const before = others.length;
    await tryWay("ndots", `ndots:${ndots}`, { ...options, conf: withNdots(options.conf, ndots) });
    const added = others[before];
    if (!added) continue;
    // The highest ndots of those that save the most changes the least.
    if (sparest !== undefined && added.questions > sparest) others.pop();
    else {
      others.splice(0, others.length, ...others.filter((other) => other.way !== "ndots" || other === added));
      sparest = added.questions;
    }
  }
  const asked = walk.steps[0]?.ask;
  // autopath answers the first search element's question with what the server finds further down the path (a CNAME).
  if (asked?.search !== undefined && asked.name !== found) {
    const first = walk.steps.filter(({ ask }) => ask.name === asked.name && !ask.again).length;
    if (first < now.questions) others.push({ way: "autopath", change: "autopath @kubernetes", questions: first });
  }
  return [now, ...others.sort((a, b) => a.questions - b.questions)];
}

function withNdots(conf: ResolvConf, ndots: number): ResolvConf {
  return { ...conf, options: [...conf.options.filter(([name]) => name !== "ndots"), ["ndots", String(ndots)]] };
}
