// Owners as comments of kernel objects: "NetworkPolicy/production/default-deny-ingress#0".
import type { Owner } from "../netfilter.ts";

/** The kernel keeps at most 127 characters of a comment. */
const MAX_COMMENT = 127;

/** The comment for an owner; quotes and control characters can't occur in it. Too long a name is cut, with "~" at the cut. */
export function formatOwner(owner: Owner, most = MAX_COMMENT): string {
  const rule = owner.rule === undefined ? "" : `#${owner.rule}`;
  const name = owner.namespace === undefined ? owner.name : `${owner.namespace}/${owner.name}`;
  const text = `${owner.kind}/${name}`.replace(/[^A-Za-z0-9._:/~-]/g, "_");
  const tail = rule.replace(/[^A-Za-z0-9._#-]/g, "_");
  return text.length + tail.length <= most ? text + tail : `${text.slice(0, most - tail.length - 1)}~${tail}`;
}

/** The owner in a comment; undefined for a comment that names none. */
export function parseOwner(comment: string): Owner | undefined {
  const match = /^([A-Za-z][A-Za-z0-9.]*)\/(?:([^/#]+)\/)?([^/#]+)(?:#(.+))?$/.exec(comment);
  if (!match) return undefined;
  const [, kind = "", namespace, name = "", rule] = match;
  const number = rule !== undefined && /^\d+$/.test(rule) ? Number(rule) : rule;
  return { kind, ...(namespace === undefined ? {} : { namespace }), name, ...(number === undefined ? {} : { rule: number }) };
}
