// Who may ask what: the first rule that takes a question decides; one that none takes is answered.
import { type IpPrefix, parseAddress, prefixContains } from "../../../base/index.ts";
import { type Name, RCODE } from "../../message.ts";
import type { Counter, MetricRegistry } from "../../metrics.ts";
import { DROPPED, type Handler, type Query, type Reply, reply } from "../../query.ts";
import { longestZone } from "../../wire/names.ts";

export const ACTIONS = ["allow", "block", "filter", "drop"] as const;

export interface AclRule {
  readonly action: (typeof ACTIONS)[number];
  /** Every type if undefined. */
  readonly types: ReadonlySet<number> | undefined;
  /** Every source if undefined. */
  readonly nets: readonly IpPrefix[] | undefined;
}

export interface AclRules {
  readonly zones: readonly Name[];
  readonly rules: readonly AclRule[];
}

/** EDNS0 option "extended DNS error" and its codes (RFC 8914). */
const EXTENDED_ERROR = 15;
const blocked: Reply = reply("acl", { rcode: RCODE.REFUSED, options: [extended(15)] });
const filtered: Reply = reply("acl", { options: [extended(17)] });

export type AclCounters = (what: "allowed" | "blocked" | "filtered" | "dropped", zone: Name) => Counter;

export function aclMetrics(metrics: MetricRegistry, server: string): AclCounters {
  const count = (what: string) =>
    metrics.counter(`coredns_acl_${what}_requests_total`, `Counter of DNS requests being ${what}.`, ["server", "zone", "view"]);
  const families = { allowed: count("allowed"), blocked: count("blocked"), filtered: count("filtered"), dropped: count("dropped") };
  return (what, zone) => families[what].with(server, zone, "");
}

export function guarded(next: Handler, lists: readonly AclRules[], counter: AclCounters): Handler {
  return {
    name: "acl",
    serve(query) {
      for (const { zones, rules } of lists) {
        const zone = longestZone(query.name, zones);
        const rule = zone === undefined ? undefined : rules.find((each) => takes(each, query));
        if (zone === undefined || !rule || rule.action === "allow") continue;
        if (rule.action === "drop") {
          counter("dropped", zone).inc();
          return DROPPED;
        }
        counter(rule.action === "block" ? "blocked" : "filtered", zone).inc();
        return rule.action === "block" ? blocked : filtered;
      }
      counter("allowed", query.zone).inc();
      return next.serve(query);
    },
  };
}

function takes({ types, nets }: AclRule, query: Query): boolean {
  if (types && !types.has(query.type)) return false;
  if (!nets) return true;
  const address = parseAddress(query.origin.address);
  return nets.some((net) => prefixContains(net, address));
}

function extended(code: number): { readonly code: number; readonly bytes: Uint8Array } {
  return { code: EXTENDED_ERROR, bytes: Uint8Array.of(code >> 8, code & 255) };
}
