// Leaves the authority and additional sections out where the answer section says it all.
import { RCODE } from "../../message.ts";
import { type Handler, mapReply, type Reply } from "../../query.ts";

export function withoutExtras(next: Handler): Handler {
  return { name: "minimal", serve: (query) => mapReply(next.serve(query), strip) };
}

/** Denials keep their SOA (a cache needs it), delegations their name servers. */
function strip(reply: Reply): Reply {
  if (reply.rcode !== RCODE.NOERROR || reply.answers.length === 0) return reply;
  if (reply.authorities.length === 0 && reply.additionals.length === 0) return reply;
  return { ...reply, authorities: [], additionals: [] };
}
