// A name's look-up told as a story: each question on the wire, who answered it and from what, and what would ask for less.
import { tryParseAddress } from "../../base/index.ts";
import { rcodeName, typeName } from "../message.ts";
import type { ObjectName } from "./explain.ts";
import type { Ask, LookupResult } from "./lookup.ts";
import type { ResolvConf, ResolverKind } from "./resolv-conf.ts";
import { type Alternative, alternatives, type Exchange, type Reply, walkLookup } from "./walk.ts";

/** What came back to one question. */
export interface WireReply extends Reply {
  /** "10.96.1.2": the data of each record of the answer section, as a zone file has it. */
  readonly answers: readonly string[];
  readonly milliseconds: number;
}

/** What is known of an answer beside its text. */
export interface AnswerDetails {
  /** The pod (or address) that answered; null where that is not known. */
  readonly by: string | null;
  /** The Corefile's plugin that the answer comes from, by calculation. */
  readonly plugin: string | null;
  readonly objects: readonly ObjectName[];
  readonly says: string | null;
}

/** One question, as `dns query -o json` prints it. */
export interface ToldQuestion {
  readonly name: string;
  readonly type: string;
  readonly server: string;
  readonly transport: "udp" | "tcp";
  /** The element of the search path that was added; null for the name as it is. */
  readonly search: string | null;
  readonly again: boolean;
  /** Null: nobody answered in time, or nobody had to any more. */
  readonly rcode: string | null;
  readonly answers: readonly string[];
  readonly ms: number | null;
  readonly by: string | null;
  readonly plugin: string | null;
  readonly objects: readonly ObjectName[];
  readonly says: string | null;
}

export interface ToldQuery {
  readonly name: string;
  readonly from: string;
  readonly resolver: ResolverKind;
  readonly resolvConf: ResolvConf;
  /** By calculation: nothing was sent. */
  readonly calculated: boolean;
  readonly questions: readonly ToldQuestion[];
  readonly outcome: LookupResult["outcome"];
  /** The name that was found, with its final dot; null if none. */
  readonly found: string | null;
  readonly addresses: readonly string[];
  readonly ms: number;
  readonly alternatives: readonly Alternative[];
  /** Why no question was asked: an address, or a line of /etc/hosts. */
  readonly local: string | null;
}

export interface QueryOptions<R extends WireReply> {
  readonly name: string;
  readonly from: string;
  readonly resolver: ResolverKind;
  readonly conf: ResolvConf;
  readonly types: readonly number[];
  /** The text of the pod's /etc/hosts. */
  readonly hosts: string;
  readonly calculated: boolean;
  readonly exchange: Exchange<R>;
  /** Asked of each answer once the look-up is over, so that finding out takes none of its time. */
  readonly details: (ask: Ask, reply: R) => AnswerDetails | Promise<AnswerDetails>;
}

/** Looks the name up, and then (asking only what was not asked yet) in the ways that might take fewer questions. */
export async function tellQuery<R extends WireReply>(options: QueryOptions<R>): Promise<ToldQuery> {
  const { name, from, resolver, conf, types, calculated } = options;
  const head = { name, from, resolver, resolvConf: conf, calculated };
  const local = localAnswer(name, options.hosts);
  if (local)
    return {
      ...head,
      questions: [],
      outcome: "found",
      found: null,
      addresses: local.addresses,
      ms: 0,
      alternatives: [],
      local: local.says,
    };
  const known = new Map<string, R>();
  const keyOf = (ask: Ask) => `${ask.name} ${ask.type} ${ask.server}`;
  const lookup = { resolver, conf, name, types };
  const started = performance.now();
  const walk = await walkLookup(lookup, async (ask, waitMs) => {
    const reply = await options.exchange(ask, waitMs);
    if (reply) known.set(keyOf(ask), reply);
    return reply;
  });
  const ms = round(performance.now() - started);
  const other: Exchange<R> = async (ask, waitMs) => {
    const reply = known.get(keyOf(ask)) ?? (await options.exchange(ask, Math.min(waitMs, 1000)));
    if (reply) known.set(keyOf(ask), reply);
    return reply;
  };
  const { steps, result } = walk;
  const questions: ToldQuestion[] = [];
  for (const { ask, reply } of steps) questions.push(question(ask, reply, reply && (await options.details(ask, reply))));
  const found = result.name ?? null;
  const addresses = steps
    .flatMap(({ ask, reply }) => (ask.name === found ? (reply?.answers ?? []) : []))
    .filter((text) => tryParseAddress(text));
  return {
    ...head,
    questions,
    outcome: result.outcome,
    found,
    addresses: [...new Set(addresses)],
    ms,
    alternatives: await alternatives(lookup, walk, other),
    local: null,
  };
}

function question(ask: Ask, reply: WireReply | undefined, details: AnswerDetails | undefined): ToldQuestion {
  return {
    name: ask.name,
    type: typeName(ask.type),
    server: ask.server,
    transport: ask.transport,
    search: ask.search ?? null,
    again: ask.again,
    rcode: reply ? rcodeName(reply.rcode) : null,
    answers: reply?.answers ?? [],
    ms: reply ? round(reply.milliseconds) : null,
    by: details?.by ?? null,
    plugin: details?.plugin ?? null,
    objects: details?.objects ?? [],
    says: details?.says ?? null,
  };
}

function round(milliseconds: number): number {
  return Math.round(milliseconds * 100) / 100;
}

/** What needs no question: an address, and what /etc/hosts has (both libraries read it first). */
function localAnswer(name: string, hosts: string): { readonly addresses: readonly string[]; readonly says: string } | undefined {
  if (tryParseAddress(name)) return { addresses: [name], says: "it is an address: nothing is asked" };
  const wanted = name.toLowerCase().replace(/\.$/, "");
  const addresses = hosts.split("\n").flatMap((line) => {
    const [address = "", ...names] = line.replace(/#.*/, "").trim().split(/\s+/);
    return names.some((each) => each.toLowerCase() === wanted) ? [address] : [];
  });
  return addresses.length > 0 ? { addresses, says: "it is in /etc/hosts: nothing is asked" } : undefined;
}
