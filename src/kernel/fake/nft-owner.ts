// The owner of a rule or element, from its comment.
import type { Owner } from "../netfilter.ts";

/** "Kind/namespace/name#rule"; undefined for a comment that names no owner. */
export function ownerFromComment(comment: string): Owner | undefined {
  const match = /^([A-Za-z]+)\/(?:([^/#]+)\/)?([^/#]+)(?:#(.+))?$/.exec(comment);
  if (!match) return undefined;
  const [, kind = "", namespace, name = "", rule] = match;
  const number = rule !== undefined && /^\d+$/.test(rule) ? Number(rule) : rule;
  return { kind, ...(namespace === undefined ? {} : { namespace }), name, ...(number === undefined ? {} : { rule: number }) };
}
