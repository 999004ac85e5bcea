// What the cache makes of a reply: whether it is kept, in which part, for how long, and how it looks after a while. Pure.
import { CLASS, RCODE, type ResourceRecord, TYPE, typeOf } from "../../message.ts";
import type { Query, Reply } from "../../query.ts";

/** Positive answers; denials (NXDOMAIN, NODATA); failures, which live in the part of the denials for a short time. */
export type Kind = "success" | "denial" | "failure";

interface Limits {
  /** Seconds. */
  readonly most: number;
  readonly least: number;
}

export interface CacheTimes {
  readonly success: Limits;
  readonly denial: Limits;
  /** Seconds that a failure is kept; 0: not at all. */
  readonly failure: number;
}

/** What kind of reply it is, for this question; undefined: it is not to be kept (RFC 2308 §5). */
export function kindOf(query: Query, reply: Reply): Kind | undefined {
  if (reply.truncated) return undefined;
  switch (reply.rcode) {
    case RCODE.NXDOMAIN:
      return hasSoa(reply) ? "denial" : undefined;
    case RCODE.SERVFAIL:
    case RCODE.NOTIMP:
      return "failure";
    case RCODE.NOERROR:
      if (answersQuestion(query, reply)) return "success";
      if (hasSoa(reply)) return "denial";
      // A referral or an alias whose target nobody found says nothing that would hold.
      return reply.answers.length === 0 && reply.authorities.length === 0 && reply.additionals.length > 0 ? "success" : undefined;
    default:
      return undefined;
  }
}

function hasSoa(reply: Reply): boolean {
  return reply.authorities.some(({ data }) => data.type === "SOA");
}

/** Whether the chain of aliases from the question's name ends at a record of the type. */
function answersQuestion(query: Query, reply: Reply): boolean {
  if (query.type === TYPE.ANY) return reply.answers.length > 0;
  let name = query.name;
  for (let step = 0; step <= reply.answers.length; step++) {
    if (reply.answers.some((record) => record.name.toLowerCase() === name && typeOf(record) === query.type)) return true;
    const alias = reply.answers.find(({ name: owner, data }) => data.type === "CNAME" && owner.toLowerCase() === name);
    if (alias?.data.type !== "CNAME") return false;
    name = alias.data.target.toLowerCase();
  }
  return false;
}

/** Seconds that the reply is kept, within the limits of its kind. */
export function lifetime(reply: Reply, kind: Kind, times: CacheTimes): number {
  if (kind === "failure") return times.failure;
  const { most, least } = times[kind];
  let shortest = Number.POSITIVE_INFINITY;
  for (const section of [reply.answers, reply.authorities, reply.additionals]) {
    for (const { ttl, data } of section) {
      shortest = Math.min(shortest, ttl);
      // RFC 2308 §5: a denial holds as long as the lesser of the SOA's TTL and its last field.
      if (kind === "denial" && data.type === "SOA") shortest = Math.min(shortest, data.minimum);
    }
  }
  if (shortest === Number.POSITIVE_INFINITY) return least;
  return Math.max(least, Math.min(most, shortest));
}

/** The reply with every TTL set to so many seconds. */
export function withTtl(reply: Reply, ttl: number): Reply {
  const { error: _error, ...rest } = reply;
  return {
    ...rest,
    by: "cache",
    answers: aged(reply.answers, ttl),
    authorities: aged(reply.authorities, ttl),
    additionals: aged(reply.additionals, ttl),
  };
}

/** The reply with no TTL above so many seconds. */
export function cappedTtl(reply: Reply, most: number): Reply {
  const cap = (records: readonly ResourceRecord[]) => records.map((record) => (record.ttl > most ? { ...record, ttl: most } : record));
  return { ...reply, answers: cap(reply.answers), authorities: cap(reply.authorities), additionals: cap(reply.additionals) };
}

function aged(records: readonly ResourceRecord[], ttl: number): readonly ResourceRecord[] {
  return records.length === 0 ? records : records.map((record) => ({ ...record, ttl }));
}

/** What the answer depends on beside the name: type, class, DO and CD. */
export function variantOf(query: Query): number {
  const dnssec = query.edns?.dnssecOk === true ? 2 : 0;
  return query.type * 4 + dnssec + (query.checkingDisabled ? 1 : 0) + (query.class === CLASS.IN ? 0 : query.class * 0x40000);
}
