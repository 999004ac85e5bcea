// A question on its way through a chain of plugins, and the reply that comes back. Made for the hot path: a query is read
// from its bytes once, without a whole message; a reply is plain data that can be kept and given again.
import type { Edns, EdnsOption, Message, Name, ResourceRecord } from "./message.ts";
import { RCODE } from "./message.ts";

type Transport = "udp" | "tcp";

/** Who asked, and where the question came in. */
export interface Origin {
  readonly transport: Transport;
  /** The asker's address in text; an IPv4 address is never written as a mapped IPv6 one. */
  readonly address: string;
  readonly port: number;
  /** Where the server listens, as configured: "dns://:53". */
  readonly server: string;
}

/** One question. It never changes, with one exception: `udpSize`. */
export interface Query {
  readonly id: number;
  readonly recursionDesired: boolean;
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
  /** In lower case, with the final dot. */
  readonly name: Name;
  readonly type: number;
  readonly class: number;
  /** The zone of the server block that serves it, in lower case: the longest that the name lies in. */
  readonly zone: Name;
  readonly edns?: Edns;
  /** The largest answer by UDP: what the asker takes, within what the server sends. The plugin bufsize lowers it. */
  udpSize: number;
  readonly origin: Origin;
  /** Length of the query's bytes as they came. */
  readonly size: number;
  /** The name in the letter case of the asker. */
  readonly spelled: Name;
}

/**
 * A reply: the message without what is the query's (id, question, RD, EDNS0). Owner names that are the question's are in
 * lower case here; on the wire they get the asker's letter case by compression.
 *
 * A reply is never changed: what changes it makes another. So one reply can be kept and given to many queries, and its
 * encoded bytes are kept with it.
 */
export interface Reply {
  readonly rcode: number;
  readonly authoritative: boolean;
  readonly recursionAvailable: boolean;
  readonly authenticData: boolean;
  readonly truncated: boolean;
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  readonly additionals: readonly ResourceRecord[];
  /** Options for the reply's OPT record, where the query has one. */
  readonly options?: readonly EdnsOption[];
  /** Sets RD to this instead of the query's. */
  readonly recursionDesired?: boolean;
  /** The plugin that made it (the label `plugin` of coredns_dns_responses_total). */
  readonly by: string;
  /** What went wrong, for the plugin errors; the asker sees the rcode only. */
  readonly error?: string;
}

/** A reply at once where one can be had without waiting, else the promise of one. */
export type Outcome = Reply | Promise<Reply>;

/** One link of a chain. */
export interface Handler {
  readonly name: string;
  /** Never throws in the ordinary course; what is thrown is SERVFAIL for the asker and told to the plugin errors. */
  serve(query: Query): Outcome;
}

const NONE: readonly ResourceRecord[] = [];

/** A reply with these fields, the others empty. */
export function reply(by: string, fields: Partial<Omit<Reply, "by">> = {}): Reply {
  return {
    rcode: fields.rcode ?? RCODE.NOERROR,
    authoritative: fields.authoritative ?? false,
    recursionAvailable: fields.recursionAvailable ?? false,
    authenticData: fields.authenticData ?? false,
    truncated: fields.truncated ?? false,
    answers: fields.answers ?? NONE,
    authorities: fields.authorities ?? NONE,
    additionals: fields.additionals ?? NONE,
    by,
    ...(fields.options ? { options: fields.options } : {}),
    ...(fields.recursionDesired === undefined ? {} : { recursionDesired: fields.recursionDesired }),
    ...(fields.error === undefined ? {} : { error: fields.error }),
  };
}

/** EDNS0 option with which a server says more than its rcode (RFC 8914). */
const EXTENDED_ERROR = 15;

/** The reply of a message that another server sent. */
export function replyOf(by: string, message: Message): Reply {
  const { rcode, authoritative, recursionAvailable, authenticData, truncated, answers, authorities, additionals, edns } = message;
  // The others are between two neighbours, such as a cookie: they mean nothing to this server's own askers.
  const kept = edns?.options?.filter(({ code }) => code === EXTENDED_ERROR) ?? [];
  const options = kept.length > 0 ? { options: kept } : {};
  return { rcode, authoritative, recursionAvailable, authenticData, truncated, answers, authorities, additionals, by, ...options };
}

/** Given instead of a reply: the query gets no answer at all. Compared by identity. */
export const DROPPED: Reply = reply("drop", { rcode: RCODE.REFUSED });

/** A copy of a query that asks something else, as the plugins rewrite, autopath and dns64 do. The name in lower case. */
export function alter(
  query: Query,
  changes: Partial<Pick<Query, "name" | "type" | "class" | "edns" | "udpSize" | "zone" | "origin">>,
): Query {
  const edns = changes.edns ?? query.edns;
  return {
    id: query.id,
    recursionDesired: query.recursionDesired,
    authenticData: query.authenticData,
    checkingDisabled: query.checkingDisabled,
    name: changes.name ?? query.name,
    type: changes.type ?? query.type,
    class: changes.class ?? query.class,
    zone: changes.zone ?? query.zone,
    ...(edns ? { edns } : {}),
    udpSize: changes.udpSize ?? query.udpSize,
    origin: changes.origin ?? query.origin,
    size: query.size,
    spelled: changes.name ?? query.spelled,
  };
}

/** Applies `change` to a reply now or later; the way to work on what the next handler gives. No promise where none was. */
export function mapReply(outcome: Outcome, change: (reply: Reply) => Outcome): Outcome {
  return outcome instanceof Promise ? outcome.then(change) : change(outcome);
}
