// Asks something else than was asked, and makes the answer look as if it had been.
import type { Name } from "../../message.ts";
import { RCODE } from "../../message.ts";
import { alter, type Handler, mapReply, type Query, type Reply, reply } from "../../query.ts";
import { toName } from "../../wire/names.ts";
import type { Rewriter } from "./names.ts";

/** What a rule does to a query that it takes. */
interface Effect {
  readonly changes: { readonly name?: Name; readonly type?: number; readonly class?: number };
  /** Applied to every record of the answer. */
  readonly onRecord: readonly Rewriter[];
  readonly rcode?: { readonly from: number; readonly to: number };
}

export interface Rule {
  /** `stop`: rules after this one are not asked once it took a query. */
  readonly mode: "continue" | "stop";
  /** Undefined where the rule does not take the query. */
  apply(query: Query): Effect | undefined;
}

export function rewritten(next: Handler, rules: readonly Rule[]): Handler {
  return {
    name: "rewrite",
    serve(query) {
      let asked = query;
      const effects: Effect[] = [];
      for (const rule of rules) {
        const effect = rule.apply(asked);
        if (!effect) continue;
        effects.push(effect);
        if (Object.keys(effect.changes).length > 0) asked = alter(asked, effect.changes);
        if (rule.mode === "stop") break;
      }
      if (toName(asked.name) === undefined)
        return reply("rewrite", { rcode: RCODE.SERVFAIL, error: `the rewritten name "${asked.name}" is none` });
      if (effects.length === 0) return next.serve(query);
      // The last rule's work is undone first.
      return mapReply(next.serve(asked), (given) => effects.reduceRight(undo, given));
    },
  };
}

function undo(given: Reply, { onRecord, rcode }: Effect): Reply {
  const code = rcode && given.rcode === rcode.from ? { rcode: rcode.to } : {};
  if (onRecord.length === 0) return rcode ? { ...given, ...code } : given;
  const each = (records: Reply["answers"]) => records.map((record) => onRecord.reduce((changed, rewriter) => rewriter(changed), record));
  return { ...given, ...code, answers: each(given.answers), authorities: each(given.authorities), additionals: each(given.additionals) };
}
