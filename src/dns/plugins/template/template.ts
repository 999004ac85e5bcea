// Answers made from the question by templates. The first template whose zone and pattern fit answers.
import { messageOf } from "../../../base/index.ts";
import { className, type Name, RCODE, type ResourceRecord, TYPE, typeName } from "../../message.ts";
import type { MetricRegistry } from "../../metrics.ts";
import { alter, type Handler, mapReply, type Outcome, type Query, reply } from "../../query.ts";
import { parseRecord } from "../../text/parse.ts";
import { inZone, longestZone } from "../../wire/names.ts";
import type { Fill, TemplateData } from "./go-template.ts";

export type Section = "answer" | "additional" | "authority";

export interface Template {
  /** Any if undefined. */
  readonly class: number | undefined;
  readonly type: number | undefined;
  readonly zones: readonly Name[];
  /** Every name if empty. */
  readonly patterns: readonly RegExp[];
  readonly records: readonly { readonly section: Section; readonly text: string; readonly fill: Fill }[];
  readonly rcode: number;
  readonly error: { readonly code: number; readonly reason: string } | undefined;
  readonly fallthrough: readonly Name[];
}

export interface TemplateMetrics {
  matched(template: Template, query: Query, zone: Name): void;
  failed(kind: "template" | "rr", query: Query, zone: Name, record: Template["records"][number]): void;
}

export interface TemplateSite {
  /** Asks the whole server, for the targets of CNAMEs. */
  resolve(query: Query): Outcome;
  readonly metrics: TemplateMetrics;
}

export function templateMetrics(metrics: MetricRegistry, server: string): TemplateMetrics {
  const base = ["server", "zone", "view", "class", "type"];
  const matches = metrics.counter("coredns_template_matches_total", "Counter of template regex matches.", base);
  const failures = {
    template: metrics.counter("coredns_template_template_failures_total", "Counter of go template failures.", [
      ...base,
      "section",
      "template",
    ]),
    rr: metrics.counter("coredns_template_rr_failures_total", "Counter of mis-templated RRs.", [...base, "section", "template"]),
  };
  return {
    matched: (_template, query, zone) => matches.with(server, zone, "", className(query.class), typeName(query.type)).inc(),
    failed: (kind, query, zone, { section, text }) =>
      failures[kind].with(server, zone, "", className(query.class), typeName(query.type), section, text).inc(),
  };
}

export function templated(next: Handler, templates: readonly Template[], site: TemplateSite): Handler {
  return {
    name: "template",
    serve(query) {
      for (const template of templates) {
        if (template.class !== undefined && template.class !== query.class) continue;
        if (template.type !== undefined && query.type !== TYPE.ANY && template.type !== query.type) continue;
        const zone = longestZone(query.name, template.zones);
        if (zone === undefined) continue;
        const match = matchOf(template, query.name);
        if (match) return answer(template, query, { zone, match, site });
        if (!template.fallthrough.some((each) => inZone(query.name, each)))
          return reply("template", {
            rcode: RCODE.SERVFAIL,
            error: "no pattern of the template takes the name, and it does not fall through",
          });
      }
      return next.serve(query);
    },
  };
}

interface Match {
  readonly groups: readonly string[];
  readonly named: Readonly<Record<string, string>>;
}

function matchOf({ patterns }: Template, name: Name): Match | undefined {
  if (patterns.length === 0) return { groups: [name], named: {} };
  for (const pattern of patterns) {
    const found = pattern.exec(name);
    if (!found) continue;
    const groups = [...found].map((group) => group ?? "");
    const named = Object.fromEntries(Object.entries(found.groups ?? {}).map(([key, value]) => [key, value ?? ""]));
    // Groups have their numbers as names too.
    return { groups, named: { ...Object.fromEntries(groups.map((group, index) => [String(index), group])), ...named } };
  }
  return undefined;
}

function answer(template: Template, query: Query, { zone, match, site }: { zone: Name; match: Match; site: TemplateSite }): Outcome {
  site.metrics.matched(template, query, zone);
  if (template.rcode === RCODE.SERVFAIL) return reply("template", { rcode: RCODE.SERVFAIL });
  const data: TemplateData = {
    Zone: zone,
    Name: query.name,
    Class: className(query.class),
    Type: typeName(query.type),
    Match: match.groups,
    Group: match.named,
    Remote: query.origin.address,
    Question: { Name: query.name, Qtype: query.type, Qclass: query.class },
    Meta: () => "",
  };
  const sections: Record<Section, ResourceRecord[]> = { answer: [], additional: [], authority: [] };
  for (const each of template.records) {
    const made = make(each, data);
    if ("failed" in made) {
      site.metrics.failed(made.failed, query, zone, each);
      return reply("template", { rcode: RCODE.SERVFAIL, error: `${each.section} "${each.text}": ${made.why}` });
    }
    sections[each.section].push(made);
  }
  const own = reply("template", {
    rcode: template.rcode,
    authoritative: true,
    answers: sections.answer,
    authorities: sections.authority,
    additionals: sections.additional,
    ...(template.error ? { options: [extended(template.error)] } : {}),
  });
  const target = sections.answer.find(({ data: each }) => each.type === "CNAME")?.data;
  if (target?.type !== "CNAME" || (query.type !== TYPE.A && query.type !== TYPE.AAAA)) return own;
  const has = sections.answer.some(({ data: each }) => each.type === "A" || each.type === "AAAA");
  if (has) return own;
  return mapReply(site.resolve(alter(query, { name: target.target.toLowerCase() })), (further) => ({
    ...own,
    answers: [...own.answers, ...further.answers],
  }));
}

function make(
  { fill }: Template["records"][number],
  data: TemplateData,
): ResourceRecord | { readonly failed: "template" | "rr"; readonly why: string } {
  let text: string;
  try {
    text = fill(data);
  } catch (error) {
    return { failed: "template", why: messageOf(error) };
  }
  try {
    return parseRecord(text);
  } catch (error) {
    return { failed: "rr", why: messageOf(error) };
  }
}

/** Extended DNS error (RFC 8914). */
function extended({ code, reason }: { readonly code: number; readonly reason: string }) {
  return { code: 15, bytes: Uint8Array.from([code >> 8, code & 255, ...Buffer.from(reason, "utf8")]) };
}
