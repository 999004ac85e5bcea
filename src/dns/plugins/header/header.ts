// Sets and clears flags of questions on their way in and of answers on their way out.
import { type Handler, mapReply, type Query, type Reply } from "../../query.ts";

export const FLAGS = ["aa", "ra", "rd"] as const;

export interface FlagRule {
  readonly of: "query" | "response";
  readonly value: boolean;
  readonly flags: readonly (typeof FLAGS)[number][];
}

export function flagged(next: Handler, rules: readonly FlagRule[]): Handler {
  const onQuery = rules.filter((rule) => rule.of === "query" && rule.flags.includes("rd"));
  const onReply = rules.filter((rule) => rule.of === "response");
  return {
    name: "header",
    serve: (query) => mapReply(next.serve(withFlags(query, onQuery)), (reply) => onReply.reduce(apply, reply)),
  };
}

/** Of a question's flags RD is the one that says something to whom it is forwarded. */
function withFlags(query: Query, rules: readonly FlagRule[]): Query {
  const last = rules.at(-1);
  if (!last || last.value === query.recursionDesired) return query;
  // A query may read its fields from its bytes only when asked: what is inherited is read through it.
  return Object.create(query, { recursionDesired: { value: last.value, enumerable: true } }) as Query;
}

function apply(reply: Reply, { value, flags }: FlagRule): Reply {
  return {
    ...reply,
    ...(flags.includes("aa") ? { authoritative: value } : {}),
    ...(flags.includes("ra") ? { recursionAvailable: value } : {}),
    ...(flags.includes("rd") ? { recursionDesired: value } : {}),
  };
}
