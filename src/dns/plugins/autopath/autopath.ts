// Walks the asker's search path on the server: one question and answer on the wire instead of one for each element.
import type { Name, ResourceRecord } from "../../message.ts";
import { CLASS, RCODE } from "../../message.ts";
import { alter, type Handler, mapReply, type Outcome, type Query, type Reply } from "../../query.ts";
import { inZone } from "../../wire/names.ts";

export interface AutopathOptions {
  readonly zones: readonly Name[];
  /** Elements of the asker's search path, the root at last; undefined where none is known. */
  readonly searchPath: (query: Query) => readonly Name[] | undefined;
  /** Called where a name was found. */
  readonly found: () => void;
}

export function createAutopath(options: AutopathOptions, next: Handler): Handler {
  return {
    name: "autopath",
    serve: (query) => {
      if (!options.zones.some((zone) => inZone(query.name, zone))) return next.serve(query);
      const path = options.searchPath(query);
      const [first] = path ?? [];
      // Only names below the path's first element: others are later steps of a resolver that walks it itself.
      if (!path || first === undefined || query.name === first || !inZone(query.name, first)) return next.serve(query);
      const base = first === "." ? query.name : query.name.slice(0, -first.length);
      return walk({ query, base, path, next, found: options.found }, 0, undefined);
    },
  };
}

interface Walk {
  readonly query: Query;
  /** What was meant, with a final dot. */
  readonly base: Name;
  readonly path: readonly Name[];
  readonly next: Handler;
  readonly found: () => void;
}

function walk(of: Walk, step: number, firstReply: Reply | undefined): Outcome {
  const { query, base, path, next, found } = of;
  const element = path[step];
  // Nothing has it: the answer of the first step, and the resolver goes on by itself.
  if (element === undefined) return firstReply ?? next.serve(query);
  const name = element === "." ? base : `${base}${element}`;
  return mapReply(next.serve(step === 0 ? query : alter(query, { name })), (reply) => {
    if (reply.rcode === RCODE.NXDOMAIN) return walk(of, step + 1, firstReply ?? reply);
    // A failure says nothing about the name: the first answer holds, and the resolver finds out.
    if (reply.rcode !== RCODE.NOERROR) return step === 0 ? reply : (firstReply ?? reply);
    if (step === 0) return reply;
    found();
    return reply.answers.length === 0 ? reply : { ...reply, answers: [aliasTo(query.name, name, reply), ...reply.answers] };
  });
}

function aliasTo(owner: Name, target: Name, reply: Reply): ResourceRecord {
  const ttl = Math.min(...reply.answers.map((record) => record.ttl));
  return { name: owner, class: CLASS.IN, ttl, data: { type: "CNAME", target } };
}
